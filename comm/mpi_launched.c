/* What the environment says about the launcher, before MPI is started. */
#include "base/text.h"
#include "comm/comm.h"

#include <limits.h>
#include <stdlib.h>

/* Open MPI's mpirun; PMIx (srun --mpi=pmix, prterun); PMI (MPICH's mpiexec, srun --mpi=pmi2). */
static const char *const rank_names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"};
static const char *const size_names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"};

static int first_number(const char *const *names, int n, int least, int fallback) {
    for (int i = 0; i < n; i++) {
        const char *text = getenv(names[i]);
        int64_t number = 0;
        if (text != NULL && dl_parse_int64(text, &number) && number >= least && number <= INT_MAX) {
            return (int)number;
        }
    }
    return fallback;
}

bool dl_comm_mpi_launched(void) {
    return first_number(rank_names, 3, 0, -1) >= 0;
}

int dl_comm_mpi_launched_rank(void) {
    return first_number(rank_names, 3, 0, 0);
}

int dl_comm_mpi_launched_size(void) {
    return dl_comm_mpi_launched() ? first_number(size_names, 3, 1, 1) : 1;
}
