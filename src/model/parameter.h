/* The parameter table: the only source of names, shapes and offsets of parameters.
 *
 * Parameters, gradients and optimizer slots lie in plain f32 arenas in this order, the same on all backends
 * and ranks: stage, then readiness of the gradient in the backward pass (last layers first); then what is
 * frozen, then statistics. Each tensor starts at a multiple of DL_PARAMETER_ALIGN elements; the gap stays
 * zero. Buckets are runs of whole tensors within a stage, either all of them slices or none. */
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

/* The arena a tensor lies in. */
typedef enum dl_arena {
    DL_ARENA_TRAINABLE,
    DL_ARENA_FROZEN,
    DL_ARENA_STATISTICS, /* moving averages: written by commits, saved with the weights, no parameters proper
                          */
    DL_N_ARENAS
} dl_arena;

/* Host copies of the arenas, dl_arena_elements() each; NULL where that is 0. */
typedef struct dl_host_arenas {
    float *of[DL_N_ARENAS];
} dl_host_arenas;

typedef struct dl_parameter {
    const char *layer;  /* "conv2d" */
    const char *tensor; /* "weight" */
    const char *path;   /* "/conv2d/weight": in weights.h5 and checkpoints */
    dl_shape shape;     /* canonical: PyTorch's layout */
    dl_init_kind init;
    double fan_in, fan_out; /* of glorot_uniform */
    bool trainable;
    bool statistic;     /* a moving average */
    double rate_factor; /* of the learning rate */
    int stage;
    int layer_index;
    int bucket; /* -1: not trainable */
    int64_t n_elements;
    int64_t offset; /* elements from the arena's start */
    bool split;     /* this is a slice; other ranks have the others (program/partition.h) */
} dl_parameter;

typedef struct dl_bucket {
    int first, n;       /* parameters of the table */
    int64_t offset;     /* elements, in the trainable arena */
    int64_t n_elements; /* gaps included */
} dl_bucket;

typedef struct dl_parameter_table {
    int n;
    dl_parameter *parameter; /* in arena order, arena by arena */
    int64_t bucket_bytes;    /* as asked for */
    int n_buckets;
    dl_bucket *bucket;
    int64_t trainable_elements, frozen_elements, statistics_elements; /* of the arenas, gaps included */
    int64_t n_trainable, n_total;                                     /* parameters proper */
} dl_parameter_table;

/* Fills host arenas with the initial values: a pure function of (seed, parameter's path, element), so the
 * same on any number of ranks. */
DL_NODISCARD dl_status dl_parameters_init(const dl_parameter_table *table, uint64_t seed,
                                          const dl_host_arenas *arenas);

/* The arena a parameter lies in, and the elements of an arena. */
dl_arena dl_parameter_arena(const dl_parameter *parameter);
int64_t dl_arena_elements(const dl_parameter_table *table, dl_arena arena);

/* Where a parameter's elements are in host arenas. */
float *dl_parameter_data(const dl_parameter *parameter, const dl_host_arenas *arenas);

/* The parameter of this path, or NULL. */
const dl_parameter *dl_parameter_find(const dl_parameter_table *table, const char *path);

#endif
