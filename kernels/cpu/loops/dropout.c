/* Dropout: the masks of kernels/common/dropout.h, sixteen Philox counters side by side. */
#include "kernels/common/dropout.h"

#include "kernels/common/blocks.h"
#include "kernels/cpu/loops/isa.h"

#include <string.h>

enum { LANES = DL_CPU_LANES, ROUNDS = 10 };

/* Philox4x32-10 (Salmon et al., SC'11) of LANES counters (a, b + j); the key is dl_rng_4x32's. */
static void philox_lanes(const dl_dropout *dropout, uint64_t a, uint64_t b, uint32_t number[LANES][4]) {
    uint32_t c[4][LANES];
    uint32_t key_0 = (uint32_t)dropout->seed;
    uint32_t key_1 = (uint32_t)(dropout->seed >> 32) ^ (dropout->purpose * 0x9E3779B9U);
    for (uint32_t j = 0; j < LANES; j++) {
        c[0][j] = (uint32_t)a;
        c[1][j] = (uint32_t)(a >> 32);
        c[2][j] = (uint32_t)(b + j);
        c[3][j] = (uint32_t)((b + j) >> 32);
    }
    for (int round = 0; round < ROUNDS; round++) {
#pragma omp simd
        for (int j = 0; j < LANES; j++) {
            const uint64_t low = (uint64_t)c[0][j] * 0xD2511F53U;
            const uint64_t high = (uint64_t)c[2][j] * 0xCD9E8D57U;
            c[0][j] = (uint32_t)(high >> 32) ^ c[1][j] ^ key_0;
            c[1][j] = (uint32_t)high;
            c[2][j] = (uint32_t)(low >> 32) ^ c[3][j] ^ key_1;
            c[3][j] = (uint32_t)low;
        }
        key_0 += 0x9E3779B9U;
        key_1 += 0xBB67AE85U;
    }
    for (int j = 0; j < LANES; j++) {
        for (int k = 0; k < 4; k++) {
            number[j][k] = c[k][j];
        }
    }
}

static void sample(const dl_dropout *dropout, int64_t step, int64_t id, int64_t n, const float *x, float *y) {
    for (int64_t first = 0; first < n; first += 4 * LANES) {
        uint32_t number[LANES][4];
        const int64_t count = n - first < 4 * LANES ? n - first : 4 * LANES;
        philox_lanes(dropout, (uint64_t)step, dl_dropout_counter(id, n, first / 4), number);
#pragma omp simd
        for (int64_t i = 0; i < count; i++) {
            y[first + i] = dl_dropout_element(dropout, number[i / 4][i % 4], x[first + i]);
        }
    }
}

/* Forward and backward are one thing: slots x (dy), ids, step, y (dx). */
void DL_ISA(dropout)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots, dl_range items) {
    const int64_t n = loop->row;
    const float *x = slots[0];
    float *y = slots[3];
    if (!desc->attr.training) {
        memmove(y + items.begin * n, x + items.begin * n,
                (size_t)((items.end - items.begin) * n) * sizeof *x);
        return;
    }
    const dl_dropout dropout = dl_dropout_of(&desc->attr.u.dropout);
    const int64_t *ids = slots[1];
    const dl_step_block *step = slots[2];
    for (int64_t i = items.begin; i < items.end; i++) {
        sample(&dropout, step->step, ids[i], n, x + i * n, y + i * n);
    }
}
