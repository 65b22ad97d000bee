#include "train/trainer.h"

#include "base/clock.h"
#include "optim/optim.h"
#include "train/batches.h"
#include "train/diverged.h"
#include "train/evaluate.h"
#include "train/profile.h"
#include "train/weights.h"

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
    int64_t valid_step; /* which `valid` is of; 0: of none */
    double epoch_sums[DL_N_TOTALS];
    int64_t epoch_samples, samples; /* all ranks */
    double evaluated;               /* seconds spent evaluating, not training */
    double rate;                    /* learning rate of the step */
    dl_score valid;
    dl_best stopping; /* what early stopping watches */
    bool wants_save;  /* a checkpoint is due, but one is under way still */
    double saved_at;  /* clock: the last checkpoint was begun */
    /* What a checkpoint of this step holds. Amid an epoch that is the state before figures of a part of it
     * were judged and shown, because training ends here: a longer one would not have ended. */
    dl_trainer_state kept;
} trainer;

static int64_t epoch_of(const trainer *t, int64_t step) {
    return (step - 1) / t->session->steps_per_epoch + 1;
}

/* Rank 0's clock decides; the others hear of it in the control word. */
static int is_time_to_save(const trainer *t) {
    const double minutes = t->session->config->checkpoint.every_minutes;
    return t->session->world->rank == 0 && minutes > 0 && dl_clock_seconds() - t->saved_at >= 60 * minutes;
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
    dl_step_block block = {
        .step = step, .t = step, .weight = (double)batch->weight, .learning_rate = t->rate};
    if (t->options->pending_signal != NULL) {
        block.control[DL_CONTROL_STOP] = t->options->pending_signal();
    }
    block.control[DL_CONTROL_SAVE] = is_time_to_save(t);
    block.control[DL_CONTROL_PART] = dl_saver_word(t->options->saver);
    return block;
}

static dl_status show_step(trainer *t, int64_t step, int program, const double totals[DL_N_TOTALS]) {
    const int64_t log_every = t->session->config->run.log_every;
    const bool log = t->options->metrics != NULL && (step == 1 || (log_every > 0 && step % log_every == 0));
    const bool show = dl_console_due(t->options->console);
    if (!log && !show) {
        return DL_OK;
    }
    double norm = 0.0;
    bool has_norm = false;
    DL_RETURN_IF_ERROR(dl_session_read_norm(t->session, program, &norm, &has_norm));
    const double now = dl_clock_seconds(), passed = now - t->shown_at;
    const int64_t steps = step - t->shown_step, samples = t->samples - t->shown_samples;
    const dl_step_report report = {.epoch = epoch_of(t, step),
                                   .step = step,
                                   .samples = t->samples,
                                   .train = dl_score_of(t->session->model, totals),
                                   .learning_rate = t->rate,
                                   .gradient_norm = has_norm ? &norm : NULL,
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
    t->shown_at += t->epoch_began - now;
    return DL_OK;
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
    if (control[DL_CONTROL_NONFINITE] != 0) {
        return dl_report_divergence(t->session, program, &host, step);
    }
    t->samples += batch->global.n_samples;
    t->epoch_samples += batch->global.n_samples;
    t->waited += batch->waited;
    t->epoch_waited += batch->waited;
    for (int i = 0; i < DL_N_TOTALS; i++) {
        t->epoch_sums[i] += totals[i];
    }
    DL_RETURN_IF_ERROR(
        dl_run_dir_audit(t->options->run, "train", epoch_of(t, step), step, batch->ids, batch->n_samples));
    return show_step(t, step, program, totals);
}

/* --- checkpoints --- */

static dl_trainer_state state_of(const trainer *t) {
    dl_trainer_state state = {.step = t->result->step,
                              .samples = t->samples,
                              .epoch_samples = t->epoch_samples,
                              .seconds = dl_clock_seconds() - t->began,
                              .early = t->result->early,
                              .best = {t->result->best.epoch, t->result->best.without, t->result->best.value},
                              .stopping = {t->stopping.epoch, t->stopping.without, t->stopping.value}};
    memcpy(state.epoch_sums, t->epoch_sums, sizeof state.epoch_sums);
    return state;
}

static dl_status begin_save(trainer *t) {
    json_t *trainer_state = dl_trainer_state_json(&t->kept);
    json_t *object = json_pack("{s:o}", "trainer", trainer_state);
    DL_RETURN_ERROR_IF(object == NULL, DL_ERR_MEMORY, "no memory for the state of the trainer");
    const dl_saver_position position = {
        .step = t->kept.step, .epoch = t->result->epoch, .samples = t->kept.samples, .trainer = object};
    const dl_status status = dl_saver_begin(t->options->saver, &position);
    json_decref(object);
    t->wants_save = false;
    t->saved_at = dl_clock_seconds();
    return status;
}

static bool is_due(const trainer *t, int64_t step, const int32_t control[DL_N_CONTROLS]) {
    const dl_checkpoint_config *when = &t->session->config->checkpoint;
    const int64_t per_epoch = t->session->steps_per_epoch;
    return (when->every_steps > 0 && step % when->every_steps == 0) || control[DL_CONTROL_SAVE] != 0 ||
           (when->every_epochs > 0 && step % (per_epoch * when->every_epochs) == 0);
}

/* After each step: goes on with the save under way, begins one that is due. */
static dl_status save(trainer *t, int64_t step, const int32_t control[DL_N_CONTROLS]) {
    dl_saver *saver = t->options->saver;
    if (saver == NULL) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_saver_step(saver, control[DL_CONTROL_PART]));
    t->wants_save = t->wants_save || is_due(t, step, control);
    return t->wants_save && !dl_saver_is_busy(saver) ? begin_save(t) : DL_OK;
}

/* The last step is saved, whatever is due. */
static dl_status save_end(trainer *t) {
    dl_saver *saver = t->options->saver;
    if (saver == NULL || t->result->step == 0) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_saver_finish(saver));
    if (dl_saver_committed(saver) != t->result->step) {
        DL_RETURN_IF_ERROR(begin_save(t));
        DL_RETURN_IF_ERROR(dl_saver_finish(saver));
    }
    t->result->saved = dl_saver_committed(saver) == t->result->step;
    return DL_OK;
}

/* A run that was killed behind its last step, amid an epoch: the checkpoint is of before that was judged. */
static bool has_epoch_to_end(const trainer *t) {
    const int64_t total = t->session->total_steps;
    return t->result->step == total && total % t->session->steps_per_epoch != 0;
}

static dl_status loop(trainer *t) {
    if (has_epoch_to_end(t)) {
        DL_RETURN_IF_ERROR(end_epoch(t, t->session->total_steps));
    }
    const int64_t total = t->session->total_steps;
    for (int64_t step = t->result->step + 1; step <= total && t->result->signal == 0 && !t->result->early;
         step++) {
        const dl_batch *batch = NULL;
        int32_t control[DL_N_CONTROLS];
        DL_RETURN_IF_ERROR(dl_batches_next(t->batches, &batch));
        DL_RETURN_IF_ERROR(run_step(t, step, batch, control));
        dl_batches_release(t->batches, batch);
        t->result->signal = control[DL_CONTROL_STOP];
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
        DL_RETURN_IF_ERROR(save(t, step, control));
    }
    return save_end(t);
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
    if (result->signal != 0) {
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
    t.began = t.epoch_began = t.shown_at = t.saved_at = dl_clock_seconds();
    if (options->resume != NULL) {
        take_up(&t, options->resume);
    }
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
