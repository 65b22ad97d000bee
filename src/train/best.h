/* The best epoch so far by one figure, and how long it has been the best. */
#ifndef DLTRAIN_TRAIN_BEST_H
#define DLTRAIN_TRAIN_BEST_H

#include "model/scoring.h"
#include "train/metrics.h"

typedef struct dl_best {
    const char *name; /* of the figure: "valid_loss"; NULL: nothing is watched */
    dl_monitor monitor;
    double min_delta;
    int64_t epoch;   /* of the best, 0: none yet */
    int64_t without; /* epochs in a row since then */
    double value;
} dl_best;

/* Watches the figure `name` ("" or NULL: nothing), which dl_monitor_parse must know. A change of min_delta or
 * less is no improvement. */
dl_best dl_best_watch(const dl_train_config *train, const char *name, double min_delta);

/* Takes the figures of an epoch; true when it is the best so far. A figure that is NaN is never better. */
bool dl_best_take(dl_best *best, int64_t epoch, const dl_score *train, const dl_score *valid);

#endif
