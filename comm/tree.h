/* Sums in a fixed order: the arithmetic of every all-reduce, told apart from how the numbers travel.
 *
 * A sum plan says in which order the leaves (one array a rank, or one a block) are added. The order depends
 * on the plan alone, never on who computes it or how the elements are cut, so that all ranks get the same
 * bits. */
#ifndef DLTRAIN_COMM_TREE_H
#define DLTRAIN_COMM_TREE_H

#include "comm/comm.h"

/* One addition: out = a + b. Numbers below n_leaves are leaves, the others temporaries. */
typedef struct dl_sum_step {
    int out, a, b;
} dl_sum_step;

typedef struct dl_sum_plan {
    int n_leaves, n_steps;
    dl_sum_step *step; /* n_steps; the last one makes the result */
} dl_sum_plan;

/* ((leaf 0 + leaf 1) + leaf 2) + ... Release with dl_sum_plan_free. */
DL_NODISCARD dl_status dl_sum_plan_line(int n_leaves, dl_sum_plan *out);

/* The binary tree over the pieces 0 .. DL_PIECES, leaf i being the sum over the pieces pieces[i]. Leaves may
 * come in any order. DL_ERR_INTERNAL when they are not nodes of the tree that together cover every piece
 * once. */
DL_NODISCARD dl_status dl_sum_plan_tree(const dl_range *pieces, int n_leaves, dl_sum_plan *out);

void dl_sum_plan_free(dl_sum_plan *plan);

/* Computes the elements `elements` of the result and stores them in each of the n_out arrays (which may be
 * among the leaves). Works in chunks that stay in the first-level cache; allocates nothing. */
void dl_sum_run(const dl_sum_plan *plan, dl_reduction reduction, dl_dtype dtype, const void *const *leaf,
                dl_range elements, void *const *out, int n_out);

#endif
