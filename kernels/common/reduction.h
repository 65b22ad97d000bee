/* Sums in an order that depends on nothing but the number of elements: what makes a GPU's sums the same in
 * every run. Thread t of a block adds elements t, t + threads, ... in this order; then the threads' sums are
 * added in a tree, half of the threads each time. The kernels and the tests both use these functions. */
#ifndef DLTRAIN_KERNELS_COMMON_REDUCTION_H
#define DLTRAIN_KERNELS_COMMON_REDUCTION_H

#include "kernels/common/pointwise.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* Multiples of this are added without rounding while their sum stays below 2^21, so that the order of the
 * additions, and with it the number of ranks, leaves no trace. */
#define DL_SUM_GRID (1.0 / 4294967296.0)

/* The value that sum_samples adds. What is not finite, or too large for the grid, stays as it is. */
DL_SHARED double dl_sample_to_sum(bool on_grid, double x) {
    return on_grid ? rint(x / DL_SUM_GRID) * DL_SUM_GRID : x;
}

/* One step of the tree for thread t < half; partial[0] is the sum after the step with half = 1. All threads
 * have to be done with a step before the next. */
DL_SHARED void dl_reduce_step(double *partial, int t, int half) {
    partial[t] += partial[t + half];
}

/* The binary tree over x[0], x[stride], ..., x[(k - 1) stride], k a power of two below 2^32, rounded at every
 * node: the order that tree_sum means. A sum waits on the stack until the sum of as many elements behind it
 * is there. */
DL_SHARED float dl_tree_sum_f32(const float *x, int64_t k, int64_t stride) {
    float waiting[32];
    int n = 0;
    for (int64_t i = 0; i < k; i++) {
        float sum = x[i * stride];
        for (int64_t pairs = i; pairs % 2 == 1; pairs /= 2) {
            sum = waiting[--n] + sum;
        }
        waiting[n++] = sum;
    }
    return waiting[0];
}

DL_SHARED double dl_tree_sum_f64(const double *x, int64_t k, int64_t stride) {
    double waiting[32];
    int n = 0;
    for (int64_t i = 0; i < k; i++) {
        double sum = x[i * stride];
        for (int64_t pairs = i; pairs % 2 == 1; pairs /= 2) {
            sum = waiting[--n] + sum;
        }
        waiting[n++] = sum;
    }
    return waiting[0];
}

#endif
