/* What a model says of each sample, one JSON object a line, in the order of the evaluation:
 *
 *   classes:  {"id":12,"label":7,"prediction":7,"probabilities":[0.01,...]}
 *   numbers:  {"id":12,"target":[0.5],"output":[0.47]}
 *
 * `id` is the sample's number in its files, `prediction` the first of the most probable classes. With several
 * rows a sample (sequences) label and prediction are lists and probabilities and outputs lists of lists; a
 * label of -1 is none. Numbers read back, in single and in double precision, as exactly the float32 that was
 * computed; what is not finite is null. */
#ifndef DLTRAIN_TRAIN_PREDICTIONS_H
#define DLTRAIN_TRAIN_PREDICTIONS_H

#include "train/session.h"

typedef struct dl_predictions dl_predictions;

/* For a session opened with `predict`. Rank 0 begins the file, beside `path` until dl_predictions_finish;
 * a pipe, a device or a link is written as it is. Collective over the world; release with
 * dl_predictions_destroy. DL_ERR_IO names the file, DL_ERR_USAGE a folder in its place. */
DL_NODISCARD dl_status dl_predictions_create(dl_session *session, const char *path, dl_predictions **out);

/* Adds the global batch that an evaluation program has just computed, `batch` being this rank's part of it.
 * Collective over the world. */
DL_NODISCARD dl_status dl_predictions_add(dl_predictions *predictions, int program, const dl_batch *batch,
                                          int64_t global_samples);

/* Puts the file in its place: it is there whole or not at all. Collective over the world. */
DL_NODISCARD dl_status dl_predictions_finish(dl_predictions *predictions);

void dl_predictions_destroy(
    dl_predictions **predictions); /* NULL-safe; a file that was not finished is removed */

#endif
