/* A training job, the state of `dltrain train` (cmd_train.c): what it goes on from (job_resume.c), where it
 * writes and says what it begins with (job_outputs.c), how it ended (job_end.c). */
#ifndef DLTRAIN_LAUNCHER_JOB_H
#define DLTRAIN_LAUNCHER_JOB_H

#include "launcher/bootstrap.h"
#include "launcher/command.h"
#include "launcher/last_word.h"
#include "launcher/setup.h"
#include "model/scoring.h"
#include "train/checkpoint/checkpoint.h"
#include "train/resume.h"
#include "train/trainer.h"

/* Everything that it owns, released in one place (cmd_train.c). */
typedef struct dl_job {
    dl_runtime *runtime;
    dl_setup setup;
    dl_session *session;
    dl_run_dir *run;
    dl_console *console; /* rank 0's; NULL on others, as is metrics */
    dl_metrics *metrics;
    dl_text config_text; /* resolved; what config.yaml holds */
    dl_injections injections;
    dl_deadline deadline;
    dl_resume resume; /* what this run goes on from, if anything */
    dl_saver *saver;
    dl_last_word *last_word; /* rank 0's */
    const char *metric_names[DL_MAX_METRICS];
    int n_metrics;
} dl_job;

/* --- job_resume.c; all ranks call --- */

/* Prints the configuration into j->config_text and finds the checkpoint that this run goes on from, unless it
 * begins anew (--fresh). Before the session. */
DL_NODISCARD dl_status dl_job_find_resume(dl_job *j, const dl_arguments *arguments);

/* May it go on from there, with this configuration and this data? Else DL_ERR_USAGE on all ranks, naming what
 * differs. With the session. */
DL_NODISCARD dl_status dl_job_check_resume(dl_job *j, const dl_arguments *arguments);

/* *step: the last one, where there is nothing left to do; else -1. A run that was killed, or stopped, behind
 * its last step has yet to tell how it ended: that is no end. */
DL_NODISCARD dl_status dl_job_is_finished(dl_job *j, const dl_arguments *arguments, int64_t *step);

/* Initial parameters, or what the checkpoint has, from a run directory that is opened and locked for that.
 * Nothing in it has changed when this fails. Before the outputs are opened. */
DL_NODISCARD dl_status dl_job_load(dl_job *j, const dl_arguments *arguments);

/* --- job_outputs.c; all ranks call --- */

/* Run directory; on rank 0 metrics and console, too. */
DL_NODISCARD dl_status dl_job_open_outputs(dl_job *j);

/* The banner, the checkpoint that it goes on from, failures on purpose: on the console and in the log, in
 * metrics.jsonl and in status.json. */
DL_NODISCARD dl_status dl_job_tell_begin(dl_job *j);

/* --- job_end.c --- */

/* The closing summary, the last lines of metrics.jsonl, status.json. Does nothing on ranks without console.
 */
DL_NODISCARD dl_status dl_job_tell_end(dl_job *j, const dl_trainer_result *result);

/* Returns `status` with its record: status.json says on rank 0 how it failed, whatever else fails then. */
DL_NODISCARD dl_status dl_job_tell_failure(dl_job *j, dl_status status, int64_t step);

#endif
