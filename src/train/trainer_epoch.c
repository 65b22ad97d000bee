/* The end of an epoch: evaluated, judged, its weights kept. */
#include "train/trainer_parts.h"

#include "base/clock.h"
#include "base/log.h"
#include "train/evaluate.h"
#include "train/weights.h"

#include <string.h>

/* Writes the parameters that were fetched last: rank 0 does, for all hold the same. */
static dl_status write_file(dl_trainer *t, const char *name, int64_t step, float *trainable) {
    char path[4096];
    if (t->session->world->rank != 0) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_run_dir_file(t->options->run, name, path, sizeof path));
    const dl_host_arenas *host = &t->session->host;
    const dl_host_arenas arenas = {{trainable, host->of[DL_ARENA_FROZEN], host->of[DL_ARENA_STATISTICS]}};
    return dl_weights_write(path, &t->session->model->table, t->session->config->name, step, &arenas);
}

dl_status dl_trainer_write_weights(dl_trainer *t, int64_t step, bool best) {
    DL_RETURN_IF_ERROR(dl_session_fetch_parameters(t->session));
    float *averaged = t->session->averaged, *trainable = t->session->host.of[DL_ARENA_TRAINABLE];
    DL_RETURN_IF_ERROR(write_file(t, "weights.h5", step, trainable));
    if (averaged != NULL) {
        DL_RETURN_IF_ERROR(write_file(t, "ema.h5", step, averaged));
    }
    return best ? write_file(t, "best.h5", step, averaged != NULL ? averaged : trainable) : DL_OK;
}

/* Looks at the figures of an epoch: whether it is the best, whether training goes on. All ranks have the
 * same. */
static bool judge_epoch(dl_trainer *t, const dl_epoch_report *report) {
    const int64_t patience = t->session->config->train.early_stopping.patience;
    (void)dl_best_take(&t->stopping, report->epoch, &report->train, &report->valid);
    t->result->early = patience > 0 && t->stopping.without >= patience;
    return dl_best_take(&t->result->best, report->epoch, &report->train, &report->valid);
}

/* At an epoch's end a full disk may wait, as for checkpoints; at the end of training it may not. Collective.
 */
static dl_status keep_weights(dl_trainer *t, int64_t step, bool best) {
    int failed = -1;
    const dl_status status =
        dl_comm_agree(t->session->world, dl_trainer_write_weights(t, step, best), &failed);
    if (status != DL_ERR_IO || t->session->config->checkpoint.on_error != 0) {
        return status;
    }
    if (t->options->console != NULL) {
        DL_WARN("%s; training goes on", dl_error_last()->message);
    }
    return DL_OK;
}

void dl_trainer_take_stop(dl_trainer *t, int word) {
    t->stop_word = word > t->stop_word ? word : t->stop_word;
    t->result->stop = t->stop_word % DL_STOP_UNSAVED;
    t->result->unsaved = t->stop_word >= DL_STOP_UNSAVED;
    if (t->stop_word != 0 && t->options->note_stop != NULL) {
        t->options->note_stop();
    }
}

static int word_amid_evaluation(void *trainer) {
    return dl_trainer_stop_word(trainer, false);
}

dl_status dl_trainer_evaluate(dl_trainer *t, dl_split split, int64_t epoch, dl_score *score) {
    int word = 0;
    const dl_evaluation evaluation = {.session = t->session,
                                      .split = split,
                                      .console = t->options->console,
                                      .audit = t->options->run,
                                      .epoch = epoch,
                                      .stop_word = word_amid_evaluation,
                                      .context = t,
                                      .stopped = &word};
    *score = (dl_score){0};
    DL_RETURN_IF_ERROR(t->stop_word == 0 ? dl_evaluate(&evaluation, score) : DL_OK);
    dl_trainer_take_stop(t, word);
    return DL_OK;
}

dl_status dl_trainer_end_epoch(dl_trainer *t, int64_t step) {
    const double now = dl_clock_seconds(), passed = now - t->epoch_began;
    dl_epoch_report report = {.epoch = dl_trainer_epoch_of(t, step),
                              .step = step,
                              .samples = t->samples,
                              .train = dl_score_of(t->session->model, t->epoch_sums),
                              .samples_per_s = (double)t->epoch_samples / passed,
                              .data_wait = t->epoch_waited / passed};
    DL_RETURN_IF_ERROR(dl_trainer_evaluate(t, DL_SPLIT_VALID, report.epoch, &t->valid));
    if (t->stop_word != 0) {
        return DL_OK;
    }
    t->open = false;
    t->valid_step = step;
    report.valid = t->valid;
    const bool best = judge_epoch(t, &report);
    DL_RETURN_IF_ERROR(keep_weights(t, step, best));
    report.seconds = dl_clock_seconds() - t->began;
    dl_console_epoch(t->options->console, dl_trainer_epoch_of(t, t->session->total_steps), &report);
    if (t->options->metrics != NULL) {
        DL_RETURN_IF_ERROR(dl_metrics_epoch(t->options->metrics, &report));
        DL_RETURN_IF_ERROR(
            dl_run_status_write(dl_run_dir_status(t->options->run), DL_RUN_RUNNING, 0, step, ""));
    }
    memset(t->epoch_sums, 0, sizeof t->epoch_sums);
    t->epoch_samples = 0;
    t->epoch_waited = 0.0;
    t->epoch_began = dl_clock_seconds();
    t->evaluated += t->epoch_began - now;
    if (t->options->deadline != NULL) {
        t->options->deadline->evaluation = t->epoch_began - now;
    }
    t->shown_at += t->epoch_began - now;
    return DL_OK;
}
