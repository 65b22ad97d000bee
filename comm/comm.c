#include "comm/comm.h"

void dl_comm_destroy(dl_comm **comm) {
    if (*comm != NULL) {
        (*comm)->functions->destroy(*comm);
        *comm = NULL;
    }
}

dl_status dl_reduce_desc_check(const dl_reduce_desc *desc) {
    const char *name = desc->name != NULL ? desc->name : "(no name)";
    const bool wide = desc->dtype == DL_F32 || desc->dtype == DL_F64;
    const bool narrow = desc->dtype == DL_BF16 || desc->dtype == DL_F16;
    const bool sum = desc->reduction == DL_REDUCE_SUM && (wide || narrow);
    const bool max = desc->reduction == DL_REDUCE_MAX && desc->dtype == DL_I32;
    DL_RETURN_ERROR_IF(!sum && !max, DL_ERR_INTERNAL, "all-reduce '%s': no such reduction for %s", name,
                       dl_dtype_name(desc->dtype));
    DL_RETURN_ERROR_IF(desc->n_elements < 0 || (desc->n_elements > 0 && desc->buffer == NULL),
                       DL_ERR_INTERNAL, "all-reduce '%s': no buffer", name);
    DL_RETURN_ERROR_IF(desc->n_blocks < 0 || desc->n_blocks > DL_MAX_BLOCKS || (desc->n_blocks > 0 && !wide),
                       DL_ERR_INTERNAL, "all-reduce '%s': %d blocks of %s", name, desc->n_blocks,
                       dl_dtype_name(desc->dtype));
    DL_RETURN_ERROR_IF(desc->n_blocks > 0 && desc->block[0] != desc->buffer, DL_ERR_INTERNAL,
                       "all-reduce '%s': block 0 is not the buffer", name);
    return DL_OK;
}
