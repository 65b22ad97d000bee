#define _GNU_SOURCE
#include "train/resume.h"

#include "base/log.h"
#include "train/run_dir.h"
#include "train/state.h"

#include <inttypes.h>
#include <string.h>

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
        dl_checkpoint_trust(checkpoint); /* dl_resume_find has read it all */
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
