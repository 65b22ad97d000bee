#define _GNU_SOURCE
#include "train/resume.h"

#include "base/log.h"
#include "train/run_dir.h"
#include "train/state.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- which one --- */

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

static dl_status examine(const char *path, dl_resume *out) {
    dl_checkpoint *checkpoint = NULL;
    dl_status status = dl_checkpoint_open(path, &checkpoint);
    if (status == DL_OK) {
        status = dl_checkpoint_verify(checkpoint, 0, 1);
    }
    if (status == DL_OK) {
        status = describe(checkpoint, path, out);
    }
    dl_checkpoint_close(&checkpoint);
    return status;
}

static bool is_number(const char *text) {
    return text[0] != '\0' && strspn(text, "0123456789") == strlen(text);
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

static dl_status find_best(const char *checkpoints, dl_resume *out) {
    char path[PATH_MAX];
    int64_t step = 0;
    DL_RETURN_IF_ERROR(dl_resume_best_step(checkpoints, &step));
    DL_RETURN_ERROR_IF(
        step == 0, DL_ERR_USAGE,
        "%s has no checkpoint of a best epoch: none has ended yet, its checkpoint was not saved, or no "
        "figure is watched (set checkpoint.best to valid_loss, for example)",
        checkpoints);
    DL_RETURN_IF_ERROR(dl_checkpoint_path(checkpoints, step, path, sizeof path));
    return examine(path, out);
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
static dl_status find_path(const char *run_dir, const char *checkpoints, const char *path, dl_resume *out) {
    bool in_run = false, in_checkpoints = false;
    DL_RETURN_IF_ERROR(examine(path, out));
    DL_RETURN_IF_ERROR(is_below(run_dir, path, &in_run));
    DL_RETURN_IF_ERROR(is_below(checkpoints, path, &in_checkpoints));
    out->elsewhere = !in_run && !in_checkpoints;
    return DL_OK;
}

static dl_status find_wanted(const char *run_dir, const char *checkpoints, const char *wanted,
                             dl_resume *out) {
    char path[PATH_MAX];
    if (strcmp(wanted, "best") == 0) {
        return find_best(checkpoints, out);
    }
    if (!is_number(wanted)) {
        return find_path(run_dir, checkpoints, wanted, out);
    }
    DL_RETURN_IF_ERROR(dl_checkpoint_path(checkpoints, strtoll(wanted, NULL, 10), path, sizeof path));
    return examine(path, out);
}

/* The newest that is whole. */
static dl_status find_newest(const char *checkpoints, const int64_t *steps, int n, bool strict,
                             dl_resume *out) {
    char path[4096];
    for (int i = 0; i < n; i++) {
        DL_RETURN_IF_ERROR(dl_checkpoint_path(checkpoints, steps[i], path, sizeof path));
        const dl_status status = examine(path, out);
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

static dl_status find(const dl_resume_options *options, dl_resume *out) {
    char checkpoints[4096];
    int64_t *steps = NULL;
    int n = 0;
    *out = (dl_resume){0};
    DL_RETURN_IF_ERROR(dl_run_dir_checkpoints(options->run_dir, checkpoints, sizeof checkpoints));
    DL_RETURN_IF_ERROR(dl_checkpoint_scan(checkpoints, &steps, &n));
    const int64_t newest = n > 0 ? steps[0] : 0;
    const dl_status status = options->wanted != NULL
                                 ? find_wanted(options->run_dir, checkpoints, options->wanted, out)
                                 : find_newest(checkpoints, steps, n, options->strict, out);
    dl_free(&steps);
    out->newest = newest;
    return status;
}

dl_status dl_resume_is_current(const char *run_dir, const dl_resume *resume) {
    char checkpoints[4096];
    int64_t *steps = NULL;
    int n = 0;
    DL_RETURN_IF_ERROR(dl_run_dir_checkpoints(run_dir, checkpoints, sizeof checkpoints));
    DL_RETURN_IF_ERROR(dl_checkpoint_scan(checkpoints, &steps, &n));
    const int64_t newest = n > 0 ? steps[0] : 0;
    dl_free(&steps);
    DL_RETURN_ERROR_IF(
        newest != resume->newest, DL_ERR_USAGE,
        "another run was going on in %s while this one started: its newest checkpoint was of step "
        "%" PRId64 " and is now of step %" PRId64 "; nothing was changed, start this one again",
        run_dir, resume->newest, newest);
    return DL_OK;
}

dl_status dl_resume_find(dl_comm *world, const dl_resume_options *options, dl_resume *out) {
    const dl_status status = world->rank == 0 ? find(options, out) : DL_OK;
    DL_RETURN_IF_ERROR(dl_comm_agree(world, status, NULL));
    return world->functions->broadcast(world, out, sizeof *out, 0);
}

dl_status dl_resume_set_aside(const char *run_dir, int64_t step) {
    char checkpoints[4096];
    int64_t *steps = NULL;
    int n = 0, n_later = 0;
    DL_RETURN_IF_ERROR(dl_run_dir_checkpoints(run_dir, checkpoints, sizeof checkpoints));
    DL_RETURN_IF_ERROR(dl_checkpoint_scan(checkpoints, &steps, &n));
    dl_status status = DL_OK;
    for (int i = 0; i < n && status == DL_OK; i++) {
        if (steps[i] > step) {
            status = dl_checkpoint_set_aside(checkpoints, steps[i]);
            n_later++;
        }
    }
    dl_free(&steps);
    if (status == DL_OK && n_later > 0) {
        DL_WARN("%d checkpoint%s of later steps in %s %s set aside", n_later, n_later == 1 ? "" : "s",
                checkpoints, n_later == 1 ? "was" : "were");
    }
    return status;
}

/* --- tensors --- */

static dl_status load(const dl_resume *resume, dl_session *session) {
    dl_state *state = NULL;
    dl_checkpoint *checkpoint = NULL;
    dl_status status = dl_state_create(session, &state);
    if (status == DL_OK) {
        status = dl_checkpoint_open(resume->path, &checkpoint);
    }
    if (status == DL_OK) {
        dl_checkpoint_trust(checkpoint); /* rank 0 has read it all */
        status = dl_state_load(state, session, checkpoint);
    }
    dl_checkpoint_close(&checkpoint);
    dl_state_destroy(&state);
    return status;
}

dl_status dl_resume_load(const dl_resume *resume, dl_session *session) {
    return dl_comm_agree(session->world, load(resume, session), NULL);
}

/* --- lines --- */

/* Does the line tell of something up to this step, of an epoch's end one of the first so many? Audits of
 * evaluations count their batches, not steps. */
static bool is_before(const char *line, size_t n, int64_t step, int64_t epochs) {
    json_t *object = json_loadb(line, n, 0, NULL);
    const char *kind = json_string_value(json_object_get(object, "kind"));
    const char *split = json_string_value(json_object_get(object, "split"));
    const bool of_end = kind != NULL && strcmp(kind, "epoch") == 0;
    const bool of_evaluation = split != NULL && strcmp(split, "train") != 0;
    const json_t *at = json_object_get(object, of_end || of_evaluation ? "epoch" : "step");
    const int64_t last = of_end || of_evaluation ? epochs : step;
    const bool keep = json_is_object(object) && (kind == NULL || strcmp(kind, "end") != 0) &&
                      (!json_is_integer(at) || json_integer_value(at) <= last);
    json_decref(object);
    return keep;
}

dl_status dl_resume_cut_lines(const char *path, int64_t step, int64_t epochs) {
    dl_text file = {0}, kept = {0};
    if (!dl_file_exists(path)) {
        return DL_OK;
    }
    dl_status status = dl_file_read(path, (size_t)1 << 40, &file);
    for (size_t at = 0; at < file.size && status == DL_OK;) {
        const char *end = memchr(file.data + at, '\n', file.size - at);
        const size_t n = end == NULL ? file.size - at : (size_t)(end - (file.data + at)) + 1;
        if (end != NULL && is_before(file.data + at, n, step, epochs)) {
            status = dl_text_append_bytes(&kept, file.data + at, n);
        }
        at += n;
    }
    if (status == DL_OK && kept.size != file.size) {
        status = dl_file_replace(path, kept.data == NULL ? "" : kept.data, kept.size);
    }
    dl_text_free(&file);
    dl_text_free(&kept);
    return status;
}
