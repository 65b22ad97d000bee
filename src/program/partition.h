/* Partition over the tensor axis: a model as one of the ranks that share its layers has it.
 *
 * Every tensor lies over the axis in one way: all of it on each rank, a slice on each, or a sum of which each
 * rank holds a part. Two dense layers with nothing but elementwise operations between them become a pair (the
 * MLP of Shoeybi et al., "Megatron-LM", arXiv:1909.08053): the first is split by its outputs, the second by
 * its inputs, so that one exchange turns the second's parts into the sum, and one in the backward pass the
 * parts of the first's input gradient. Everything else is computed on each rank of the axis, from the same
 * numbers.
 *
 * No layer knows of it: the partitioned model has the same layers and operations over smaller tensors, and
 * the compiler inserts the exchanges where a partial value is made. */
#ifndef DLTRAIN_PROGRAM_PARTITION_H
#define DLTRAIN_PROGRAM_PARTITION_H

#include "model/model.h"

/* The elements begin .. begin + length of dimension `dim`, which has `of` in the whole tensor; dim -1: all.
 */
typedef struct dl_slice {
    int dim;
    int64_t begin, length, of;
} dl_slice;

/* How a value lies over the axis. */
typedef enum dl_spread {
    DL_SPREAD_WHOLE,
    DL_SPREAD_SPLIT,  /* this rank has a slice of its last dimension */
    DL_SPREAD_PARTIAL /* the operation that makes it gives this rank's part of a sum; it is then exchanged */
} dl_spread;

typedef struct dl_partition {
    int size, index;   /* of the axis, on it */
    dl_model *model;   /* owned; borrows names and layers from the whole model */
    dl_slice *slice;   /* [model->table.n] of the whole parameter */
    int *whole_row;    /* [model->table.n] its row in the whole model's table */
    dl_spread *spread; /* [model->n_values] */
} dl_partition;

/* Partitions `whole`, which must outlive *out, for rank `index` of an axis of `size` ranks. DL_ERR_USAGE when
 * there is nothing to split, saying what could be. Not collective: a pure function of its arguments. */
DL_NODISCARD dl_status dl_partition_create(const dl_model *whole, int size, int index, dl_partition **out);
void dl_partition_destroy(dl_partition **partition);

/* Copies the parameters of this rank from host arenas of the whole model to such of the partitioned one, and
 * back: only the slices are touched. With `arena` one of DL_ARENA_...; both are float32. */
void dl_partition_cut(const dl_partition *partition, const dl_parameter_table *whole_table, dl_arena arena,
                      const float *whole, float *part);
void dl_partition_paste(const dl_partition *partition, const dl_parameter_table *whole_table, dl_arena arena,
                        const float *part, float *whole);

#endif
