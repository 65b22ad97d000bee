/* Where training stands, beside its tensors: counters and what figures are compared with. In a checkpoint's
 * manifest as `state.trainer`. */
#ifndef DLTRAIN_TRAIN_TRAINER_STATE_H
#define DLTRAIN_TRAIN_TRAINER_STATE_H

#include "kernels/common/blocks.h"
#include "train/best.h"

#include <jansson.h>

enum { DL_FIGURE_BYTES = 64 };

/* The best epoch by a figure (dl_best). */
typedef struct dl_best_state {
    int64_t epoch, without;
    double value;
    char figure[DL_FIGURE_BYTES]; /* "valid_loss"; "": none, or a checkpoint from before it was told */
} dl_best_state;

typedef struct dl_trainer_state {
    int64_t step;    /* made so far */
    int64_t samples; /* seen so far by all ranks */
    int64_t epoch_samples;
    double epoch_sums[DL_N_TOTALS];  /* of the epoch so far */
    double seconds;                  /* since training began, in all its runs */
    int64_t skipped, skipped_in_row; /* steps whose gradients were not finite: in all, and up to now */
    bool early;                      /* it has ended before its epochs were over */
    bool open; /* an epoch has ended with this step, and was not evaluated: it stopped amid that */
    dl_best_state best, stopping;
} dl_trainer_state;

dl_best_state dl_best_state_of(const dl_best *best);

/* Goes on with what was the best by this figure; begins anew where that was another figure. */
void dl_best_take_up(dl_best *best, const dl_best_state *from);

/* A new object; NULL when there is no memory. Numbers come back as they were. */
json_t *dl_trainer_state_json(const dl_trainer_state *state);

/* DL_ERR_CORRUPT names what is missing or of another kind. */
DL_NODISCARD dl_status dl_trainer_state_parse(const json_t *object, dl_trainer_state *out);

#endif
