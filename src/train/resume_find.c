/* Which checkpoint to go on from. Rank 0 looks for it; each one that it comes to is read by all ranks. */
#define _GNU_SOURCE
#include "base/log.h"
#include "train/rank_failure.h"
#include "train/resume.h"
#include "train/run_dir.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dl_status describe(const dl_checkpoint *checkpoint, const char *path, dl_resume *out) {
    const dl_checkpoint_about *about = dl_checkpoint_about_of(checkpoint);
    *out = (dl_resume){.found = true,
                       .step = about->step,
                       .epoch = about->epoch,
                       .samples = about->samples,
                       .ranks = about->ranks};
    (void)snprintf(out->path, sizeof out->path, "%s", path);
    (void)snprintf(out->data_digest, sizeof out->data_digest, "%s", about->data_digest);
    const char *choices = json_string_value(json_object_get(about->state, "choices"));
    if (choices != NULL && strlen(choices) < sizeof out->choices) {
        (void)snprintf(out->choices, sizeof out->choices, "%s", choices);
    }
    DL_RETURN_IF_ERROR(dl_trainer_state_parse(json_object_get(about->state, "trainer"), &out->trainer));
    DL_RETURN_ERROR_IF(out->trainer.step != out->step, DL_ERR_CORRUPT,
                       "%s is of step %" PRId64 ", its trainer's state of %" PRId64, path, out->step,
                       out->trainer.step);
    return DL_OK;
}

/* What the manifest says, without a look at the tensors. */
static dl_status glance(const char *checkpoints, int64_t step, dl_resume *out) {
    char path[PATH_MAX];
    dl_checkpoint *checkpoint = NULL;
    DL_RETURN_IF_ERROR(dl_checkpoint_path(checkpoints, step, path, sizeof path));
    dl_status status = dl_checkpoint_open(path, &checkpoint);
    if (status == DL_OK) {
        status = describe(checkpoint, path, out);
    }
    dl_checkpoint_close(&checkpoint);
    return status;
}

/* --- reading it all, together --- */

/* `out` may be NULL. */
static dl_status verify_share(const dl_comm *world, const char *path, dl_resume *out) {
    dl_checkpoint *checkpoint = NULL;
    dl_status status = dl_checkpoint_open(path, &checkpoint);
    if (status == DL_OK) {
        status = dl_checkpoint_verify(checkpoint, world->rank, world->size);
    }
    if (status == DL_OK && out != NULL) {
        status = describe(checkpoint, path, out);
    }
    dl_checkpoint_close(&checkpoint);
    return status;
}

/* The same answer on all ranks. */
static dl_status verify_together(dl_comm *world, const char *path, dl_resume *out) {
    dl_rank_failure told;
    dl_error error;
    const dl_status status = verify_share(world, path, out);
    if (status != DL_OK) {
        dl_error_take(&error);
    }
    DL_RETURN_IF_ERROR(dl_rank_failure_agree(world, status != DL_OK ? &error : NULL, &told));
    return told.code == DL_OK ? DL_OK
                              : dl_error_raise(told.code, __FILE__, __LINE__, __func__, "%s", told.message);
}

/* What rank 0 asks the others for. */
typedef struct request {
    bool more; /* false: nothing any more */
    char path[PATH_MAX];
} request;

static dl_status help(dl_comm *world) {
    request wanted;
    while (true) {
        DL_RETURN_IF_ERROR(world->functions->broadcast(world, &wanted, sizeof wanted, 0));
        if (!wanted.more) {
            return DL_OK;
        }
        (void)verify_together(world, wanted.path, NULL); /* what follows from it is for rank 0 to say */
    }
}

/* Rank 0; NULL: the others may go. */
static dl_status ask(dl_comm *world, const char *path) {
    request wanted = {.more = path != NULL};
    (void)snprintf(wanted.path, sizeof wanted.path, "%s", path != NULL ? path : "");
    return world->functions->broadcast(world, &wanted, sizeof wanted, 0);
}

static dl_status examine(dl_comm *world, const char *path, dl_resume *out) {
    DL_RETURN_IF_ERROR(ask(world, path));
    return verify_together(world, path, out);
}

/* --- which one --- */

static bool is_number(const char *text) {
    return text[0] != '\0' && strspn(text, "0123456789") == strlen(text);
}

/* The newest one names the best epoch; the checkpoint that ended that epoch names itself. */
static int64_t search_best(const char *checkpoints, const int64_t *steps, int n) {
    int64_t best_epoch = -1;
    for (int i = 0; i < n; i++) {
        dl_resume each;
        if (glance(checkpoints, steps[i], &each) != DL_OK) {
            continue;
        }
        best_epoch = best_epoch < 0 ? each.trainer.best.epoch : best_epoch;
        const bool judged = each.trainer.best.epoch == best_epoch || each.trainer.open;
        if (best_epoch > 0 && each.epoch == best_epoch && judged) {
            return steps[i];
        }
    }
    return 0;
}

dl_status dl_resume_best_step(const char *checkpoints, int64_t *step) {
    int64_t *steps = NULL;
    int n = 0;
    DL_RETURN_IF_ERROR(dl_checkpoint_scan(checkpoints, &steps, &n));
    *step = search_best(checkpoints, steps, n);
    dl_free(&steps);
    return DL_OK;
}

static dl_status find_best(dl_comm *world, const char *checkpoints, dl_resume *out) {
    char path[PATH_MAX];
    int64_t step = 0;
    DL_RETURN_IF_ERROR(dl_resume_best_step(checkpoints, &step));
    DL_RETURN_ERROR_IF(
        step == 0, DL_ERR_USAGE,
        "%s has no checkpoint of a best epoch: none has ended yet, its checkpoint was not saved, or no "
        "figure is watched (set checkpoint.best to valid_loss, for example)",
        checkpoints);
    DL_RETURN_IF_ERROR(dl_checkpoint_path(checkpoints, step, path, sizeof path));
    return examine(world, path, out);
}

/* Does `path` lie in the folder, at any depth? */
static dl_status is_below(const char *folder, const char *path, bool *below) {
    char whole[PATH_MAX], above[PATH_MAX];
    DL_RETURN_ERROR_IF(realpath(path, whole) == NULL, DL_ERR_IO, "cannot look at %s: %s", path,
                       strerror(errno));
    *below = realpath(folder, above) != NULL && strncmp(whole, above, strlen(above)) == 0 &&
             whole[strlen(above)] == '/';
    return DL_OK;
}

/* The folder of checkpoints may be a link to another disk. */
static dl_status find_path(dl_comm *world, const char *run_dir, const char *checkpoints, const char *path,
                           dl_resume *out) {
    bool in_run = false, in_checkpoints = false;
    DL_RETURN_IF_ERROR(examine(world, path, out));
    DL_RETURN_IF_ERROR(is_below(run_dir, path, &in_run));
    DL_RETURN_IF_ERROR(is_below(checkpoints, path, &in_checkpoints));
    out->elsewhere = !in_run && !in_checkpoints;
    return DL_OK;
}

static dl_status find_wanted(dl_comm *world, const char *run_dir, const char *checkpoints, const char *wanted,
                             dl_resume *out) {
    char path[PATH_MAX];
    if (strcmp(wanted, "best") == 0) {
        return find_best(world, checkpoints, out);
    }
    if (!is_number(wanted)) {
        return find_path(world, run_dir, checkpoints, wanted, out);
    }
    DL_RETURN_IF_ERROR(dl_checkpoint_path(checkpoints, strtoll(wanted, NULL, 10), path, sizeof path));
    return examine(world, path, out);
}

/* The newest that is whole. */
static dl_status find_newest(dl_comm *world, const char *checkpoints, const int64_t *steps, int n,
                             bool strict, dl_resume *out) {
    char path[4096];
    for (int i = 0; i < n; i++) {
        DL_RETURN_IF_ERROR(dl_checkpoint_path(checkpoints, steps[i], path, sizeof path));
        const dl_status status = examine(world, path, out);
        if (status == DL_OK || status != DL_ERR_CORRUPT || strict) {
            return status;
        }
        DL_WARN("%s; an older checkpoint is taken", dl_error_last()->message);
        *out = (dl_resume){0};
    }
    DL_RETURN_ERROR_IF(n > 0, DL_ERR_CORRUPT,
                       "every checkpoint in %s is damaged; --fresh starts anew and keeps them", checkpoints);
    return DL_OK;
}

static dl_status find(dl_comm *world, const dl_resume_options *options, dl_resume *out) {
    char checkpoints[4096];
    int64_t *steps = NULL;
    int n = 0;
    *out = (dl_resume){0};
    DL_RETURN_IF_ERROR(dl_run_dir_checkpoints(options->run_dir, checkpoints, sizeof checkpoints));
    DL_RETURN_IF_ERROR(dl_checkpoint_scan(checkpoints, &steps, &n));
    const int64_t newest = n > 0 ? steps[0] : 0;
    const dl_status status = options->wanted != NULL
                                 ? find_wanted(world, options->run_dir, checkpoints, options->wanted, out)
                                 : find_newest(world, checkpoints, steps, n, options->strict, out);
    dl_free(&steps);
    out->newest = newest;
    return status;
}

dl_status dl_resume_find(dl_comm *world, const dl_resume_options *options, dl_resume *out) {
    dl_status status = DL_OK;
    if (world->rank == 0) {
        dl_error error;
        status = find(world, options, out);
        if (status != DL_OK) {
            dl_error_take(&error);
        }
        const dl_status told = ask(world, NULL);
        status = status != DL_OK ? dl_error_restore(&error) : told;
    } else {
        status = help(world);
    }
    DL_RETURN_IF_ERROR(dl_comm_agree(world, status, NULL));
    return world->functions->broadcast(world, out, sizeof *out, 0);
}
