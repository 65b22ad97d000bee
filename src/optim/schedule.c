#include "optim/tables.h"

#include <string.h>

static const dl_schedule *const schedules[] = {
#define DL_SCHEDULE(name) &dl_schedule_##name,
#include "optim/schedules.def"
#undef DL_SCHEDULE
};
enum { N_SCHEDULES = sizeof schedules / sizeof schedules[0] };

const dl_variant_kind *const *dl_schedule_kinds(void) {
    static const dl_variant_kind *const kinds[] = {
#define DL_SCHEDULE(name) &dl_schedule_##name.kind,
#include "optim/schedules.def"
#undef DL_SCHEDULE
        NULL,
    };
    return kinds;
}

static const dl_schedule *schedule_of(const dl_variant *chosen) {
    for (int i = 0; i < N_SCHEDULES; i++) {
        if (strcmp(schedules[i]->kind.name, chosen->kind->name) == 0) {
            return schedules[i];
        }
    }
    return &dl_schedule_constant;
}

double dl_schedule_rate(const dl_variant *schedule, double base_rate, const dl_progress *progress) {
    const dl_schedule *kind = schedule_of(schedule);
    const double seen = (double)progress->samples_seen, batch = (double)progress->batch_size;
    const double total = (double)progress->total_samples;
    const double warmup = (double)kind->warmup_steps(schedule->values) * batch;
    if (seen < warmup) {
        return seen + batch < warmup ? base_rate * ((seen + batch) / warmup) : base_rate;
    }
    dl_schedule_point point = {.share = 0};
    if (progress->total_samples > 0) {
        point.share = seen < total ? (seen - warmup) / (total - warmup) : 1;
    }
    if (progress->epoch_samples > 0) {
        point.epochs = seen / (double)progress->epoch_samples;
    }
    return base_rate * kind->factor(schedule->values, &point);
}

dl_status dl_schedule_check(const dl_variant *chosen, dl_diagnostics *diagnostics) {
    const dl_schedule *kind = schedule_of(chosen);
    const char *mistake = kind->mistake != NULL ? kind->mistake(chosen->values) : NULL;
    if (mistake != NULL) {
        DL_RETURN_IF_ERROR(dl_diagnose(diagnostics, chosen->place, "%s", mistake));
    }
    return DL_OK;
}
