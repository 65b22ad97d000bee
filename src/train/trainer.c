#include "train/trainer.h"

#include "base/clock.h"
#include "kernels/common/loss_scale.h"
#include "optim/optim.h"
#include "train/autosave.h"
#include "train/batches.h"
#include "train/diverged.h"
#include "train/evaluate.h"
#include "train/profile.h"
#include "train/weights.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What a run of the loop carries from step to step. */
typedef struct trainer {
    const dl_trainer_options *options;
    dl_session *session;
    dl_trainer_result *result;
    dl_batches *batches;
    dl_step_profile *profile;
    double began, epoch_began;     /* clock */
    double waited, epoch_waited;   /* seconds waiting for data */
    double shown_at, shown_waited; /* when the last step line was written */
    int64_t shown_step, shown_samples;
    double epoch_sums[DL_N_TOTALS];
    int64_t epoch_samples, samples; /* all ranks; those of skipped steps do not count */
    int64_t skipped_in_row;
    double evaluated; /* seconds spent evaluating, not training */
    double rate;      /* learning rate of the step */
    dl_score valid;
    int64_t valid_step; /* which `valid` is of; 0: of none */
    dl_best stopping;   /* what early stopping watches */
    dl_autosave autosave;
    /* What a checkpoint of this step holds. Amid an epoch that is the state before figures of a part of it
     * were judged and shown, because training ends here: a longer one would not have ended. */
    dl_trainer_state kept;
} trainer;

static int64_t epoch_of(const trainer *t, int64_t step) {
    return (step - 1) / t->session->steps_per_epoch + 1;
}

/* Must this step be the last? The largest word of all ranks counts. */
static int stop_word(const trainer *t, int64_t step) {
    const int number = t->options->pending_signal != NULL ? t->options->pending_signal() : 0;
    const int64_t per_epoch = t->session->steps_per_epoch;
    if (number != 0 || t->options->deadline == NULL || t->session->world->rank != 0) {
        return number;
    }
    const bool evaluates = step % per_epoch == 0 || (step + 1) % per_epoch == 0;
    const double cost = dl_autosave_cost(&t->autosave);
    return dl_deadline_is_near(t->options->deadline, dl_clock_seconds(), cost, evaluates) ? DL_STOP_AT_TIME
                                                                                          : 0;
}

/* The step block of a step: number, learning rate, this rank's weight and requests. */
static dl_step_block step_block(trainer *t, int64_t step, const dl_batch *batch) {
    const dl_train_config *train = &t->session->config->train;
    const int64_t epochs =
        (t->session->total_steps + t->session->steps_per_epoch - 1) / t->session->steps_per_epoch;
    const dl_progress progress = {.samples_seen = t->samples,
                                  .batch_size = train->batch_size,
                                  .total_samples = epochs * t->session->n_samples[DL_SPLIT_TRAIN],
                                  .epoch_samples = t->session->n_samples[DL_SPLIT_TRAIN]};
    t->rate = dl_schedule_rate(&train->schedule, dl_optimizer_base_rate(&train->optimizer), &progress);
    dl_step_block block = {.step = step,
                           .t = step - t->result->skipped,
                           .weight = (double)batch->weight,
                           .learning_rate = t->rate};
    block.control[DL_CONTROL_STOP] = stop_word(t, step);
    dl_autosave_ask(&t->autosave, &block);
    if (t->options->injections != NULL) {
        dl_inject_step(t->options->injections, &block);
    }
    return block;
}

/* A step that was skipped for an overflow is always written down. */
static dl_status show_step(trainer *t, int64_t step, int program, const double totals[DL_N_TOTALS],
                           bool skipped) {
    const int64_t log_every = t->session->config->run.log_every;
    const bool log =
        t->options->metrics != NULL && (skipped || step == 1 || (log_every > 0 && step % log_every == 0));
    const bool show = dl_console_due(t->options->console);
    if (!log && !show) {
        return DL_OK;
    }
    double norm = 0.0, scale = 0.0;
    bool has_norm = false, has_scale = false;
    DL_RETURN_IF_ERROR(dl_session_read_norm(t->session, program, &norm, &has_norm));
    DL_RETURN_IF_ERROR(dl_session_read_loss_scale(t->session, &scale, &has_scale));
    const double now = dl_clock_seconds(), passed = now - t->shown_at;
    const int64_t steps = step - t->shown_step, samples = t->samples - t->shown_samples;
    const dl_step_report report = {.epoch = epoch_of(t, step),
                                   .step = step,
                                   .samples = t->samples,
                                   .train = dl_score_of(t->session->model, totals),
                                   .learning_rate = t->rate,
                                   .gradient_norm = has_norm && !skipped ? &norm : NULL,
                                   .loss_scale = has_scale ? &scale : NULL,
                                   .skipped = skipped,
                                   .step_ms = 1e3 * passed / (double)steps,
                                   .samples_per_s = (double)samples / passed,
                                   .data_wait = (t->waited - t->shown_waited) / passed,
                                   .seconds = now - t->began};
    if (show) {
        const double left = (now - t->began) / (double)step * (double)(t->session->total_steps - step);
        const dl_bar bar = {.epoch = report.epoch,
                            .epochs = epoch_of(t, t->session->total_steps),
                            .step = (step - 1) % t->session->steps_per_epoch + 1,
                            .steps = t->session->steps_per_epoch,
                            .seconds_left = left};
        dl_console_step(t->options->console, &bar, &report);
    }
    if (!log) {
        return DL_OK;
    }
    t->shown_at = now;
    t->shown_step = step;
    t->shown_samples = t->samples;
    t->shown_waited = t->waited;
    return dl_metrics_step(t->options->metrics, &report);
}

/* Writes the parameters that were fetched last: rank 0 does, for all hold the same. */
static dl_status write_file(trainer *t, const char *name, int64_t step, float *trainable) {
    char path[4096];
    if (t->session->world->rank != 0) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_run_dir_file(t->options->run, name, path, sizeof path));
    const dl_host_arenas *host = &t->session->host;
    const dl_host_arenas arenas = {{trainable, host->of[DL_ARENA_FROZEN], host->of[DL_ARENA_STATISTICS]}};
    return dl_weights_write(path, &t->session->model->table, t->session->config->name, step, &arenas);
}

/* weights.h5 as trained; ema.h5 and best.h5 as evaluated. */
static dl_status write_weights(trainer *t, int64_t step, bool best) {
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
static bool judge_epoch(trainer *t, const dl_epoch_report *report) {
    const int64_t patience = t->session->config->train.early_stopping.patience;
    (void)dl_best_take(&t->stopping, report->epoch, &report->train, &report->valid);
    t->result->early = patience > 0 && t->stopping.without >= patience;
    return dl_best_take(&t->result->best, report->epoch, &report->train, &report->valid);
}

static dl_status end_epoch(trainer *t, int64_t step) {
    const double now = dl_clock_seconds(), passed = now - t->epoch_began;
    dl_epoch_report report = {.epoch = epoch_of(t, step),
                              .step = step,
                              .samples = t->samples,
                              .train = dl_score_of(t->session->model, t->epoch_sums),
                              .samples_per_s = (double)t->epoch_samples / passed,
                              .data_wait = t->epoch_waited / passed};
    const dl_evaluation evaluation = {.session = t->session,
                                      .split = DL_SPLIT_VALID,
                                      .console = t->options->console,
                                      .audit = t->options->run,
                                      .epoch = report.epoch};
    DL_RETURN_IF_ERROR(dl_evaluate(&evaluation, &t->valid));
    t->valid_step = step;
    report.valid = t->valid;
    int failed = -1;
    const bool best = judge_epoch(t, &report);
    DL_RETURN_IF_ERROR(dl_comm_agree(t->session->world, write_weights(t, step, best), &failed));
    report.seconds = dl_clock_seconds() - t->began;
    dl_console_epoch(t->options->console, epoch_of(t, t->session->total_steps), &report);
    if (t->options->metrics != NULL) {
        DL_RETURN_IF_ERROR(dl_metrics_epoch(t->options->metrics, &report));
        DL_RETURN_IF_ERROR(dl_run_dir_status(t->options->run, DL_RUN_RUNNING, 0, step, ""));
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

/* Where the first value came from that is not finite. */
static dl_status find_bad(const trainer *t, int64_t step, int program, const dl_host_batch *host,
                          char where[DL_DIVERGED_BYTES]) {
    const dl_injections *injections = t->options->injections;
    const int rank = injections != NULL ? dl_inject_nan_rank(injections, step) : -1;
    if (rank < 0) {
        return dl_diverged_find(t->session, program, host, where);
    }
    (void)snprintf(where, DL_DIVERGED_BYTES, "it came by --inject, on rank %d", rank);
    return DL_OK;
}

/* Did a gradient overflow only because the loss is scaled? Then the loss is finite, and there is a smaller
 * scale. What --inject brings is no overflow. */
static dl_status is_overflow(const trainer *t, int64_t step, const double totals[DL_N_TOTALS],
                             bool *overflow) {
    const dl_injections *injections = t->options->injections;
    double scale = 0.0;
    bool scaled = false;
    DL_RETURN_IF_ERROR(dl_session_read_loss_scale(t->session, &scale, &scaled));
    *overflow = scaled && scale > DL_LOSS_SCALE_LEAST && isfinite(totals[DL_TOTAL_LOSS]) &&
                (injections == NULL || dl_inject_nan_rank(injections, step) < 0);
    return DL_OK;
}

/* The step has changed nothing but the scale. It counts as skipped, but not for train.on_nan. */
static dl_status skip_overflow(trainer *t, int64_t step, int program, const double totals[DL_N_TOTALS]) {
    if (t->result->overflows++ == 0) {
        dl_console_note(
            t->options->console,
            "skip    step %lld: scaled gradients overflow; the loss scale is halved until they do "
            "not (metrics.jsonl has each)",
            (long long)step);
    }
    t->result->skipped++;
    return show_step(t, step, program, totals, true);
}

/* The step has changed nothing. The learning rate goes by the samples, the optimizer's bias correction by the
 * updates: neither has seen it. */
static dl_status skip(trainer *t, int64_t step, int program, const dl_host_batch *host) {
    const dl_train_config *train = &t->session->config->train;
    char where[DL_DIVERGED_BYTES];
    DL_RETURN_IF_ERROR(find_bad(t, step, program, host, where));
    if (train->on_nan == 0 || t->skipped_in_row == train->max_skips) {
        return dl_diverged_stop(t->session, step, t->skipped_in_row, where);
    }
    t->result->skipped++;
    t->skipped_in_row++;
    if (t->options->metrics == NULL) {
        return DL_OK;
    }
    dl_console_note(t->options->console,
                    "skip    step %lld: a gradient is NaN or infinite; %s (%lld in a row, at most %lld)",
                    (long long)step, where, (long long)t->skipped_in_row, (long long)train->max_skips);
    const dl_skip_report report = {.epoch = epoch_of(t, step),
                                   .step = step,
                                   .samples = t->samples,
                                   .in_row = t->skipped_in_row,
                                   .where = where};
    return dl_metrics_skip(t->options->metrics, &report);
}

/* Runs one step on one batch; `control` is what all ranks have agreed on. */
static dl_status run_step(trainer *t, int64_t step, const dl_batch *batch, int32_t control[DL_N_CONTROLS]) {
    const int program = dl_session_program(t->session, DL_PROGRAM_TRAIN, &batch->global);
    DL_RETURN_ERROR_IF(program < 0, DL_ERR_INTERNAL, "there is no program for a batch of %lld samples",
                       (long long)batch->global.n_samples);
    if (batch->global.number == 0) {
        DL_RETURN_IF_ERROR(dl_plan_clear_state(t->session->plan, DL_PROGRAM_TRAIN));
    }
    const dl_step_block block = step_block(t, step, batch);
    const dl_host_batch host = {
        .field = (const void *const *)batch->field, .ids = batch->ids, .step = &block};
    DL_RETURN_IF_ERROR(dl_step_profile_run(t->profile, t->session->plan, program, &host));
    double totals[DL_N_TOTALS];
    DL_RETURN_IF_ERROR(dl_session_read_control(t->session, program, totals, control));
    t->waited += batch->waited;
    t->epoch_waited += batch->waited;
    DL_RETURN_IF_ERROR(
        dl_run_dir_audit(t->options->run, "train", epoch_of(t, step), step, batch->ids, batch->n_samples));
    if (control[DL_CONTROL_NONFINITE] != 0) {
        bool overflow = false;
        DL_RETURN_IF_ERROR(is_overflow(t, step, totals, &overflow));
        return overflow ? skip_overflow(t, step, program, totals) : skip(t, step, program, &host);
    }
    t->skipped_in_row = 0;
    t->samples += batch->global.n_samples;
    t->epoch_samples += batch->global.n_samples;
    for (int i = 0; i < DL_N_TOTALS; i++) {
        t->epoch_sums[i] += totals[i];
    }
    return show_step(t, step, program, totals, false);
}

/* Where training stands now. */
static dl_trainer_state state_of(const trainer *t) {
    dl_trainer_state state = {.step = t->result->step,
                              .samples = t->samples,
                              .epoch_samples = t->epoch_samples,
                              .seconds = dl_clock_seconds() - t->began,
                              .skipped = t->result->skipped,
                              .skipped_in_row = t->skipped_in_row,
                              .early = t->result->early,
                              .best = {t->result->best.epoch, t->result->best.without, t->result->best.value},
                              .stopping = {t->stopping.epoch, t->stopping.without, t->stopping.value}};
    memcpy(state.epoch_sums, t->epoch_sums, sizeof state.epoch_sums);
    return state;
}

/* Rank 0: where a stopped run stands, before and after the last save: the launcher may leave a second, and
 * what status.json says then stays. */
static dl_status note_stop(const trainer *t) {
    const dl_trainer_result *result = t->result;
    char message[160];
    if (result->stop == 0 || t->options->metrics == NULL || t->options->saver == NULL) {
        return DL_OK;
    }
    const int64_t newest = dl_saver_committed(t->options->saver);
    const bool saved = newest == result->step;
    (void)snprintf(message, sizeof message, "stopped while the first checkpoint was being written");
    if (newest > 0) {
        (void)snprintf(message, sizeof message, "stopped%s; that of step %lld is the newest",
                       saved ? " with a checkpoint" : " while a checkpoint was being written",
                       (long long)newest);
    }
    return dl_run_dir_status(t->options->run, DL_RUN_STOPPED, saved ? DL_STOPPED : DL_INTERRUPTED,
                             result->step, message);
}

static dl_status end_saving(trainer *t) {
    DL_RETURN_IF_ERROR(dl_comm_agree(t->session->world, note_stop(t), NULL));
    DL_RETURN_IF_ERROR(dl_autosave_end(&t->autosave, &t->kept, !t->result->unsaved, &t->result->saved));
    t->result->checkpoint = t->options->saver != NULL ? dl_saver_committed(t->options->saver) : 0;
    return dl_comm_agree(t->session->world, note_stop(t), NULL);
}

/* A run that was killed behind its last step, amid an epoch: the checkpoint is of before that was judged. */
static bool has_epoch_to_end(const trainer *t) {
    const int64_t total = t->session->total_steps;
    return t->result->step == total && total % t->session->steps_per_epoch != 0;
}

static dl_status loop(trainer *t) {
    const int64_t total = t->session->total_steps;
    if (has_epoch_to_end(t)) {
        DL_RETURN_IF_ERROR(end_epoch(t, total));
    }
    for (int64_t step = t->result->step + 1; step <= total && t->result->stop == 0 && !t->result->early;
         step++) {
        const dl_batch *batch = NULL;
        int32_t control[DL_N_CONTROLS];
        const double begin = dl_clock_seconds();
        DL_RETURN_IF_ERROR(dl_batches_next(t->batches, &batch));
        DL_RETURN_IF_ERROR(run_step(t, step, batch, control));
        dl_batches_release(t->batches, batch);
        if (t->options->deadline != NULL) {
            dl_deadline_note_step(t->options->deadline, dl_clock_seconds() - begin);
        }
        t->result->stop = control[DL_CONTROL_STOP] % DL_STOP_UNSAVED;
        t->result->unsaved = control[DL_CONTROL_STOP] >= DL_STOP_UNSAVED;
        t->result->step = step;
        t->result->epoch = epoch_of(t, step);
        t->kept = state_of(t);
        const bool over = step % t->session->steps_per_epoch == 0;
        if (over || step == total) {
            DL_RETURN_IF_ERROR(end_epoch(t, step));
        }
        if (over) {
            t->kept = state_of(t);
        }
        DL_RETURN_IF_ERROR(dl_autosave_step(&t->autosave, &t->kept, control));
    }
    return end_saving(t);
}

/* The final numbers; a stopped run keeps the weights it has reached. */
static dl_status conclude(trainer *t) {
    dl_trainer_result *result = t->result;
    result->samples = t->samples;
    result->seconds = dl_clock_seconds() - t->began;
    result->samples_per_s = (double)t->samples / (result->seconds - t->evaluated);
    result->data_wait = t->waited / (result->seconds - t->evaluated);
    int failed = -1;
    DL_RETURN_IF_ERROR(dl_comm_agree(t->session->world, write_weights(t, result->step, false), &failed));
    DL_RETURN_IF_ERROR(dl_weights_hash(&t->session->model->table, &t->session->host, result->weights));
    if (result->stop != 0) {
        return DL_OK;
    }
    if (t->session->valid_is_test && t->valid_step == result->step) {
        result->test = t->valid; /* just computed with these weights */
        return DL_OK;
    }
    const dl_evaluation evaluation = {.session = t->session,
                                      .split = DL_SPLIT_TEST,
                                      .console = t->options->console,
                                      .audit = t->options->run,
                                      .epoch = result->epoch};
    return dl_evaluate(&evaluation, &result->test);
}

/* What to watch, and that there will be something to see. */
static dl_status start_watching(trainer *t) {
    const dl_config *config = t->session->config;
    const dl_early_stopping_config *stopping = &config->train.early_stopping;
    t->stopping =
        dl_best_watch(&config->train, stopping->patience > 0 ? stopping->monitor : NULL, stopping->min_delta);
    t->result->best = dl_best_watch(&config->train, config->checkpoint.best, 0);
    const dl_best *watched = t->stopping.name != NULL ? &t->stopping : &t->result->best;
    const bool needs_valid = (t->stopping.name != NULL && t->stopping.monitor.valid) ||
                             (t->result->best.name != NULL && t->result->best.monitor.valid);
    DL_RETURN_ERROR_IF(
        needs_valid && t->session->split[DL_SPLIT_VALID].n == 0, DL_ERR_USAGE,
        "%s is watched, but the data set in '%s' has neither validation nor test samples; keep some by "
        "data.valid",
        watched->name, config->data.path);
    return DL_OK;
}

/* Goes on where another run stood. */
static void take_up(trainer *t, const dl_trainer_state *from) {
    t->result->step = t->shown_step = from->step;
    t->result->epoch = from->step > 0 ? epoch_of(t, from->step) : 0;
    t->result->early = from->early;
    t->result->skipped = from->skipped;
    t->skipped_in_row = from->skipped_in_row;
    t->samples = t->shown_samples = from->samples;
    t->epoch_samples = from->epoch_samples;
    memcpy(t->epoch_sums, from->epoch_sums, sizeof t->epoch_sums);
    t->result->best.epoch = from->best.epoch;
    t->result->best.without = from->best.without;
    t->result->best.value = from->best.value;
    t->stopping.epoch = from->stopping.epoch;
    t->stopping.without = from->stopping.without;
    t->stopping.value = from->stopping.value;
    t->began -= from->seconds;
}

dl_status dl_train(const dl_trainer_options *options, dl_trainer_result *result) {
    trainer t = {.options = options, .session = options->session, .result = result};
    *result = (dl_trainer_result){0};
    DL_RETURN_IF_ERROR(start_watching(&t));
    DL_RETURN_IF_ERROR(dl_step_profile_create(options->profile, t.session->plan, &t.profile));
    t.began = t.epoch_began = t.shown_at = dl_clock_seconds();
    t.autosave = dl_autosave_start(t.session, options->saver, options->deadline != NULL);
    if (options->resume != NULL) {
        take_up(&t, options->resume);
    }
    t.kept = state_of(&t);
    dl_status status = dl_batches_start_training(t.session, result->step + 1, &t.batches);
    if (status == DL_OK) {
        status = loop(&t);
    }
    if (status == DL_OK) {
        status = conclude(&t);
    }
    if (status == DL_OK && options->console != NULL) {
        status = dl_step_profile_show(t.profile, t.session->plan, options->console);
    }
    dl_batches_stop(&t.batches);
    dl_step_profile_destroy(&t.profile);
    return status;
}
