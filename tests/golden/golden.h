/* Numbers from PyTorch (make_golden.py) against the backends. */
#ifndef DLTRAIN_TESTS_GOLDEN_H
#define DLTRAIN_TESTS_GOLDEN_H

#include "kernels/backend.h"

enum { GOLDEN_NAME_BYTES = 64, GOLDEN_MAX_RECORDS = 256 };

typedef struct golden_record {
    char name[GOLDEN_NAME_BYTES]; /* "conv/strided/dw" */
    dl_shape shape;
    float *values;
} golden_record;

typedef struct golden_file {
    int n;
    golden_record record[GOLDEN_MAX_RECORDS];
} golden_file;

DL_NODISCARD dl_status golden_load(const char *path, golden_file *out);
void golden_free(golden_file *file);

/* The record PREFIX + NAME, or NULL. */
const golden_record *golden_find(const golden_file *file, const char *prefix, const char *name);

/* An operation between host arrays: plain layouts, one run. */
typedef struct golden_op {
    dl_device *device;
    dl_op_desc desc;
    void *host[DL_OP_MAX_SLOTS];
    dl_op *op;
    void *memory[DL_OP_MAX_SLOTS + 1];
} golden_op;

void golden_begin(golden_op *op, dl_device *device, dl_op_kind kind);
/* Gives slot `name` a host array: read before the run where the slot is an input, written after it otherwise.
 */
void golden_bind(golden_op *op, const char *name, dl_dtype dtype, dl_shape shape, void *host);
/* `forward`, already run, lends its saved slots to a gradient kind. NULL otherwise. */
DL_NODISCARD dl_status golden_run(golden_op *op, const golden_op *forward);
void golden_end(golden_op *op);

/* ||a - b|| / ||b|| */
double golden_difference(int64_t n, const float *a, const float *b);

/* One backend's results so far. */
typedef struct golden_score {
    int passed, failed;
    double worst;
} golden_score;

/* Counts and, on failure, prints a comparison of `got` with the record PREFIX + NAME. */
void golden_compare(golden_score *score, const golden_file *file, const char *prefix, const char *name,
                    const float *got, double allowed);

DL_NODISCARD dl_status golden_check_kinds(dl_device *device, const golden_file *file, golden_score *score);
DL_NODISCARD dl_status golden_check_network(dl_device *device, const golden_file *file, golden_score *score);
DL_NODISCARD dl_status golden_check_optimizers(dl_device *device, const golden_file *file,
                                               golden_score *score);

DL_NODISCARD dl_status golden_check_schedules(const golden_file *file, golden_score *score);

#endif
