/* Learning rates at the beginning of ten epochs. */
#include "golden.h"

#include "base/mem.h"
#include "optim/optim.h"

#include <string.h>

enum { EPOCHS = 10, EPOCH_SAMPLES = 640 };

static const struct schedule {
    const char *prefix, *text;
} schedules[] = {
    {"schedule/step_epochs/", "schedule: {step: {epochs: [3, 7], factor: 0.5}}"},
    {"schedule/step_every/", "schedule: {step: {every: 4, factor: 0.1}}"},
    {"schedule/exponential/", "schedule: {exponential: {factor: 0.8, staircase: true}}"},
    {"schedule/polynomial/", "schedule: {polynomial: {power: 2}}"},
    {"schedule/cosine/", "schedule: cosine"},
};

static dl_status check(const golden_file *file, const struct schedule *schedule, dl_pool *pool,
                       golden_score *score) {
    dl_diagnostics diagnostics = {.quiet = true};
    dl_node *root = NULL;
    dl_variant variant = {.kind = NULL};
    float rate[EPOCHS];
    DL_RETURN_IF_ERROR(
        dl_tree_parse("golden", schedule->text, strlen(schedule->text), pool, &diagnostics, &root));
    DL_RETURN_IF_ERROR(dl_variant_read(dl_schedule_kinds(), "schedule", dl_node_get(root, "schedule"),
                                       &variant, pool, &diagnostics));
    DL_RETURN_ERROR_IF(variant.kind == NULL, DL_ERR_INTERNAL, "%s is no schedule", schedule->text);
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        const dl_progress progress = {.samples_seen = (int64_t)epoch * EPOCH_SAMPLES,
                                      .batch_size = 64,
                                      .total_samples = (int64_t)EPOCHS * EPOCH_SAMPLES,
                                      .epoch_samples = EPOCH_SAMPLES};
        rate[epoch] = (float)dl_schedule_rate(&variant, 0.5, &progress);
    }
    golden_compare(score, file, schedule->prefix, "rate", rate, 1e-7);
    return DL_OK;
}

dl_status golden_check_schedules(const golden_file *file, golden_score *score) {
    dl_pool *pool = NULL;
    DL_RETURN_IF_ERROR(dl_pool_create(&pool));
    dl_status status = DL_OK;
    for (size_t i = 0; i < sizeof schedules / sizeof schedules[0] && status == DL_OK; i++) {
        status = check(file, &schedules[i], pool, score);
    }
    dl_pool_destroy(&pool);
    return status;
}
