#include "train/rank_failure.h"

#include "base/mem.h"

#include <stdio.h>

/* DL_OK: the rank has not failed. DL_INTERRUPTED: it was asked to give up. */
static bool failed_by_itself(const dl_rank_failure *one) {
    return one->code != DL_OK && one->code != DL_INTERRUPTED;
}

static int culprit(const dl_rank_failure *all, int n) {
    int found = 0;
    for (int i = 1; i < n && !failed_by_itself(&all[found]); i++) {
        const bool better = failed_by_itself(&all[i]) || all[found].code == DL_OK;
        found = better ? i : found;
    }
    return found;
}

dl_status dl_rank_failure_agree(dl_comm *world, const dl_error *own, dl_rank_failure *out) {
    dl_rank_failure mine = {.rank = world->rank, .code = DL_OK}, *all = NULL;
    if (own != NULL) {
        mine.code = own->code;
        (void)snprintf(mine.message, sizeof mine.message, "%s", own->message);
    }
    DL_RETURN_IF_ERROR(dl_alloc((size_t)world->size, sizeof *all, &all));
    const dl_status status = world->functions->all_gather(world, &mine, sizeof mine, all);
    if (status == DL_OK) {
        *out = all[culprit(all, world->size)];
    }
    dl_free(&all);
    return status;
}
