#include "train/trainer_parts.h"

#include "base/clock.h"
#include "train/evaluate.h"

dl_status dl_trainer_show(dl_trainer *t, const dl_flight_step *flight, const dl_outcome *outcome,
                          bool skipped) {
    const int64_t step = flight->step;
    const int64_t log_every = t->session->config->run.log_every;
    const bool log =
        t->options->metrics != NULL && (skipped || step == 1 || (log_every > 0 && step % log_every == 0));
    const bool show = dl_console_due(t->options->console);
    if (!log && !show) {
        return DL_OK;
    }
    const bool has_norm = t->session->plan->program[flight->program]->norm >= 0;
    const bool scaled = dl_plan_scales(t->session->plan);
    const double now = dl_clock_seconds(), passed = now - t->shown_at;
    const int64_t steps = step - t->shown_step, samples = t->samples - t->shown_samples;
    const dl_step_report report = {.epoch = dl_trainer_epoch_of(t, step),
                                   .step = step,
                                   .samples = t->samples,
                                   .train = dl_score_of(t->session->model, outcome->totals),
                                   .learning_rate = flight->block.learning_rate,
                                   .gradient_norm =
                                       has_norm && !skipped ? &outcome->norm[DL_NORM_VALUE] : NULL,
                                   .loss_scale = scaled ? &outcome->scale[DL_SCALE_VALUE] : NULL,
                                   .skipped = skipped,
                                   .step_ms = 1e3 * passed / (double)steps,
                                   .samples_per_s = (double)samples / passed,
                                   .data_wait = (t->waited - t->shown_waited) / passed,
                                   .seconds = now - t->began};
    if (show) {
        const double left = (now - t->began) / (double)step * (double)(t->session->total_steps - step);
        const dl_bar bar = {.epoch = report.epoch,
                            .epochs = dl_trainer_epoch_of(t, t->session->total_steps),
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
