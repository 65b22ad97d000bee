/* dltrain train: the main job. */
#define _GNU_SOURCE
#include "base/clock.h"
#include "base/log.h"
#include "launcher/job.h"
#include "launcher/signals.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void release(dl_job *j) {
    dl_last_word_destroy(&j->last_word);
    dl_saver_destroy(&j->saver);
    dl_console_destroy(&j->console);
    dl_metrics_destroy(&j->metrics);
    dl_log_set_file(-1);
    dl_run_dir_close(&j->run);
    dl_session_close(&j->session);
    dl_text_free(&j->config_text);
    dl_setup_release(&j->setup);
}

static dl_status make_saver(dl_job *j) {
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
                                      .metrics = dl_run_dir_metrics_fd(j->run),
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

static dl_status read_injections(dl_job *j, const dl_arguments *arguments) {
    const char *words[DL_MAX_REPEATS + 1];
    const dl_comm *world = j->runtime->world;
    const int n = dl_arguments_all(arguments, "inject", words);
    const dl_status status = dl_inject_parse(words, n, world->rank, world->size, &j->injections);
    return dl_comm_agree(j->runtime->world, status, NULL);
}

/* *stopped: how a run that a signal stopped has ended; DL_OK: it was not stopped. */
static dl_status train(dl_job *j, bool profile, dl_status *stopped) {
    dl_trainer_result result = {0};
    DL_RETURN_IF_ERROR(dl_comm_agree(j->runtime->world, make_saver(j), NULL));
    const dl_trainer_options options = {.session = j->session,
                                        .run = j->run,
                                        .console = j->console,
                                        .metrics = j->metrics,
                                        .saver = j->saver,
                                        .resume = j->resume.found ? &j->resume.trainer : NULL,
                                        .pending_signal = dl_signals_pending,
                                        .note_stop = dl_signals_note_stop,
                                        .injections = j->injections.n > 0 ? &j->injections : NULL,
                                        .deadline = j->deadline.known ? &j->deadline : NULL,
                                        .profile = profile};
    const dl_status status = dl_train(&options, &result);
    if (status != DL_OK) {
        return dl_job_tell_failure(j, status, result.step);
    }
    if (result.stop != 0) {
        *stopped = result.saved ? DL_STOPPED : DL_INTERRUPTED;
    }
    const dl_status told = dl_comm_agree(j->runtime->world, dl_job_tell_end(j, &result), NULL);
    return told == DL_OK ? DL_OK : dl_job_tell_failure(j, told, result.step);
}

static dl_status run_job(dl_job *j, const dl_arguments *arguments, dl_status *stopped) {
    const double began = dl_clock_seconds();
    DL_RETURN_IF_ERROR(dl_runtime_start(&j->runtime));
    DL_RETURN_IF_ERROR(dl_signals_install());
    const char *path = arguments->n_positional > 0 ? arguments->positional[0] : NULL;
    DL_RETURN_IF_ERROR(
        dl_setup_load(path, arguments->override, arguments->n_overrides, j->runtime->world, &j->setup));
    DL_RETURN_IF_ERROR(dl_deadline_set(dl_arguments_flag(arguments, "time-limit"), began,
                                       getenv("SLURM_JOB_END_TIME"), &j->deadline));
    DL_RETURN_IF_ERROR(read_injections(j, arguments));
    DL_RETURN_IF_ERROR(dl_job_find_resume(j, arguments));
    const dl_session_options options = {.world = j->runtime->world,
                                        .n_threads = j->runtime->n_threads,
                                        .training = true,
                                        .choices = j->resume.choices};
    DL_RETURN_IF_ERROR(dl_setup_session(&j->setup, &options, &j->session));
    DL_RETURN_IF_ERROR(dl_job_check_resume(j, arguments));
    int64_t finished = -1;
    DL_RETURN_IF_ERROR(dl_job_is_finished(j, arguments, &finished));
    if (finished >= 0) {
        if (j->runtime->world->rank == 0) {
            (void)printf("already finished at step %" PRId64 "; --fresh trains anew\n", finished);
        }
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_job_load(j, arguments));
    DL_RETURN_IF_ERROR(dl_job_open_outputs(j));
    if (j->console != NULL) {
        DL_RETURN_IF_ERROR(dl_last_word_create(dl_run_dir_status(j->run), &j->last_word));
    }
    DL_RETURN_IF_ERROR(dl_job_tell_begin(j));
    return train(j, dl_arguments_flag(arguments, "profile") != NULL, stopped);
}

static dl_status run(const dl_arguments *arguments) {
    dl_job j = {0};
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
    {"force", "KEY...",
     "go on although this key of the configuration has changed; may be given several times"},
    {"inject", "KIND@rank=R,step=N...",
     "rehearse a failure: kill, stop, delay=SECONDS, nan or enospc on rank R before step N; needs DLTRAIN_INJECT=1"},
    {"time-limit", "TIME",
     "stop with a checkpoint before so much time has passed: 90s, 30m, 1.5h, 1:30:00 (a job of Slurm's knows its end)"},
    {"profile", NULL, "print where the time of a step goes"},
    {NULL, NULL, NULL},
};

const dl_command dl_command_train = {
    .name = "train",
    .usage = "[CONFIG] [KEY.PATH=VALUE ...] [--fresh] [--resume STEP|best|PATH] [--strict] [--force KEY]... "
             "[--time-limit TIME] [--inject WHAT]... [--profile]",
    .doc = "train the network that CONFIG describes (default: ./dltrain.yaml, else a built-in example)",
    .flags = flags,
    .takes_overrides = true,
    .max_positional = 1,
    .uses_ranks = true,
    .run = run,
};
