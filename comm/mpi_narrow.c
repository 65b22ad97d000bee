/* Sums of 16-bit floats between hosts: MPI has no such type. */
#include "comm/mpi_comm.h"
#include "comm/narrow.h"

static MPI_Op operations[2] = {MPI_OP_NULL, MPI_OP_NULL}; /* bfloat16, float16 */

static void add(dl_dtype dtype, const uint16_t *in, uint16_t *inout, int n) {
    enum { CHUNK = 512 };
    float a[CHUNK], b[CHUNK];
    for (int at = 0; at < n; at += CHUNK) {
        const int some = n - at < CHUNK ? n - at : CHUNK;
        dl_widen(dtype, in + at, a, some);
        dl_widen(dtype, inout + at, b, some);
        for (int i = 0; i < some; i++) {
            a[i] += b[i];
        }
        dl_narrow(dtype, a, inout + at, some);
    }
}

/* MPI_User_function: inout = in + inout. */
static void add_bf16(void *in, void *inout, int *n, MPI_Datatype *type) {
    (void)type;
    add(DL_BF16, in, inout, *n);
}

static void add_f16(void *in, void *inout, int *n, MPI_Datatype *type) {
    (void)type;
    add(DL_F16, in, inout, *n);
}

dl_status dl_mpi_narrow_sum(dl_dtype dtype, MPI_Op *out) {
    MPI_Op *operation = &operations[dtype == DL_F16];
    if (*operation == MPI_OP_NULL) {
        DL_RETURN_IF_ERROR(DL_MPI(MPI_Op_create(dtype == DL_F16 ? add_f16 : add_bf16, 1, operation)));
    }
    *out = *operation;
    return DL_OK;
}

void dl_mpi_narrow_free(void) {
    for (int i = 0; i < 2; i++) {
        if (operations[i] != MPI_OP_NULL) {
            (void)MPI_Op_free(&operations[i]);
        }
    }
}
