/* What failed on one rank or on several and does not end the job: all ranks hear of one reason. (What ends
 * the job is dl_comm_agree's.) */
#ifndef DLTRAIN_TRAIN_RANK_FAILURE_H
#define DLTRAIN_TRAIN_RANK_FAILURE_H

#include "comm/comm.h"

typedef struct dl_rank_failure {
    int rank; /* the one that failed by itself, rather than one that gave up with the others */
    dl_code code;
    char message[DL_ERROR_MESSAGE_BYTES];
} dl_rank_failure;

/* `own` is this rank's error, NULL when it has not failed; code DL_OK in *out: nobody has. Collective over
 * the world. */
DL_NODISCARD dl_status dl_rank_failure_agree(dl_comm *world, const dl_error *own, dl_rank_failure *out);

#endif
