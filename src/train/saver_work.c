/* What the thread of a save does (saver.c gives it). */
#define _GNU_SOURCE
#include "base/log.h"
#include "train/saver_parts.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static dl_status write_part(dl_saver *saver) {
    DL_RETURN_IF_ERROR(dl_snapshot_check_finite(saver->snapshot));
    DL_RETURN_ERROR_IF(saver->full_disk, DL_ERR_IO, "cannot write to %s: %s (by --inject)",
                       saver->checkpoints, strerror(ENOSPC));
    return dl_checkpoint_write_part(saver->checkpoints, saver->about.step, saver->layout, &saver->stop,
                                    &saver->part);
}

static dl_checkpoint_keep what_stays(const dl_saver *saver) {
    return (dl_checkpoint_keep){.newest = (int)saver->options.session->config->checkpoint.keep,
                                .pinned = &saver->pinned,
                                .n_pinned = saver->pinned > 0,
                                .read_again = saver->about.step};
}

/* The new one is there whatever becomes of the older ones. */
static void tell_if_kept(dl_status status) {
    if (status != DL_OK) {
        DL_WARN("older checkpoints are kept: %s", dl_error_last()->message);
    }
}

/* Rank 0: the checkpoint is there when the manifest is. */
static dl_status commit(dl_saver *saver, bool *older_may_go) {
    if (saver->options.metrics >= 0) {
        (void)fdatasync(saver->options.metrics); /* its lines up to this step; one that failed was told */
    }
    DL_RETURN_IF_ERROR(
        dl_checkpoint_commit(saver->checkpoints, &saver->about, (const char *const *)saver->parts));
    saver->pinned = saver->best ? saver->about.step : saver->pinned;
    const dl_checkpoint_keep keep = what_stays(saver);
    tell_if_kept(dl_checkpoint_prunes(saver->checkpoints, &keep, older_may_go));
    return DL_OK;
}

/* Rank 0. */
static void prune(dl_saver *saver) {
    const dl_checkpoint_keep keep = what_stays(saver);
    int n_deleted = 0;
    tell_if_kept(dl_checkpoint_prune(saver->checkpoints, &keep, NULL, &n_deleted));
}

void dl_saver_work(void *context) {
    dl_saver *saver = context;
    dl_status status = DL_OK;
    bool more = false;
    switch (saver->phase) {
    case DL_SAVER_NONE:
        break;
    case DL_SAVER_PARTS:
        status = write_part(saver);
        break;
    case DL_SAVER_COMMIT:
        status = commit(saver, &more);
        break;
    case DL_SAVER_READ_AGAIN:
        status =
            dl_checkpoint_read_again(saver->checkpoints, saver->about.step, saver->part.data, &saver->stop);
        break;
    case DL_SAVER_PRUNE:
        prune(saver);
        break;
    }
    if (status != DL_OK) {
        dl_error_take(&saver->error);
    }
    atomic_store(&saver->word, status != DL_OK ? DL_SAVER_FAILED : more ? DL_SAVER_MORE : DL_SAVER_DONE);
}
