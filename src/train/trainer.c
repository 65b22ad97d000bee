#include "train/trainer_parts.h"

#include "base/clock.h"
#include "train/weights.h"

#include <stdio.h>
#include <string.h>

/* Where training stands now. */
static dl_trainer_state state_of(const dl_trainer *t) {
    dl_trainer_state state = {.step = t->result->step,
                              .samples = t->samples,
                              .epoch_samples = t->epoch_samples,
                              .seconds = dl_clock_seconds() - t->began,
                              .skipped = t->result->skipped,
                              .skipped_in_row = t->skipped_in_row,
                              .early = t->result->early,
                              .open = t->open,
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

/* A run that stopped amid the evaluation at an epoch's end, or was killed behind its last step, amid an
 * epoch: the checkpoint is of before that was judged. */
static dl_status end_earlier_epoch(dl_trainer *t) {
    const int64_t step = t->result->step, total = t->session->total_steps;
    const bool was_open = t->open;
    if (!was_open && (step != total || total % t->session->steps_per_epoch == 0)) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_trainer_end_epoch(t, step));
    if (was_open && !t->open) {
        t->kept = state_of(t);
        if (t->options->saver != NULL && t->result->best.epoch == dl_trainer_epoch_of(t, step)) {
            dl_saver_pin(t->options->saver, step);
        }
    }
    return DL_OK;
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
    dl_trainer_take_stop(t, control[DL_CONTROL_STOP]);
    t->kept = state_of(t);
    const int64_t step = t->result->step;
    const bool over = step % t->session->steps_per_epoch == 0;
    t->open = over;
    if (over || step == t->session->total_steps) {
        DL_RETURN_IF_ERROR(dl_trainer_end_epoch(t, step));
    }
    if (over) {
        t->kept = state_of(t);
    }
    DL_RETURN_IF_ERROR(dl_autosave_step(&t->autosave, &t->kept, control, t->n_flight == 0));
    t->read_at = dl_clock_seconds();
    return DL_OK;
}

static dl_status loop(dl_trainer *t) {
    DL_RETURN_IF_ERROR(end_earlier_epoch(t));
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
    DL_RETURN_IF_ERROR(
        dl_comm_agree(t->session->world, dl_trainer_write_weights(t, result->step, false), &failed));
    DL_RETURN_IF_ERROR(dl_weights_hash(&t->session->model->table, &t->session->host, result->weights));
    if (result->stop != 0) {
        return DL_OK;
    }
    if (t->session->valid_is_test && t->valid_step == result->step) {
        result->test = t->valid; /* just computed with these weights */
        return DL_OK;
    }
    return dl_trainer_evaluate(t, DL_SPLIT_TEST, result->epoch, &result->test);
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
    t->open = from->open;
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
