/* The parameter table: the only source of names, shapes and offsets of parameters.
 *
 * Parameters, gradients and optimizer slots lie in plain f32 arenas in this order, the same on all backends
 * and ranks: stage, then readiness of the gradient in the backward pass (last layers first). Each tensor
 * starts at a multiple of DL_PARAMETER_ALIGN elements; the gap stays zero. Buckets are runs of whole tensors
 * within a stage. */
#ifndef DLTRAIN_MODEL_PARAMETER_H
#define DLTRAIN_MODEL_PARAMETER_H

#include "base/mem.h"
#include "base/tensor.h"

enum { DL_PARAMETER_ALIGN = 16 };

/* How a parameter starts (Keras's defaults). */
typedef enum dl_init_kind {
    DL_INIT_ZERO,
    DL_INIT_ONE,
    DL_INIT_GLOROT_UNIFORM,
    DL_INIT_SMALL_UNIFORM, /* in (-0.05, 0.05): embeddings */
    DL_INIT_ORTHOGONAL,    /* orthonormal columns */
    DL_INIT_FORGET_BIAS,   /* gates i, f, g, o: one for f, zero for the others */
} dl_init_kind;

typedef struct dl_parameter {
    const char *layer;  /* "conv2d" */
    const char *tensor; /* "weight" */
    const char *path;   /* "/conv2d/weight": in weights.h5 and checkpoints */
    dl_shape shape;     /* canonical: PyTorch's layout */
    dl_init_kind init;
    double fan_in, fan_out; /* of glorot_uniform */
    bool trainable;
    double rate_factor; /* of the learning rate */
    int stage;
    int layer_index;
    int bucket; /* -1: not trainable */
    int64_t n_elements;
    int64_t offset; /* elements from the arena's start: the trainable or the frozen arena */
} dl_parameter;

typedef struct dl_bucket {
    int first, n;       /* parameters of the table */
    int64_t offset;     /* elements, in the trainable arena */
    int64_t n_elements; /* gaps included */
} dl_bucket;

typedef struct dl_parameter_table {
    int n;
    dl_parameter *parameter; /* in arena order, trainable ones first */
    int n_buckets;
    dl_bucket *bucket;
    int64_t trainable_elements, frozen_elements; /* of the arenas, gaps included */
    int64_t n_trainable, n_total;                /* parameters proper */
} dl_parameter_table;

/* Fills the parameters of a host arena pair with their initial values: a pure function of (seed, parameter's
 * path, element), so the same on any number of ranks. `trainable` and `frozen` are host memory of the table's
 * sizes. */
DL_NODISCARD dl_status dl_parameters_init(const dl_parameter_table *table, uint64_t seed, float *trainable,
                                          float *frozen);

/* Where a parameter's elements are in a pair of host arenas. */
float *dl_parameter_data(const dl_parameter *parameter, float *trainable, float *frozen);

/* The parameter of this path, or NULL. */
const dl_parameter *dl_parameter_find(const dl_parameter_table *table, const char *path);

#endif
