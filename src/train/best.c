#include "train/best.h"

dl_best dl_best_watch(const dl_train_config *train, const char *name, double min_delta) {
    dl_best best = {.min_delta = min_delta};
    if (name != NULL && name[0] != '\0' && dl_monitor_parse(train, name, &best.monitor)) {
        best.name = name;
    }
    return best;
}

bool dl_best_take(dl_best *best, int64_t epoch, const dl_score *train, const dl_score *valid) {
    if (best->name == NULL) {
        return false;
    }
    const dl_monitor *monitor = &best->monitor;
    const dl_score *score = monitor->valid ? valid : train;
    const double value = monitor->metric < 0 ? score->loss : score->metric[monitor->metric];
    const double gain = monitor->larger_is_better ? value - best->value : best->value - value;
    const bool first = best->epoch == 0 && value == value;
    if (first || (best->epoch > 0 && gain > best->min_delta)) {
        best->value = value;
        best->epoch = epoch;
        best->without = 0;
        return true;
    }
    best->without++;
    return false;
}
