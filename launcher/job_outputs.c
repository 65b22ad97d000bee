#define _GNU_SOURCE
#include "base/log.h"
#include "launcher/job.h"
#include "launcher/report.h"

#include <inttypes.h>
#include <unistd.h>

static void find_metric_names(dl_job *j) {
    const dl_int_list *metrics = &j->setup.config->train.metrics;
    for (int i = 0; i < metrics->n && i < DL_MAX_METRICS; i++) {
        j->metric_names[j->n_metrics++] = dl_metric_at(metrics->value[i])->variant.name;
    }
}

/* Rank 0: run directory, metrics, console. */
static dl_status open_outputs_here(dl_job *j) {
    const dl_config *config = j->setup.config;
    const dl_console_options options = dl_console_options_for(STDOUT_FILENO);
    find_metric_names(j);
    DL_RETURN_IF_ERROR(dl_console_create(&options, j->metric_names, j->n_metrics, &j->console));
    const int64_t epochs = j->resume.step / j->session->steps_per_epoch - j->resume.trainer.open;
    const bool here = j->resume.found && !j->resume.elsewhere;
    DL_RETURN_IF_ERROR(
        here ? dl_run_dir_continue(j->run, j->config_text.data, config->run.audit, j->resume.step, epochs)
             : dl_run_dir_create(config->run.dir, j->config_text.data, config->run.audit, &j->run));
    dl_log_set_file(dl_run_dir_log_fd(j->run));
    dl_console_set_log(j->console, dl_run_dir_log_fd(j->run));
    if (dl_run_dir_moved_to(j->run) != NULL) {
        dl_console_note(j->console, "an earlier run was moved to %s", dl_run_dir_moved_to(j->run));
    }
    char path[4096];
    DL_RETURN_IF_ERROR(dl_run_dir_file(j->run, "metrics.jsonl", path, sizeof path));
    return dl_metrics_create(dl_run_dir_metrics_fd(j->run), path, j->metric_names, j->n_metrics,
                             config->checkpoint.on_error == 0, &j->metrics);
}

dl_status dl_job_open_outputs(dl_job *j) {
    dl_comm *world = j->runtime->world;
    dl_status status = world->rank == 0 ? open_outputs_here(j) : DL_OK;
    DL_RETURN_IF_ERROR(dl_comm_agree(world, status, NULL));
    if (world->rank > 0) {
        const dl_config *config = j->setup.config;
        status = dl_run_dir_join(config->run.dir, world->rank, config->run.audit, &j->run);
    }
    return dl_comm_agree(world, status, NULL);
}

static dl_status tell_start(dl_job *j) {
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

static dl_status tell_resume(dl_job *j) {
    if (!j->resume.found) {
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

static dl_status join_injections(const dl_job *j, dl_text *all) {
    for (int i = 0; i < j->injections.n; i++) {
        DL_RETURN_IF_ERROR(dl_text_append(all, "%s%s", i > 0 ? " " : "", j->injections.each[i].text));
    }
    return DL_OK;
}

/* In status.json, whichever rank writes it. */
static dl_status note_injections(dl_job *j) {
    dl_text all = {0};
    if (j->injections.n == 0) {
        return DL_OK;
    }
    dl_status status = join_injections(j, &all);
    status = status == DL_OK ? dl_run_status_set_inject(dl_run_dir_status(j->run), all.data) : status;
    dl_text_free(&all);
    return status;
}

static dl_status tell_injections(dl_job *j) {
    for (int i = 0; i < j->injections.n; i++) {
        const char *what = j->injections.each[i].text;
        dl_console_note(j->console, "inject  %s: this run is to fail on purpose", what);
        DL_RETURN_IF_ERROR(dl_metrics_inject(j->metrics, what));
    }
    return j->injections.n == 0
               ? DL_OK
               : dl_run_status_write(dl_run_dir_status(j->run), DL_RUN_RUNNING, 0, j->resume.step, "");
}

static dl_status tell_begin(dl_job *j) {
    DL_RETURN_IF_ERROR(tell_start(j));
    DL_RETURN_IF_ERROR(tell_resume(j));
    return tell_injections(j);
}

dl_status dl_job_tell_begin(dl_job *j) {
    dl_status status = note_injections(j);
    if (status == DL_OK && j->console != NULL) {
        status = tell_begin(j);
    }
    return dl_comm_agree(j->runtime->world, status, NULL);
}
