#include "fill.h"

#include "half.h"

#include "base/mem.h"
#include "base/rng.h"
#include "kernels/common/blocks.h"
#include "kernels/ops/sizes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEED = 20 };

static double uniform(int slot, int64_t i) {
    return dl_rng_uniform(SEED, DL_RNG_TEST, (uint64_t)slot, (uint64_t)i);
}

static float float_of(dlc_fill fill, int slot, int64_t i) {
    const double u = uniform(slot, i);
    switch (fill) {
    case DLC_AWAY:
        return (float)(u < 0.5 ? -0.25 - 1.5 * u : 0.25 + 1.5 * (u - 0.5));
    case DLC_TIES:
        return (float)(-1.0 - floor(3.0 * u));
    case DLC_PROBABILITY:
        return (float)(0.2 + 0.8 * u);
    case DLC_LARGE:
        return (float)(160.0 * u - 80.0);
    default:
        return (float)(2.0 * u - 1.0);
    }
}

/* Different multiples of 2^-10 around zero, shuffled: x plus or minus 2^-12 is exact and changes no order. */
static void fill_distinct(int slot, int64_t n, float *x) {
    for (int64_t i = 0; i < n; i++) {
        const int64_t j =
            (int64_t)dl_rng_below(SEED, DL_RNG_TEST, (uint64_t)slot, (uint64_t)i, (uint64_t)i + 1);
        x[i] = x[j];
        x[j] = (float)(i - n / 2) * 0x1p-10f;
    }
}

static void fill_floats(int slot, int64_t n, dlc_fill fill, float *x) {
    if (fill == DLC_DISTINCT) {
        fill_distinct(slot, n, x);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        x[i] = float_of(fill, slot, i);
    }
    if (n > 0 && fill == DLC_NAN_LAST) {
        x[n - 1] = NAN;
    }
    if (n > 0 && fill == DLC_INF_FIRST) {
        x[0] = -INFINITY;
    }
}

static void fill_bytes(const char *name, int slot, int64_t n, unsigned char *bytes) {
    if (strcmp(name, "step") == 0) {
        const dl_step_block step = {.step = 17,
                                    .t = DLC_STEP,
                                    .weight = 5,
                                    .learning_rate = 0.01,
                                    .control = {[DL_CONTROL_STOP] = 3},
                                    .unseen = 1};
        memcpy(bytes, &step, sizeof step);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        bytes[i] = (unsigned char)(256.0 * uniform(slot, i));
    }
}

/* Rows of the embedding's table: slot `table`, or `w` or its gradient. */
static int64_t vocabulary_of(const dl_op_desc *desc) {
    const dl_shape *table = dl_op_shape_of(desc, "table");
    return table != NULL ? table->dim[0] : dl_embedding_sizes_of(desc).vocabulary;
}

static void fill_tokens(const dl_op_desc *desc, int slot, int flags, int32_t *values) {
    const int64_t vocabulary = vocabulary_of(desc);
    for (int64_t i = 0; i < dl_shape_elements(&desc->slot[slot].shape); i++) {
        values[i] = (int32_t)((double)vocabulary * uniform(slot, i));
        values[i] -= (flags & DLC_FEW_TOKENS) != 0 ? values[i] % 7 : 0;
        if ((flags & DLC_STRANGERS) != 0 && i % 5 == 2) {
            values[i] = i % 2 == 0 ? -1 - (int32_t)i : (int32_t)vocabulary;
        }
    }
}

/* 1 to T, both among them. */
static void fill_lengths(const dl_op_desc *desc, int slot, int32_t *values) {
    const int64_t n = desc->slot[slot].shape.dim[0], t = dl_sequence_sizes_of(desc).t;
    for (int64_t i = 0; i < n; i++) {
        values[i] = i == 0 ? (int32_t)t : i == 1 ? 1 : (int32_t)(1.0 + (double)t * uniform(slot, i));
    }
}

static void fill_int32(const dl_op_desc *desc, int slot, int flags, int32_t *values) {
    const char *name = dl_op_info_of(desc->kind)->slots[slot].name;
    if (strcmp(name, "x") == 0) {
        fill_tokens(desc, slot, flags, values);
        return;
    }
    if (strcmp(name, "lengths") == 0) {
        fill_lengths(desc, slot, values);
        return;
    }
    const dl_shape *rows = &desc->slot[0].shape;
    const int64_t n_classes = rows->n_dims > 0 ? rows->dim[rows->n_dims - 1] : 0;
    const bool labels = strcmp(dl_op_info_of(desc->kind)->slots[slot].name, "labels") == 0;
    for (int64_t i = 0; i < dl_shape_elements(&desc->slot[slot].shape); i++) {
        const bool masked = (flags & DLC_MASKED) != 0 && i % 3 == 1;
        values[i] = !labels ? 0 : masked ? -1 : (int32_t)((double)n_classes * uniform(slot, i));
    }
    if (!labels) { /* a control word: a request to save forbids nothing */
        values[DL_CONTROL_SAVE] = 1;
        values[DL_CONTROL_BAD_DATA] = (flags & (DLC_FORBIDDEN | DLC_FAILED)) != 0;
    }
}

/* Sums of 37 values for each channel, and of their squares: no variance is negative. */
static void fill_sums(const dl_shape *shape, int slot, double *values) {
    const int64_t row = shape->dim[shape->n_dims - 1];
    for (int64_t i = 0; i < dl_shape_elements(shape); i++) {
        const int64_t at = i % row;
        const double u = uniform(slot, i);
        values[i] = at == row - 1 ? 37.0 : at < row / 2 ? 37.0 * (u - 0.5) : 37.0 * (1.0 + u);
    }
}

/* The values that a float32 slot would have, rounded. */
static void fill_halves(const dl_op_desc *desc, int i, dlc_fill fill, int flags, void *values) {
    const int64_t n = dl_shape_elements(&desc->slot[i].shape);
    dl_op_desc wide = *desc;
    float *floats = NULL;
    if (dl_alloc((size_t)n, sizeof *floats, &floats) != DL_OK) {
        (void)fprintf(stderr, "conformance: %s\n", dl_error_last()->message);
        exit(71);
    }
    wide.slot[i].dtype = DL_F32;
    dlc_fill_slot(&wide, i, fill, flags, floats);
    dlc_round_floats(desc->slot[i].dtype, n, floats, values);
    dl_free(&floats);
}

void dlc_fill_slot(const dl_op_desc *desc, int i, dlc_fill fill, int flags, void *values) {
    const char *name = dl_op_info_of(desc->kind)->slots[i].name;
    const int64_t n = dl_shape_elements(&desc->slot[i].shape);
    switch (desc->slot[i].dtype) {
    case DL_F32: { /* second moments are means of squares */
        const bool squares = (desc->kind == DL_OP_ADAM_UPDATE && strcmp(name, "v") == 0) ||
                             (desc->kind == DL_OP_RMSPROP_UPDATE && strcmp(name, "s") == 0);
        fill_floats(i, n, squares ? DLC_PROBABILITY : fill, values);
        for (int64_t k = 0; k < n && strcmp(name, "s") == 0; k++) {
            ((float *)values)[k] += 1.0f; /* above the squared mean */
        }
        break;
    }
    case DL_F64:
        if (strcmp(name, "sums") == 0 || strcmp(name, "moments") == 0) {
            fill_sums(&desc->slot[i].shape, i, values);
            break;
        }
        for (int64_t k = 0; k < n; k++) {
            ((double *)values)[k] = strcmp(name, "totals") == 0 ? 13.0
                                    : strcmp(name, "sums") == 0 ? uniform(i, k)
                                                                : uniform(i, k) - 0.5;
        }
        break;
    case DL_BF16:
    case DL_F16:
        fill_halves(desc, i, fill, flags, values);
        break;
    case DL_I32:
        fill_int32(desc, i, flags, values);
        break;
    case DL_I64:
        for (int64_t k = 0; k < n; k++) {
            ((int64_t *)values)[k] = (int64_t)(1e12 * uniform(i, k));
        }
        break;
    default:
        fill_bytes(name, i, n, values);
    }
}
