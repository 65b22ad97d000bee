/* A trained model applied to samples of other files than its data set's: a batch at a time through the
 * program that computes scores alone. Not collective: the session is of one rank, and what it gives for a
 * sample depends on neither the batch nor the other ranks. */
#ifndef DLTRAIN_TRAIN_APPLY_H
#define DLTRAIN_TRAIN_APPLY_H

#include "datasets/inputs.h"
#include "train/language.h"
#include "train/session.h"

typedef struct dl_apply_options {
    dl_session *session; /* opened with `apply`, with its weights */
    dl_inputs *inputs;
    const dl_language *language; /* of a model of text; NULL: the model reads samples */
    int64_t top;                 /* classes wanted for each row of a sample, the most probable first */
} dl_apply_options;

/* An entry of a result: a class and its probability, or an output of the model and its number. Of a row with
 * NaN the class is -1. */
typedef struct dl_scored {
    int32_t number;
    float score;
} dl_scored;

typedef struct dl_apply dl_apply;

/* What a session for applying wants otherwise than training: batches of this many samples on one rank. */
void dl_apply_configure(dl_config *config, int64_t batch_size);

/* Checks the samples against the model, divides lines into tokens, and takes all memory. DL_ERR_USAGE and
 * DL_ERR_DATA say which file and line does not fit. Release with dl_apply_destroy in any case. */
DL_NODISCARD dl_status dl_apply_create(const dl_apply_options *options, dl_apply **out);
void dl_apply_destroy(dl_apply **apply);

/* Entries of a row, and the most rows of a sample: 1, or one for each position. */
int64_t dl_apply_width(const dl_apply *apply);
int64_t dl_apply_rows(const dl_apply *apply);

/* Samples first .. first + n through the model; n is at most the session's batch size. n_rows[n] are the rows
 * of each sample, scored[n, dl_apply_rows, dl_apply_width] their entries. *seconds: from the batch in host
 * memory to its scores in host memory. Allocates nothing. */
DL_NODISCARD dl_status dl_apply_run(dl_apply *apply, int64_t first, int64_t n, int64_t *n_rows,
                                    dl_scored *scored, double *seconds);

/* Lines of the inputs that hold words which the vocabulary does not have (the model reads <unk>); *first:
 * which words of which line, where there are any. */
int64_t dl_apply_unknown(const dl_apply *apply, const char **first);

/* Bytes it takes beside the session's and the inputs'. */
size_t dl_apply_bytes(const dl_apply *apply);

#endif
