#include "comm/tree.h"

#include "base/mem.h"
#include "comm/narrow.h"

#include <string.h>

enum { CHUNK_BYTES = 4096, MAX_TEMPORARIES = 4 };

/* out may be a or b: element i is read before it is written. */
static void combine(dl_reduction reduction, dl_dtype dtype, void *out, const void *a, const void *b,
                    int64_t n) {
    if (dtype == DL_F32) {
        float *to = out;
        const float *x = a, *y = b;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            to[i] = x[i] + y[i];
        }
    } else if (dtype == DL_F64) {
        double *to = out;
        const double *x = a, *y = b;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            to[i] = x[i] + y[i];
        }
    } else if (reduction == DL_REDUCE_MAX) {
        int32_t *to = out;
        const int32_t *x = a, *y = b;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            to[i] = x[i] > y[i] ? x[i] : y[i];
        }
    }
}

dl_status dl_sum_plan_line(int n_leaves, dl_sum_plan *out) {
    *out = (dl_sum_plan){.n_leaves = n_leaves, .n_steps = n_leaves - 1};
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n_leaves, sizeof *out->step, &out->step));
    for (int i = 0; i + 1 < n_leaves; i++) {
        out->step[i] = (dl_sum_step){.out = n_leaves, .a = i == 0 ? 0 : n_leaves, .b = i + 1};
    }
    return DL_OK;
}

static int leaf_of(const dl_range *pieces, int n_leaves, dl_range node) {
    for (int i = 0; i < n_leaves; i++) {
        if (pieces[i].begin == node.begin && pieces[i].end == node.end) {
            return i;
        }
    }
    return -1;
}

/* Adds the steps for `node`; its result is a leaf or the temporary number `depth`. Returns its number, or -1
 * when a piece is missing. Depth is at most log2(DL_PIECES): the right child works one temporary further on.
 */
static int plan_node(const dl_range *pieces, dl_range node, int depth, dl_sum_plan *plan) {
    const int leaf = leaf_of(pieces, plan->n_leaves, node);
    if (leaf >= 0) {
        return leaf;
    }
    if (node.end - node.begin < 2) {
        return -1;
    }
    const int64_t middle = (node.begin + node.end) / 2;
    const int left = plan_node(pieces, (dl_range){node.begin, middle}, depth, plan);
    const int right = left < 0 ? -1 : plan_node(pieces, (dl_range){middle, node.end}, depth + 1, plan);
    if (right < 0) {
        return -1;
    }
    const int to = plan->n_leaves + depth;
    plan->step[plan->n_steps++] = (dl_sum_step){.out = to, .a = left, .b = right};
    return to;
}

dl_status dl_sum_plan_tree(const dl_range *pieces, int n_leaves, dl_sum_plan *out) {
    *out = (dl_sum_plan){.n_leaves = n_leaves};
    DL_RETURN_IF_ERROR(dl_alloc(DL_PIECES, sizeof *out->step, &out->step));
    const int result = plan_node(pieces, (dl_range){0, DL_PIECES}, 0, out);
    if (result < 0 || out->n_steps != n_leaves - 1) {
        dl_sum_plan_free(out);
        DL_RETURN_ERROR(DL_ERR_INTERNAL, "%d blocks do not make up the tree over %d pieces", n_leaves,
                        DL_PIECES);
    }
    return DL_OK;
}

void dl_sum_plan_free(dl_sum_plan *plan) {
    dl_free(&plan->step);
    *plan = (dl_sum_plan){0};
}

/* 16-bit floats: added as float32, rounded once at the end. */
static void sum_narrow(const dl_sum_plan *plan, dl_dtype dtype, const void *const *leaf, dl_range elements,
                       void *const *out, int n_out) {
    enum { CHUNK = CHUNK_BYTES / sizeof(float) };
    float wide[2][CHUNK], temporary[MAX_TEMPORARIES][CHUNK];
    for (int64_t at = elements.begin; at < elements.end; at += CHUNK) {
        const int64_t n = elements.end - at < CHUNK ? elements.end - at : CHUNK;
        const float *result = wide[0];
        dl_widen(dtype, (const uint16_t *)leaf[0] + at, wide[0], n);
        for (int i = 0; i < plan->n_steps; i++) {
            const dl_sum_step *step = &plan->step[i];
            const int operand[2] = {step->a, step->b};
            const float *value[2];
            for (int o = 0; o < 2; o++) {
                value[o] = wide[o];
                if (operand[o] < plan->n_leaves) {
                    dl_widen(dtype, (const uint16_t *)leaf[operand[o]] + at, wide[o], n);
                } else {
                    value[o] = temporary[operand[o] - plan->n_leaves];
                }
            }
            float *to = temporary[step->out - plan->n_leaves];
            combine(DL_REDUCE_SUM, DL_F32, to, value[0], value[1], n);
            result = to;
        }
        for (int i = 0; i < n_out; i++) {
            dl_narrow(dtype, result, (uint16_t *)out[i] + at, n);
        }
    }
}

void dl_sum_run(const dl_sum_plan *plan, dl_reduction reduction, dl_dtype dtype, const void *const *leaf,
                dl_range elements, void *const *out, int n_out) {
    if (dl_is_narrow(dtype)) {
        sum_narrow(plan, dtype, leaf, elements, out, n_out);
        return;
    }
    _Alignas(64) char temporary[MAX_TEMPORARIES][CHUNK_BYTES];
    const int64_t size = (int64_t)dl_dtype_bytes(dtype);
    const int64_t chunk = CHUNK_BYTES / size;
    for (int64_t at = elements.begin; at < elements.end; at += chunk) {
        const int64_t n = elements.end - at < chunk ? elements.end - at : chunk;
        const char *result = (const char *)leaf[0] + at * size;
        for (int i = 0; i < plan->n_steps; i++) {
            const dl_sum_step *step = &plan->step[i];
            const char *a = step->a < plan->n_leaves ? (const char *)leaf[step->a] + at * size
                                                     : temporary[step->a - plan->n_leaves];
            const char *b = step->b < plan->n_leaves ? (const char *)leaf[step->b] + at * size
                                                     : temporary[step->b - plan->n_leaves];
            char *to = temporary[step->out - plan->n_leaves];
            combine(reduction, dtype, to, a, b, n);
            result = to;
        }
        for (int i = 0; i < n_out; i++) {
            char *to = (char *)out[i] + at * size;
            if (to != result) {
                memcpy(to, result, (size_t)(n * size));
            }
        }
    }
}
