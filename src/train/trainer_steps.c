/* Steps of training: given to the device, which may be some ahead, and read. */
#include "train/trainer_parts.h"

#include "base/clock.h"
#include "kernels/common/loss_scale.h"
#include "optim/optim.h"
#include "train/diverged.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

int dl_trainer_stop_word(const dl_trainer *t, bool evaluates) {
    const int number = t->options->pending_signal != NULL ? t->options->pending_signal() : 0;
    if (number != 0 || t->options->deadline == NULL || t->session->world->rank != 0) {
        return number;
    }
    const double cost = dl_autosave_cost(&t->autosave);
    return dl_deadline_is_near(t->options->deadline, dl_clock_seconds(), cost, evaluates) ? DL_STOP_AT_TIME
                                                                                          : 0;
}

/* What depends on the steps before: a skipped one counts neither for the learning rate nor for the optimizer.
 * Those `before` it in flight are taken to go well. */
static void reckon(const dl_trainer *t, dl_flight_step *f, int before) {
    const dl_train_config *train = &t->session->config->train;
    const int64_t epochs =
        (t->session->total_steps + t->session->steps_per_epoch - 1) / t->session->steps_per_epoch;
    int64_t samples = t->samples;
    for (int i = 0; i < before; i++) {
        samples += t->flight[i].batch->global.n_samples;
    }
    const dl_progress progress = {.samples_seen = samples,
                                  .batch_size = train->batch_size,
                                  .total_samples = epochs * t->session->n_samples[DL_SPLIT_TRAIN],
                                  .epoch_samples = t->session->n_samples[DL_SPLIT_TRAIN]};
    f->block.learning_rate =
        dl_schedule_rate(&train->schedule, dl_optimizer_base_rate(&train->optimizer), &progress);
    f->block.t = f->step - t->result->skipped;
    f->block.unseen = before > 0;
}

/* The step block of a step: number, learning rate, this rank's weight and requests. */
static void fill_block(dl_trainer *t, dl_flight_step *f, int before) {
    f->block = (dl_step_block){.step = f->step, .weight = (double)f->batch->weight};
    reckon(t, f, before);
    const int64_t per_epoch = t->session->steps_per_epoch;
    const bool evaluates = f->step % per_epoch == 0 || (f->step + 1) % per_epoch == 0;
    f->block.control[DL_CONTROL_STOP] = dl_trainer_stop_word(t, evaluates);
    dl_autosave_ask(&t->autosave, &f->block);
    if (t->options->injections != NULL) {
        dl_inject_step(t->options->injections, &f->block);
    }
}

static dl_host_batch host_batch(const dl_flight_step *f) {
    return (dl_host_batch){
        .field = (const void *const *)f->batch->field, .ids = f->batch->ids, .step = &f->block};
}

/* What carries begins anew with the first batch of a pass. */
static dl_status give(dl_trainer *t, dl_flight_step *f) {
    if (f->batch->global.number == 0) {
        DL_RETURN_IF_ERROR(dl_plan_clear_state(t->session->plan, DL_PROGRAM_TRAIN));
    }
    const dl_host_batch host = host_batch(f);
    DL_RETURN_IF_ERROR(dl_step_profile_run(t->profile, t->session->plan, f->program, &host));
    f->run = t->session->plan->n_runs - 1;
    return DL_OK;
}

int dl_trainer_ahead(const dl_trainer *t) {
    const int ahead = t->session->device->backend->steps_in_flight;
    return t->options->profile ? 0 : ahead < DL_MAX_FLIGHT ? ahead : DL_MAX_FLIGHT - 1;
}

dl_status dl_trainer_launch(dl_trainer *t) {
    dl_flight_step *f = &t->flight[t->n_flight];
    *f = (dl_flight_step){.step = t->result->step + t->n_flight + 1};
    DL_RETURN_IF_ERROR(dl_batches_next(t->batches, &f->batch));
    f->program = dl_session_program(t->session, DL_PROGRAM_TRAIN, &f->batch->global);
    DL_RETURN_ERROR_IF(f->program < 0, DL_ERR_INTERNAL, "there is no program for a batch of %lld samples",
                       (long long)f->batch->global.n_samples);
    fill_block(t, f, t->n_flight);
    DL_RETURN_IF_ERROR(give(t, f));
    t->n_flight++;
    return DL_OK;
}

/* Where the first value came from that is not finite. */
static dl_status find_bad(const dl_trainer *t, const dl_flight_step *f, char where[DL_DIVERGED_BYTES]) {
    const dl_host_batch host = host_batch(f);
    const dl_injections *injections = t->options->injections;
    const int rank = injections != NULL ? dl_inject_nan_rank(injections, f->step) : -1;
    if (rank < 0) {
        return dl_diverged_find(t->session, f->program, &host, where);
    }
    (void)snprintf(where, DL_DIVERGED_BYTES, "it came by --inject, on rank %d", rank);
    return DL_OK;
}

/* Did a gradient overflow only because the loss is scaled? Then the loss is finite, and there is a smaller
 * scale. What --inject brings is no overflow. */
static bool is_overflow(const dl_trainer *t, int64_t step, const dl_outcome *outcome) {
    const dl_injections *injections = t->options->injections;
    return dl_plan_scales(t->session->plan) && outcome->scale[DL_SCALE_VALUE] > DL_LOSS_SCALE_LEAST &&
           isfinite(outcome->totals[DL_TOTAL_LOSS]) &&
           (injections == NULL || dl_inject_nan_rank(injections, step) < 0);
}

/* The step has changed nothing but the scale. It counts as skipped, but not for train.on_nan. */
static dl_status skip_overflow(dl_trainer *t, const dl_flight_step *f, const dl_outcome *outcome) {
    if (t->result->overflows++ == 0) {
        dl_console_note(
            t->options->console,
            "skip    step %lld: scaled gradients overflow; the loss scale is halved until they do "
            "not (metrics.jsonl has each)",
            (long long)f->step);
    }
    t->result->skipped++;
    return dl_trainer_show(t, f, outcome, true);
}

/* The step has changed nothing. The learning rate goes by the samples, the optimizer's bias correction by the
 * updates: neither has seen it. */
static dl_status skip(dl_trainer *t, const dl_flight_step *f) {
    const dl_train_config *train = &t->session->config->train;
    char where[DL_DIVERGED_BYTES];
    DL_RETURN_IF_ERROR(find_bad(t, f, where));
    if (train->on_nan == 0 || t->skipped_in_row == train->max_skips) {
        return dl_diverged_stop(t->session, f->step, t->skipped_in_row, where);
    }
    t->result->skipped++;
    t->skipped_in_row++;
    if (t->options->metrics == NULL) {
        return DL_OK;
    }
    dl_console_note(t->options->console,
                    "skip    step %lld: a gradient is NaN or infinite; %s (%lld in a row, at most %lld)",
                    (long long)f->step, where, (long long)t->skipped_in_row, (long long)train->max_skips);
    const dl_skip_report report = {.epoch = dl_trainer_epoch_of(t, f->step),
                                   .step = f->step,
                                   .samples = t->samples,
                                   .in_row = t->skipped_in_row,
                                   .where = where};
    return dl_metrics_skip(t->options->metrics, &report);
}

/* Takes the first step out of the flight. */
static void land(dl_trainer *t) {
    dl_batches_release(t->batches, t->flight[0].batch);
    t->n_flight--;
    memmove(&t->flight[0], &t->flight[1], (size_t)t->n_flight * sizeof t->flight[0]);
}

/* The first step in flight has changed nothing; those behind it, which were reckoned as if it had, were void
 * (kernels/common/control.h). */
static dl_status skip_first(dl_trainer *t, const dl_outcome *outcome) {
    const dl_flight_step *f = &t->flight[0];
    DL_RETURN_IF_ERROR(dl_plan_wait(t->session->plan));
    DL_RETURN_IF_ERROR(is_overflow(t, f->step, outcome) ? skip_overflow(t, f, outcome) : skip(t, f));
    land(t);
    for (int i = 0; i < t->n_flight; i++) {
        reckon(t, &t->flight[i], i);
        DL_RETURN_IF_ERROR(give(t, &t->flight[i]));
    }
    return DL_OK;
}

static dl_status count_first(dl_trainer *t, const dl_outcome *outcome) {
    const dl_flight_step *f = &t->flight[0];
    t->skipped_in_row = 0;
    t->samples += f->batch->global.n_samples;
    t->epoch_samples += f->batch->global.n_samples;
    for (int i = 0; i < DL_N_TOTALS; i++) {
        t->epoch_sums[i] += outcome->totals[i];
    }
    DL_RETURN_IF_ERROR(dl_trainer_show(t, f, outcome, false));
    land(t);
    return DL_OK;
}

dl_status dl_trainer_read(dl_trainer *t, int32_t control[DL_N_CONTROLS]) {
    const dl_flight_step *f = &t->flight[0];
    const int64_t step = f->step;
    dl_outcome outcome;
    DL_RETURN_IF_ERROR(dl_plan_outcome(t->session->plan, f->run, &outcome));
    memcpy(control, outcome.control, sizeof outcome.control);
    t->waited += f->batch->waited;
    t->epoch_waited += f->batch->waited;
    DL_RETURN_IF_ERROR(dl_run_dir_audit(t->options->run, "train", dl_trainer_epoch_of(t, step), step,
                                        f->batch->ids, f->batch->n_samples));
    const bool bad = control[DL_CONTROL_NONFINITE] != 0;
    DL_RETURN_IF_ERROR(bad ? skip_first(t, &outcome) : count_first(t, &outcome));
    t->result->step = step;
    dl_run_status_note_step(dl_run_dir_status(t->options->run), step);
    t->result->epoch = dl_trainer_epoch_of(t, step);
    return DL_OK;
}
