/* What a model says of the samples of files: batches over the ranks, lines into a file, and how long it took.
 *
 * JSON lines, one for each sample, in the order of the inputs:
 *
 *   classes   {"input":"x.csv","id":0,"prediction":7,"name":"seven","probability":0.98}
 *             with several wanted also "top":[7,1],"names":["seven","one"],"probabilities":[0.98,0.01]
 *   numbers   {"input":"x.csv","id":0,"output":[0.47]}
 *
 * `id` counts the samples of a file from 0. "name" and "names" are there where the data set names its
 * classes; of a text the prediction is the token behind it and its name that token. Where a sample has a row
 * for each of its steps, there is a list in each place. What is not finite is null. CSV has the same columns:
 * input, id, position (where there are several), prediction, name, probability, prediction_2, ...; or
 * output_1, ... */
#ifndef DLTRAIN_TRAIN_PREDICT_H
#define DLTRAIN_TRAIN_PREDICT_H

#include "train/apply.h"

typedef enum dl_predict_format { DL_PREDICT_JSONL, DL_PREDICT_CSV } dl_predict_format;

typedef struct dl_predict_options {
    dl_session *session; /* of this rank alone, opened with `apply`, with its weights */
    dl_comm *world;      /* the ranks that share the batches */
    dl_inputs *inputs;
    const dl_language *language; /* NULL: the model reads samples */
    const dl_vocab *names;       /* of classes; n 0: they have none */
    int64_t top;
    const char *path; /* of rank 0's file; NULL: the lines go to the open file `fd` */
    int fd;
    dl_predict_format format;
} dl_predict_options;

typedef struct dl_predict_report {
    int64_t n_samples, n_batches;
    double seconds;  /* of all of it: reading, the model, lines */
    double p50, p99; /* seconds of a batch, by nearest rank, over the batches of all ranks */
    size_t n_bytes;  /* of batches, results and inputs, beside the session */
} dl_predict_report;

/* Batch b is rank b % P's; the lines are the same for any number of ranks, any batch size. The report is rank
 * 0's. Collective over world. */
DL_NODISCARD dl_status dl_predict(const dl_predict_options *options, dl_predict_report *report);

/* --- lines (predict_lines.c) --- */

/* A sample's result. */
typedef struct dl_predict_line {
    const char *input;
    int64_t id, n_rows, width;
    const dl_scored *scored; /* [n_rows, width] */
    bool classes, list;      /* list: a row for each step */
} dl_predict_line;

/* Appends the sample's line, or lines. */
DL_NODISCARD dl_status dl_predict_append(const dl_predict_line *line, dl_predict_format format,
                                         const dl_vocab *names, dl_text *out);
/* Appends what a file begins with: the names of columns of CSV. */
DL_NODISCARD dl_status dl_predict_append_head(const dl_predict_line *line, dl_predict_format format,
                                              const dl_vocab *names, dl_text *out);

#endif
