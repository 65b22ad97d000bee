/* dltrain train: the main job. */
#define _GNU_SOURCE
#include "base/clock.h"
#include "base/log.h"
#include "launcher/bootstrap.h"
#include "launcher/command.h"
#include "launcher/report.h"
#include "launcher/setup.h"
#include "launcher/signals.h"
#include "model/scoring.h"
#include "train/checkpoint/checkpoint.h"
#include "train/resume.h"
#include "train/trainer.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Everything a training job owns; released in one place. */
typedef struct job {
    dl_runtime *runtime;
    dl_setup setup;
    dl_session *session;
    dl_run_dir *run;
    dl_console *console;
    dl_metrics *metrics;
    dl_text config_text;
    dl_injections injections;
    dl_deadline deadline;
    dl_resume resume; /* what this run goes on from, if anything */
    int has_ended;    /* that run has come to its end, and said so; all ranks know */
    dl_saver *saver;
    const char *metric_names[DL_MAX_METRICS];
    int n_metrics;
} job;

static void release(job *j) {
    dl_saver_destroy(&j->saver);
    dl_console_destroy(&j->console);
    dl_metrics_destroy(&j->metrics);
    dl_log_set_file(-1);
    dl_run_dir_close(&j->run);
    dl_session_close(&j->session);
    dl_text_free(&j->config_text);
    dl_setup_release(&j->setup);
}

static void find_metric_names(job *j) {
    const dl_int_list *metrics = &j->setup.config->train.metrics;
    for (int i = 0; i < metrics->n && i < DL_MAX_METRICS; i++) {
        j->metric_names[j->n_metrics++] = dl_metric_at(metrics->value[i])->variant.name;
    }
}

/* --- going on from a checkpoint --- */

/* With the configuration of the run that the checkpoint is of. A copy may have come without it: then tensors
 * and data alone tell whether it fits. */
static dl_status compare_with_file(job *j, const char *forced) {
    const char *schedule = j->setup.config->train.schedule.kind->name;
    const bool any_length = strcmp(schedule, "cosine") != 0 && strcmp(schedule, "polynomial") != 0;
    char path[PATH_MAX];
    dl_text before = {0};
    const bool here = !j->resume.elsewhere;
    DL_RETURN_IF_ERROR(dl_path_join(path, sizeof path, here ? j->setup.config->run.dir : j->resume.path,
                                    here ? "config.yaml" : "../../config.yaml"));
    if (!here && !dl_file_exists(path)) {
        DL_WARN(
            "there is no %s: the configuration that %s was made with is not known; tensors and data are compared",
            path, j->resume.path);
        return DL_OK;
    }
    dl_status status = dl_file_read(path, 1 << 20, &before);
    if (status == DL_OK) {
        status = dl_resume_compare(before.data, j->config_text.data, any_length, forced);
    }
    dl_text_free(&before);
    return status;
}

/* Rank 0: may this configuration go on with that run? */
static dl_status compare_configs(job *j, const char *forced) {
    const dl_config *config = j->setup.config;
    DL_RETURN_IF_ERROR(compare_with_file(j, forced));
    DL_RETURN_ERROR_IF(
        strcmp(j->resume.data_digest, j->session->train_info.digest) != 0 &&
            (forced == NULL || strcmp(forced, "data.path") != 0),
        DL_ERR_USAGE,
        "the data set in '%s' is not the one that the run was begun with: its digest is %s, it was %s. "
        "--force data.path goes on all the same",
        config->data.path, j->session->train_info.digest, j->resume.data_digest);
    return DL_OK;
}

/* Finds the checkpoint that this run goes on from, unless it begins anew. */
static dl_status find_resume(job *j, const dl_arguments *arguments) {
    dl_comm *world = j->runtime->world;
    const char *wanted = dl_arguments_flag(arguments, "resume");
    const bool fresh = dl_arguments_flag(arguments, "fresh") != NULL;
    DL_RETURN_ERROR_IF(fresh && wanted != NULL, DL_ERR_USAGE, "--fresh and --resume exclude each other");
    DL_RETURN_IF_ERROR(dl_setup_print(&j->setup, &j->config_text));
    if (fresh) {
        return DL_OK;
    }
    const dl_resume_options options = {.run_dir = j->setup.config->run.dir,
                                       .wanted = wanted,
                                       .strict = dl_arguments_flag(arguments, "strict") != NULL};
    DL_RETURN_IF_ERROR(dl_resume_find(world, &options, &j->resume));
    j->setup.choices = j->resume.choices;
    return DL_OK;
}

/* May it go on from there, with this configuration and this data? */
static dl_status check_resume(job *j, const dl_arguments *arguments) {
    const bool compared = j->resume.found && j->runtime->world->rank == 0;
    const dl_status status = compared ? compare_configs(j, dl_arguments_flag(arguments, "force")) : DL_OK;
    return dl_comm_agree(j->runtime->world, status, NULL);
}

static dl_status find_end(job *j) {
    dl_comm *world = j->runtime->world;
    j->has_ended = world->rank == 0 && dl_run_dir_is_done(j->setup.config->run.dir);
    return world->functions->broadcast(world, &j->has_ended, sizeof j->has_ended, 0);
}

/* A run that was killed, or stopped, behind its last step has yet to tell how it ended: that is no end. */
static bool is_finished(const job *j) {
    const int64_t total = j->session->total_steps;
    return j->resume.found && (j->resume.trainer.early || j->resume.step >= total) &&
           (j->has_ended || j->resume.step > total);
}

static dl_status make_saver(job *j) {
    char checkpoints[4096], digest[DL_DIGEST_TEXT_BYTES];
    dl_digest_of(j->config_text.data, j->config_text.size, digest);
    DL_RETURN_IF_ERROR(dl_run_dir_checkpoints(j->setup.config->run.dir, checkpoints, sizeof checkpoints));
    if (j->runtime->world->rank == 0) { /* what a killed job began */
        int n_removed = 0;
        DL_RETURN_IF_ERROR(dl_checkpoint_clean(checkpoints, &n_removed));
        DL_RETURN_IF_ERROR(dl_resume_set_aside(j->setup.config->run.dir, j->resume.step));
    }
    const dl_saver_options options = {.session = j->session,
                                      .checkpoints = checkpoints,
                                      .config_digest = digest,
                                      .console = j->console,
                                      .injections = j->injections.n > 0 ? &j->injections : NULL,
                                      .stop = dl_signals_insist()};
    DL_RETURN_IF_ERROR(dl_saver_create(&options, &j->saver));
    if (j->resume.found && !j->resume.elsewhere) {
        int64_t best = 0;
        DL_RETURN_IF_ERROR(dl_resume_best_step(checkpoints, &best));
        dl_saver_pin(j->saver, best);
        dl_saver_set_committed(j->saver, j->resume.step);
    }
    return DL_OK;
}

static dl_status tell_resume(job *j) {
    if (j->console == NULL || !j->resume.found) {
        return DL_OK;
    }
    const dl_resume_report report = {.epoch = j->resume.epoch,
                                     .step = j->resume.step,
                                     .samples = j->resume.samples,
                                     .ranks_before = j->resume.ranks,
                                     .ranks = j->runtime->world->size};
    dl_console_note(j->console,
                    "resume  after step %" PRId64 " of %" PRId64 " (epoch %" PRId64
                    "), saved by %d rank%s%s%s",
                    report.step, j->session->total_steps, report.epoch, report.ranks_before,
                    report.ranks_before == 1 ? "" : "s", j->resume.elsewhere ? ", of " : "",
                    j->resume.elsewhere ? j->resume.path : "");
    return dl_metrics_resume(j->metrics, &report);
}

/* --- failures on purpose --- */

static dl_status read_injections(job *j, const dl_arguments *arguments) {
    const char *words[DL_MAX_REPEATS + 1];
    const dl_comm *world = j->runtime->world;
    const int n = dl_arguments_all(arguments, "inject", words);
    const dl_status status = dl_inject_parse(words, n, world->rank, world->size, &j->injections);
    return dl_comm_agree(j->runtime->world, status, NULL);
}

/* On the console and in the log, in metrics.jsonl and in status.json. */
static dl_status tell_injections(job *j, int64_t step) {
    dl_text all = {0};
    dl_status status = DL_OK;
    if (j->console == NULL || j->injections.n == 0) {
        return DL_OK;
    }
    for (int i = 0; i < j->injections.n && status == DL_OK; i++) {
        const char *what = j->injections.each[i].text;
        dl_console_note(j->console, "inject  %s: this run is to fail on purpose", what);
        status = dl_metrics_inject(j->metrics, what);
        status = status == DL_OK ? dl_text_append(&all, "%s%s", i > 0 ? " " : "", what) : status;
    }
    status = status == DL_OK ? dl_run_dir_set_inject(j->run, all.data) : status;
    dl_text_free(&all);
    DL_RETURN_IF_ERROR(status);
    return dl_run_dir_status(j->run, DL_RUN_RUNNING, 0, step, "");
}

/* --- outputs --- */

/* Rank 0: run directory, metrics, console. */
static dl_status open_outputs(job *j) {
    const dl_config *config = j->setup.config;
    const dl_console_options options = dl_console_options_for(STDOUT_FILENO);
    DL_RETURN_IF_ERROR(dl_console_create(&options, j->metric_names, j->n_metrics, &j->console));
    const bool over = j->resume.step % j->session->steps_per_epoch == 0;
    const bool here = j->resume.found && !j->resume.elsewhere;
    DL_RETURN_IF_ERROR(
        here ? dl_run_dir_continue(config->run.dir, j->config_text.data, config->run.audit, j->resume.step,
                                   over, &j->run)
             : dl_run_dir_create(config->run.dir, j->config_text.data, config->run.audit, &j->run));
    dl_log_set_file(dl_run_dir_log_fd(j->run));
    dl_console_set_log(j->console, dl_run_dir_log_fd(j->run));
    if (dl_run_dir_moved_to(j->run) != NULL) {
        dl_console_note(j->console, "an earlier run was moved to %s", dl_run_dir_moved_to(j->run));
    }
    char path[4096];
    DL_RETURN_IF_ERROR(dl_run_dir_file(j->run, "metrics.jsonl", path, sizeof path));
    return dl_metrics_create(dl_run_dir_metrics_fd(j->run), path, j->metric_names, j->n_metrics, &j->metrics);
}

static dl_status open_outputs_everywhere(job *j) {
    dl_comm *world = j->runtime->world;
    dl_status status = world->rank == 0 ? open_outputs(j) : DL_OK;
    DL_RETURN_IF_ERROR(dl_comm_agree(world, status, NULL));
    if (world->rank > 0) {
        const dl_config *config = j->setup.config;
        status = dl_run_dir_join(config->run.dir, world->rank, config->run.audit, &j->run);
    }
    return dl_comm_agree(world, status, NULL);
}

static dl_status tell_start(job *j) {
    if (j->console == NULL) {
        return DL_OK;
    }
    dl_report_banner(j->session, j->runtime, j->console);
    char digest[DL_DIGEST_TEXT_BYTES];
    dl_digest_of(j->config_text.data, j->config_text.size, digest);
    const dl_start_report report = {.ranks = j->runtime->world->size,
                                    .threads = j->runtime->n_threads,
                                    .backend = j->session->device->backend->name,
                                    .parameters = j->session->model->table.n_total,
                                    .config_digest = digest};
    return dl_metrics_start(j->metrics, &report);
}

/* Why, and what is left when the last step is in no checkpoint. */
static void describe_stop(const job *j, const dl_trainer_result *result, char *out, size_t n_bytes) {
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

static void describe_end(const job *j, const dl_trainer_result *result, char *out, size_t n_bytes) {
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
static void advise(const job *j, char *out, size_t n_bytes) {
    const dl_session *session = j->session;
    const bool has_test = session->split[DL_SPLIT_TEST].n > 0,
               has_valid = session->split[DL_SPLIT_VALID].n > 0;
    out[0] = '\0';
    if (has_test || has_valid) {
        (void)snprintf(out, n_bytes, "dltrain eval %s%s", dl_run_dir_path(j->run),
                       has_test ? "" : " --split valid");
    }
}

static dl_status tell_end(job *j, const dl_trainer_result *result) {
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

/* The run directory says how it ended, also when it failed. */
static dl_status tell_failure(job *j, dl_status status, int64_t step) {
    dl_error error;
    dl_error_take(&error);
    if (j->run != NULL && j->runtime->world->rank == 0) {
        if (dl_run_dir_status(j->run, DL_RUN_FAILED, (int)status, step, error.message) != DL_OK) {
            DL_WARN("%s", dl_error_last()->message);
        }
    }
    return dl_error_restore(&error);
}

/* *stopped: how a run that a signal stopped has ended; DL_OK: it was not stopped. */
static dl_status train(job *j, bool profile, dl_status *stopped) {
    dl_trainer_result result = {0};
    DL_RETURN_IF_ERROR(dl_comm_agree(j->runtime->world, make_saver(j), NULL));
    const dl_trainer_options options = {.session = j->session,
                                        .run = j->run,
                                        .console = j->console,
                                        .metrics = j->metrics,
                                        .saver = j->saver,
                                        .resume = j->resume.found ? &j->resume.trainer : NULL,
                                        .pending_signal = dl_signals_pending,
                                        .injections = j->injections.n > 0 ? &j->injections : NULL,
                                        .deadline = j->deadline.known ? &j->deadline : NULL,
                                        .profile = profile};
    DL_RETURN_IF_ERROR(dl_session_init_parameters(j->session));
    if (j->resume.found) {
        DL_RETURN_IF_ERROR(dl_resume_load(&j->resume, j->session));
    }
    const dl_status status = dl_train(&options, &result);
    if (status != DL_OK) {
        return tell_failure(j, status, result.step);
    }
    if (result.stop != 0) {
        *stopped = result.saved ? DL_STOPPED : DL_INTERRUPTED;
    }
    return dl_comm_agree(j->runtime->world, tell_end(j, &result), NULL);
}

static dl_status run_job(job *j, const dl_arguments *arguments, dl_status *stopped) {
    const double began = dl_clock_seconds();
    DL_RETURN_IF_ERROR(dl_runtime_start(&j->runtime));
    DL_RETURN_IF_ERROR(dl_signals_install());
    const char *path = arguments->n_positional > 0 ? arguments->positional[0] : NULL;
    DL_RETURN_IF_ERROR(
        dl_setup_load(path, arguments->override, arguments->n_overrides, j->runtime->world, &j->setup));
    DL_RETURN_IF_ERROR(dl_deadline_set(dl_arguments_flag(arguments, "time-limit"), began,
                                       getenv("SLURM_JOB_END_TIME"), &j->deadline));
    DL_RETURN_IF_ERROR(read_injections(j, arguments));
    find_metric_names(j);
    DL_RETURN_IF_ERROR(find_resume(j, arguments));
    DL_RETURN_IF_ERROR(
        dl_setup_session(&j->setup, j->runtime->world, 0, j->runtime->n_threads, true, false, &j->session));
    DL_RETURN_IF_ERROR(check_resume(j, arguments));
    DL_RETURN_IF_ERROR(find_end(j));
    if (is_finished(j)) {
        if (j->runtime->world->rank == 0) {
            (void)printf("already finished at step %" PRId64 "; --fresh trains anew\n", j->resume.step);
        }
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(open_outputs_everywhere(j));
    DL_RETURN_IF_ERROR(tell_start(j));
    DL_RETURN_IF_ERROR(tell_resume(j));
    DL_RETURN_IF_ERROR(dl_comm_agree(j->runtime->world, tell_injections(j, j->resume.step), NULL));
    return train(j, dl_arguments_flag(arguments, "profile") != NULL, stopped);
}

static dl_status run(const dl_arguments *arguments) {
    job j = {0};
    dl_status stopped = DL_OK;
    const dl_status status = dl_runtime_settle(run_job(&j, arguments, &stopped));
    release(&j);
    return status == DL_OK ? stopped : status;
}

static const dl_flag flags[] = {
    {"fresh", NULL, "start anew; an earlier run in the directory is kept as NAME.1"},
    {"resume", "STEP|best|PATH",
     "go on from this checkpoint (default: the newest of the run directory that is whole); another run's "
     "begins a new one"},
    {"strict", NULL, "a damaged newest checkpoint is an error; the next older one is not taken"},
    {"force", "KEY", "go on although this key of the configuration has changed"},
    {"inject", "KIND@rank=R,step=N...",
     "rehearse a failure: kill, stop, delay=SECONDS, nan or enospc on rank R before step N; needs DLTRAIN_INJECT=1"},
    {"time-limit", "TIME",
     "stop with a checkpoint before so much time has passed: 90s, 30m, 1.5h, 1:30:00 (a job of Slurm's knows its end)"},
    {"profile", NULL, "print where the time of a step goes"},
    {NULL, NULL, NULL},
};

const dl_command dl_command_train = {
    .name = "train",
    .usage = "[CONFIG] [KEY.PATH=VALUE ...] [--fresh] [--resume STEP|best|PATH] [--strict] [--force KEY] "
             "[--time-limit TIME] [--inject WHAT]... [--profile]",
    .doc = "train the network that CONFIG describes (default: ./dltrain.yaml, else a built-in example)",
    .flags = flags,
    .takes_overrides = true,
    .max_positional = 1,
    .uses_ranks = true,
    .run = run,
};
