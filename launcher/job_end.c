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

/* As a shell reads it back. */
static dl_status append_word(dl_text *text, const char *word) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@%+=,";
    if (word[strspn(word, plain)] == '\0') {
        return dl_text_append(text, "%s", word);
    }
    DL_RETURN_IF_ERROR(dl_text_append(text, "'"));
    for (const char *c = word; *c != '\0'; c++) {
        DL_RETURN_IF_ERROR(*c == '\'' ? dl_text_append(text, "'\\''") : dl_text_append_bytes(text, c, 1));
    }
    return dl_text_append(text, "'");
}

/* A command that works: on the test split, or on another where the data set has none; else nothing. */
static dl_status advise(const dl_job *j, dl_text *out) {
    const dl_session *session = j->session;
    const bool has_test = session->split[DL_SPLIT_TEST].n > 0,
               has_valid = session->split[DL_SPLIT_VALID].n > 0;
    if (!has_test && !has_valid) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_text_append(out, "dltrain eval "));
    DL_RETURN_IF_ERROR(append_word(out, dl_run_dir_path(j->run)));
    return dl_text_append(out, "%s", has_test ? "" : " --split valid");
}

static dl_status tell_end(dl_job *j, const dl_trainer_result *result, const char *next) {
    char what[256];
    describe_end(j, result, what, sizeof what);
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
                                .next = next};
    if (result->skipped > 0) {
        dl_console_note(j->console, "skipped %" PRId64 " step%s whose gradients were not finite",
                        result->skipped, result->skipped == 1 ? "" : "s");
    }
    if (result->stop == 0) {
        DL_RETURN_IF_ERROR(dl_metrics_end(j->metrics, &closing.end));
    }
    dl_console_close(j->console, &closing);
    return dl_run_status_write(dl_run_dir_status(j->run), result->stop == 0 ? DL_RUN_DONE : DL_RUN_STOPPED,
                               result->stop == 0 ? 0 : (int)(result->saved ? DL_STOPPED : DL_INTERRUPTED),
                               result->step, result->stop == 0 ? "" : what);
}

dl_status dl_job_tell_end(dl_job *j, const dl_trainer_result *result) {
    if (j->console == NULL) {
        return DL_OK;
    }
    dl_text next = {0};
    dl_status status = advise(j, &next);
    status = status == DL_OK ? tell_end(j, result, next.data) : status;
    dl_text_free(&next);
    return status;
}

/* Rank 0 keeps the record, and where it is what was lost, whoever is left: all write the same. */
static bool keeps_record(const dl_job *j, dl_status status) {
    dl_comm *world = j->runtime->world;
    int process = 0;
    return world->rank == 0 || (status == DL_ERR_PEER && world->functions->lost_peer(world, &process) == 0);
}

dl_status dl_job_tell_failure(dl_job *j, dl_status status, int64_t step) {
    dl_error error;
    dl_error_take(&error);
    if (j->run != NULL && keeps_record(j, status)) {
        if (dl_run_status_write(dl_run_dir_status(j->run), DL_RUN_FAILED, (int)status, step, error.message) !=
            DL_OK) {
            DL_WARN("%s", dl_error_last()->message);
        }
    }
    return dl_error_restore(&error);
}
