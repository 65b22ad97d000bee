#define _GNU_SOURCE
#include "base/log.h"
#include "launcher/job.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Why, and what is left when the last step is in no checkpoint. */
static void describe_stop(const dl_job *j, const dl_trainer_result *result, char *out, size_t n_bytes) {
    char left[96] = "";
    if (!result->saved && result->checkpoint > 0) {
        (void)snprintf(left, sizeof left, ", not saved: the checkpoint of step %" PRId64 " is the newest",
                       result->checkpoint);
    } else if (!result->saved) {
        (void)snprintf(left, sizeof left, ", not saved: there is no checkpoint");
    }
    if (result->stop == DL_STOP_AT_TIME) {
        (void)snprintf(out, n_bytes, "stopped, for %s%s", j->deadline.text, left);
    } else {
        (void)snprintf(out, n_bytes, "stopped by %ssignal %d (%s)%s",
                       result->unsaved ? "a second signal after " : "", result->stop, strsignal(result->stop),
                       left);
    }
}

static void describe_end(const dl_job *j, const dl_trainer_result *result, char *out, size_t n_bytes) {
    const dl_early_stopping_config *stopping = &j->setup.config->train.early_stopping;
    if (result->stop != 0) {
        describe_stop(j, result, out, n_bytes);
    } else if (result->early) {
        (void)snprintf(out, n_bytes, "done early, no better %.40s for %lld epochs", stopping->monitor,
                       (long long)stopping->patience);
    } else {
        (void)snprintf(out, n_bytes, "done");
    }
}

/* A command that works: on the test split, or on another where the data set has none. */
static void advise(const dl_job *j, char *out, size_t n_bytes) {
    const dl_session *session = j->session;
    const bool has_test = session->split[DL_SPLIT_TEST].n > 0,
               has_valid = session->split[DL_SPLIT_VALID].n > 0;
    out[0] = '\0';
    if (has_test || has_valid) {
        (void)snprintf(out, n_bytes, "dltrain eval %s%s", dl_run_dir_path(j->run),
                       has_test ? "" : " --split valid");
    }
}

dl_status dl_job_tell_end(dl_job *j, const dl_trainer_result *result) {
    if (j->console == NULL) {
        return DL_OK;
    }
    char what[256], next[512];
    describe_end(j, result, what, sizeof what);
    advise(j, next, sizeof next);
    const dl_closing closing = {.what = what,
                                .end = {.epoch = result->epoch,
                                        .step = result->step,
                                        .samples = result->samples,
                                        .test = result->test,
                                        .best = result->best.epoch > 0 ? result->best.name : NULL,
                                        .best_epoch = result->best.epoch,
                                        .best_value = result->best.value,
                                        .skipped = result->skipped,
                                        .seconds = result->seconds,
                                        .weights = result->stop == 0 ? result->weights : NULL},
                                .samples_per_s = result->samples_per_s,
                                .data_wait = result->data_wait,
                                .run_dir = dl_run_dir_path(j->run),
                                .next = next[0] != '\0' ? next : NULL};
    if (result->skipped > 0) {
        dl_console_note(j->console, "skipped %" PRId64 " step%s whose gradients were not finite",
                        result->skipped, result->skipped == 1 ? "" : "s");
    }
    if (result->stop == 0) {
        DL_RETURN_IF_ERROR(dl_metrics_end(j->metrics, &closing.end));
    }
    dl_console_close(j->console, &closing);
    return dl_run_dir_status(j->run, result->stop == 0 ? DL_RUN_DONE : DL_RUN_STOPPED,
                             result->stop == 0 ? 0 : (int)(result->saved ? DL_STOPPED : DL_INTERRUPTED),
                             result->step, result->stop == 0 ? "" : what);
}

dl_status dl_job_tell_failure(dl_job *j, dl_status status, int64_t step) {
    dl_error error;
    dl_error_take(&error);
    if (j->run != NULL && j->runtime->world->rank == 0) {
        if (dl_run_dir_status(j->run, DL_RUN_FAILED, (int)status, step, error.message) != DL_OK) {
            DL_WARN("%s", dl_error_last()->message);
        }
    }
    return dl_error_restore(&error);
}
