/* A save that failed, on one rank or on several: all ranks hear of one reason. */
#ifndef DLTRAIN_TRAIN_SAVE_FAILURE_H
#define DLTRAIN_TRAIN_SAVE_FAILURE_H

#include "comm/comm.h"

typedef struct dl_save_failure {
    int rank; /* the one that failed by itself, rather than one that gave up with the others */
    dl_code code;
    char message[512];
} dl_save_failure;

/* `own` is this rank's error, NULL when it has not failed; some rank has. Collective over the world. */
DL_NODISCARD dl_status dl_save_failure_agree(dl_comm *world, const dl_error *own, dl_save_failure *out);

#endif
