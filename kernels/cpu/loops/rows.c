/* Row by row: softmax and its cross entropy. */
#include "kernels/common/loss.h"
#include "kernels/cpu/loops/exponential.h"
#include "kernels/cpu/loops/isa.h"
#include "kernels/cpu/loops/lanes.h"

#include <math.h>

/* By hand: compilers may not reorder a maximum that NaN could be in. Four vectors: the comparisons of one
 * would wait for each other. */
static float largest(const float *x, int64_t n) {
    enum { CHAINS = 4, AT_ONCE = CHAINS * DL_CPU_LANES };
    float most[DL_CPU_LANES];
    dl_lanes lanes[CHAINS];
    int64_t i = 0;
    for (int j = 0; j < DL_CPU_LANES; j++) {
        most[j] = x[0];
    }
    for (int j = 0; j < CHAINS; j++) {
        lanes[j] = dl_lanes_load(most);
    }
    for (; i + AT_ONCE <= n; i += AT_ONCE) {
        for (int j = 0; j < CHAINS; j++) {
            lanes[j] = dl_lanes_larger(dl_lanes_load(x + i + (int64_t)j * DL_CPU_LANES), lanes[j]);
        }
    }
    for (; i + DL_CPU_LANES <= n; i += DL_CPU_LANES) {
        lanes[0] = dl_lanes_larger(dl_lanes_load(x + i), lanes[0]);
    }
    for (int j = 1; j < CHAINS; j++) {
        lanes[0] = dl_lanes_larger(lanes[j], lanes[0]);
    }
    dl_lanes_store(most, lanes[0]);
    for (; i < n; i++) {
        most[0] = x[i] > most[0] ? x[i] : most[0];
    }
    for (int j = 1; j < DL_CPU_LANES; j++) {
        most[0] = most[j] > most[0] ? most[j] : most[0];
    }
    return most[0];
}

/* The last n < DL_CPU_LANES elements as a whole vector, so that no compiler takes them one by one. */
static float last_exponentials(const float *x, float *y, float most, int64_t n) {
    float all[DL_CPU_LANES], sum = 0;
    dl_lanes_store(all, dl_lanes_load_some(x, n));
#pragma omp simd reduction(+ : sum)
    for (int j = 0; j < DL_CPU_LANES; j++) {
        all[j] = j < n ? dl_fast_exp(all[j] - most) : 0.0F;
        sum += all[j];
    }
    if (y != NULL) {
        dl_lanes_store_some(y, dl_lanes_load(all), n);
    }
    return sum;
}

/* Adds `term`, an expression of i, for 0 <= i < n to the double `sum`. Many terms that are alike would be
 * rounded the same way again and again, so that single precision goes over so many at most: a multiple of the
 * lanes. */
enum { SUMMED_AT_ONCE = 512 };
#define ADD_IN_RUNS(sum, i, n, term)                                                                         \
    for (int64_t begin = 0; begin < (n); begin += SUMMED_AT_ONCE) {                                          \
        const int64_t end = (n)-begin < SUMMED_AT_ONCE ? (n) : begin + SUMMED_AT_ONCE;                       \
        float part = 0;                                                                                      \
        _Pragma("omp simd reduction(+ : part)") for (int64_t i = begin; i < end; i++) {                      \
            part += (term);                                                                                  \
        }                                                                                                    \
        (sum) += (double)part;                                                                               \
    }

/* y = exp(x - most); returns the sum. */
static float exponentials(const float *x, float *y, float most, int64_t n) {
    const int64_t whole = n - n % DL_CPU_LANES;
    double sum = 0;
    ADD_IN_RUNS(sum, i, whole, y[i] = dl_fast_exp(x[i] - most))
    return (float)(n > whole ? sum + (double)last_exponentials(x + whole, y + whole, most, n - whole) : sum);
}

static float exponential_sum(const float *x, float most, int64_t n) {
    const int64_t whole = n - n % DL_CPU_LANES;
    double sum = 0;
    ADD_IN_RUNS(sum, i, whole, dl_fast_exp(x[i] - most))
    return (float)(n > whole ? sum + (double)last_exponentials(x + whole, NULL, most, n - whole) : sum);
}

static void multiply(const float *x, float factor, float *y, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = x[i] * factor;
    }
}

void DL_ISA(softmax_forward)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                             dl_range items) {
    (void)desc;
    const int64_t k = loop->row;
    for (int64_t n = items.begin; n < items.end; n++) {
        const float *x = (const float *)slots[0] + n * k;
        float *y = (float *)slots[1] + n * k;
        const float sum = exponentials(x, y, largest(x, k), k);
        multiply(y, 1.0F / sum, y, k);
    }
}

static float product_sum(const float *a, const float *b, int64_t n) {
    double sum = 0;
    ADD_IN_RUNS(sum, i, n, a[i] * b[i])
    return (float)sum;
}

void DL_ISA(softmax_backward)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                              dl_range items) {
    (void)desc;
    const int64_t k = loop->row;
    for (int64_t n = items.begin; n < items.end; n++) {
        const float *y = (const float *)slots[0] + n * k;
        const float *dy = (const float *)slots[1] + n * k;
        float *dx = (float *)slots[2] + n * k;
        const float dot = product_sum(dy, y, k);
#pragma omp simd
        for (int64_t i = 0; i < k; i++) {
            dx[i] = y[i] * (dy[i] - dot);
        }
    }
}

/* sum of x - most: what a smoothed target adds to the loss. */
static double distance_sum(const float *x, float most, int64_t n) {
    double sum = 0;
    ADD_IN_RUNS(sum, i, n, x[i] - most)
    return sum;
}

/* sum of t (x - most) over the classes of a row with a label: the loss is the logarithm of the sum of exp(x -
 * most) less this. */
static double row_target(const float *x, int32_t label, double smoothing, float most, int64_t k) {
    double target = (1.0 - smoothing) * ((double)x[label] - (double)most);
    if (smoothing > 0) {
        target += smoothing / (double)k * distance_sum(x, most, k);
    }
    return target;
}

/* dx = scale (e / sum - t) where dx holds e; a row without a label gets nothing, one with an impossible label
 * NaN. */
static void row_gradient(float *dx, int32_t label, const dl_loss_attr *attr, float sum, int64_t k) {
    if (label < 0 || label >= k) {
        const float value = label < 0 ? 0.0F : NAN;
        for (int64_t i = 0; i < k; i++) {
            dx[i] = value;
        }
        return;
    }
    const float factor = (float)attr->scale / sum, share = (float)(attr->scale * attr->smoothing / (double)k);
#pragma omp simd
    for (int64_t i = 0; i < k; i++) {
        dx[i] = dx[i] * factor - share;
    }
    dx[label] -= (float)(attr->scale * (1.0 - attr->smoothing));
}

/* dx may be x itself: a row's target is read before its exponentials are written. */
void DL_ISA(softmax_cross_entropy)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                                   dl_range items) {
    const int64_t k = loop->row;
    const int32_t *labels = slots[1];
    float *losses = slots[2];
    const dl_loss_attr attr = dl_scaled_loss(&desc->attr.u.loss, desc->slot[5].present ? slots[5] : NULL);
    for (int64_t n = items.begin; n < items.end; n++) {
        const float *x = (const float *)slots[0] + n * k;
        float *dx = desc->slot[3].present ? (float *)slots[3] + n * k : NULL;
        float *p = desc->slot[4].present ? (float *)slots[4] + n * k : NULL;
        float *e = dx != NULL ? dx : p;
        const float most = largest(x, k);
        const bool valid = labels[n] >= 0 && labels[n] < k;
        const double target = valid ? row_target(x, labels[n], attr.smoothing, most, k) : 0.0;
        const float sum = e != NULL ? exponentials(x, e, most, k) : exponential_sum(x, most, k);
        const float otherwise = labels[n] < 0 ? 0.0F : NAN;
        losses[n] = valid ? (float)(log((double)sum) - target) : otherwise;
        if (p != NULL) {
            multiply(e, 1.0F / sum, p, k);
        }
        if (dx != NULL) {
            row_gradient(dx, labels[n], &attr, sum, k);
        }
    }
}

/* How many of the row stand before its element `label`: larger ones, and equal ones to the left. NaN: all. */
static int64_t rank_of(const float *x, int64_t n, int64_t label) {
    const float own = x[label];
    int32_t before = 0, nan = 0;
#pragma omp simd reduction(+ : before) reduction(| : nan)
    for (int64_t k = 0; k < label; k++) {
        before += x[k] >= own ? 1 : 0;
        nan |= x[k] != x[k] ? 1 : 0;
    }
#pragma omp simd reduction(+ : before) reduction(| : nan)
    for (int64_t k = label; k < n; k++) {
        before += x[k] > own ? 1 : 0;
        nan |= x[k] != x[k] ? 1 : 0;
    }
    return nan != 0 ? n : before;
}

void DL_ISA(accuracy)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots, dl_range items) {
    const int64_t k = loop->row;
    const int32_t *labels = slots[1];
    float *hits = slots[2];
    for (int64_t n = items.begin; n < items.end; n++) {
        const bool valid = labels[n] >= 0 && labels[n] < k;
        const int64_t rank = valid ? rank_of((const float *)slots[0] + n * k, k, labels[n]) : k;
        hits[n] = rank < k && rank < desc->attr.u.accuracy.k ? 1.0F : 0.0F;
    }
}
