#include "train/trainer_parts.h"

#include "base/clock.h"
#include "base/log.h"
#include "train/evaluate.h"
#include "train/weights.h"

#include <stdio.h>
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

/* weights.h5 as trained; ema.h5 and best.h5 as evaluated. */
static dl_status write_weights(dl_trainer *t, int64_t step, bool best) {
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
    const dl_status status = dl_comm_agree(t->session->world, write_weights(t, step, best), &failed);
    if (status != DL_ERR_IO || t->session->config->checkpoint.on_error != 0) {
        return status;
    }
    if (t->options->console != NULL) {
        DL_WARN("%s; training goes on", dl_error_last()->message);
    }
    return DL_OK;
}

static dl_status end_epoch(dl_trainer *t, int64_t step) {
    const double now = dl_clock_seconds(), passed = now - t->epoch_began;
    dl_epoch_report report = {.epoch = dl_trainer_epoch_of(t, step),
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

/* Where training stands now. */
static dl_trainer_state state_of(const dl_trainer *t) {
    dl_trainer_state state = {.step = t->result->step,
                              .samples = t->samples,
                              .epoch_samples = t->epoch_samples,
                              .seconds = dl_clock_seconds() - t->began,
                              .skipped = t->result->skipped,
                              .skipped_in_row = t->skipped_in_row,
                              .early = t->result->early,
                              .best = dl_best_state_of(&t->result->best),
                              .stopping = dl_best_state_of(&t->stopping)};
    memcpy(state.epoch_sums, t->epoch_sums, sizeof state.epoch_sums);
    return state;
}

/* Rank 0: where a stopped run stands, before and after the last save: the launcher may leave a second, and
 * what status.json says then stays. */
static dl_status note_stop(const dl_trainer *t) {
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
    return dl_run_status_write(dl_run_dir_status(t->options->run), DL_RUN_STOPPED,
                               saved ? DL_STOPPED : DL_INTERRUPTED, result->step, message);
}

static dl_status end_saving(dl_trainer *t) {
    DL_RETURN_IF_ERROR(dl_comm_agree(t->session->world, note_stop(t), NULL));
    DL_RETURN_IF_ERROR(dl_autosave_end(&t->autosave, &t->kept, !t->result->unsaved, &t->result->saved));
    t->result->checkpoint = t->options->saver != NULL ? dl_saver_committed(t->options->saver) : 0;
    return dl_comm_agree(t->session->world, note_stop(t), NULL);
}

/* A run that was killed behind its last step, amid an epoch: the checkpoint is of before that was judged. */
static bool has_epoch_to_end(const dl_trainer *t) {
    const int64_t total = t->session->total_steps;
    return t->result->step == total && total % t->session->steps_per_epoch != 0;
}

/* May the next step be given to the device? Ahead only where nothing comes between it and the one before. */
static bool may_launch(const dl_trainer *t) {
    const int64_t last = t->result->step + t->n_flight, per_epoch = t->session->steps_per_epoch;
    if (last == t->session->total_steps || t->stop_word != 0 || t->result->early) {
        return false;
    }
    return t->n_flight == 0 || (t->n_flight <= t->ahead && last % per_epoch != 0 &&
                                !dl_autosave_comes_behind(&t->autosave, last));
}

static dl_status read_step(dl_trainer *t) {
    int32_t control[DL_N_CONTROLS];
    DL_RETURN_IF_ERROR(dl_trainer_read(t, control));
    const double now = dl_clock_seconds();
    if (t->options->deadline != NULL) {
        dl_deadline_note_step(t->options->deadline, now - t->read_at);
    }
    const int word = control[DL_CONTROL_STOP];
    t->stop_word = word > t->stop_word ? word : t->stop_word;
    t->result->stop = t->stop_word % DL_STOP_UNSAVED;
    t->result->unsaved = t->stop_word >= DL_STOP_UNSAVED;
    if (t->stop_word != 0 && t->options->note_stop != NULL) {
        t->options->note_stop();
    }
    t->kept = state_of(t);
    const int64_t step = t->result->step;
    const bool over = step % t->session->steps_per_epoch == 0;
    if (over || step == t->session->total_steps) {
        DL_RETURN_IF_ERROR(end_epoch(t, step));
    }
    if (over) {
        t->kept = state_of(t);
    }
    DL_RETURN_IF_ERROR(dl_autosave_step(&t->autosave, &t->kept, control, t->n_flight == 0));
    t->read_at = dl_clock_seconds();
    return DL_OK;
}

static dl_status loop(dl_trainer *t) {
    const int64_t total = t->session->total_steps;
    if (has_epoch_to_end(t)) {
        DL_RETURN_IF_ERROR(end_epoch(t, total));
    }
    while (may_launch(t) || t->n_flight > 0) {
        while (may_launch(t)) {
            DL_RETURN_IF_ERROR(dl_trainer_launch(t));
        }
        DL_RETURN_IF_ERROR(read_step(t));
    }
    return end_saving(t);
}

/* The final numbers; a stopped run keeps the weights it has reached. */
static dl_status conclude(dl_trainer *t) {
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

/* What to watch, and that there will be something to see: valid_loss, the default, is kept where there is. */
static dl_status start_watching(dl_trainer *t) {
    const dl_config *config = t->session->config;
    const dl_early_stopping_config *stopping = &config->train.early_stopping;
    const bool validates = t->session->split[DL_SPLIT_VALID].n > 0;
    const bool is_default = strcmp(config->checkpoint.best, "valid_loss") == 0;
    t->stopping =
        dl_best_watch(&config->train, stopping->patience > 0 ? stopping->monitor : NULL, stopping->min_delta);
    t->result->best =
        dl_best_watch(&config->train, validates || !is_default ? config->checkpoint.best : NULL, 0);
    const dl_best *watched = t->stopping.name != NULL ? &t->stopping : &t->result->best;
    const bool needs_valid = (t->stopping.name != NULL && t->stopping.monitor.valid) ||
                             (t->result->best.name != NULL && t->result->best.monitor.valid);
    DL_RETURN_ERROR_IF(
        needs_valid && !validates, DL_ERR_USAGE,
        "%s is watched, but the data set in '%s' has neither validation nor test samples; keep some by "
        "data.valid",
        watched->name, config->data.path);
    return DL_OK;
}

/* Goes on where another run stood. */
static void take_up(dl_trainer *t, const dl_trainer_state *from) {
    t->result->step = t->shown_step = from->step;
    t->result->epoch = from->step > 0 ? dl_trainer_epoch_of(t, from->step) : 0;
    t->result->early = from->early;
    t->result->skipped = from->skipped;
    t->skipped_in_row = from->skipped_in_row;
    t->samples = t->shown_samples = from->samples;
    t->epoch_samples = from->epoch_samples;
    memcpy(t->epoch_sums, from->epoch_sums, sizeof t->epoch_sums);
    dl_best_take_up(&t->result->best, &from->best);
    dl_best_take_up(&t->stopping, &from->stopping);
    t->began -= from->seconds;
}

/* All ranks have diverged at the same step. What is being saved is of a step before that, and is kept. */
static dl_status finish_diverged(dl_saver *saver) {
    dl_error diverged;
    dl_error_take(&diverged);
    const dl_status status = dl_saver_finish(saver);
    return status == DL_OK ? dl_error_restore(&diverged) : status;
}

dl_status dl_train(const dl_trainer_options *options, dl_trainer_result *result) {
    dl_trainer t = {.options = options, .session = options->session, .result = result};
    *result = (dl_trainer_result){0};
    DL_RETURN_IF_ERROR(start_watching(&t));
    DL_RETURN_IF_ERROR(dl_step_profile_create(options->profile, t.session->plan, &t.profile));
    t.began = t.epoch_began = t.shown_at = t.read_at = dl_clock_seconds();
    t.ahead = dl_trainer_ahead(&t);
    if (options->deadline != NULL) {
        options->deadline->evaluation_steps = t.session->view_info[DL_SPLIT_VALID].n_batches;
    }
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
    if (status == DL_ERR_DIVERGED && options->saver != NULL) {
        status = finish_diverged(options->saver);
    }
    if (status == DL_OK && options->console != NULL) {
        status = dl_step_profile_show(t.profile, t.session->plan, options->console);
    }
    dl_batches_stop(&t.batches);
    dl_step_profile_destroy(&t.profile);
    return status;
}
