/* Dropout: the masks of kernels/common/dropout.h, sixteen Philox counters side by side. */
#include "kernels/common/dropout.h"

#include "kernels/common/blocks.h"
#include "kernels/cpu/loops/isa.h"

#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

_Static_assert(DL_CPU_LANES == 16, "the shuffles below are written for sixteen lanes");
enum { LANES = DL_CPU_LANES, ROUNDS = 10, NUMBERS = 4 * LANES };

typedef uint32_t words __attribute__((vector_size(64)));
typedef uint64_t wide_words __attribute__((vector_size(128)));

/* Lanes 0, 0, 1, 1, ... of the lower or upper halves of two vectors. */
#define ZIP_LOWER(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define ZIP_UPPER(a, b)                                                                                      \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)

/* Four words of each lane to one row of NUMBERS, lane by lane. */
static inline void store_by_lane(words a, words b, words c, words d, uint32_t *numbers) {
    const words even[2] = {ZIP_LOWER(a, c), ZIP_UPPER(a, c)};
    const words odd[2] = {ZIP_LOWER(b, d), ZIP_UPPER(b, d)};
    for (int i = 0; i < 2; i++) {
        const words rows[2] = {ZIP_LOWER(even[i], odd[i]), ZIP_UPPER(even[i], odd[i])};
        memcpy(numbers + i * 2 * LANES, rows, sizeof rows);
    }
}

/* The halves of the 64-bit products of each lane with a constant. */
static inline void multiply(words x, uint32_t constant, words *low, words *high) {
#ifdef __AVX512F__ /* compilers make full 64-bit multiplications of the general form, three times as slow */
    const __mmask16 odd_lanes = 0xAAAA;
    const __m512i factor = _mm512_set1_epi64((long long)constant);
    const __m512i even = _mm512_mul_epu32((__m512i)x, factor);
    const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64((__m512i)x, 32), factor);
    *low = (words)_mm512_mask_mov_epi32(even, odd_lanes, _mm512_slli_epi64(odd, 32));
    *high = (words)_mm512_mask_mov_epi32(_mm512_srli_epi64(even, 32), odd_lanes, odd);
#else
    const wide_words product = __builtin_convertvector(x, wide_words) * constant;
    *low = __builtin_convertvector(product, words);
    *high = __builtin_convertvector(product >> 32, words);
#endif
}

/* Philox4x32-10 (Salmon et al., SC'11) of the counters (a, b), (a, b + 1), ...; the key is dl_rng_4x32's. */
static inline void philox_lanes(const dl_dropout *dropout, uint64_t a, uint64_t b, uint32_t *numbers) {
    const wide_words lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const wide_words counter = lane + b;
    uint32_t key_0 = (uint32_t)dropout->seed;
    uint32_t key_1 = (uint32_t)(dropout->seed >> 32) ^ (dropout->purpose * 0x9E3779B9U);
    words c0 = (words){0} + (uint32_t)a;
    words c1 = (words){0} + (uint32_t)(a >> 32);
    words c2 = __builtin_convertvector(counter, words);
    words c3 = __builtin_convertvector(counter >> 32, words);
    for (int round = 0; round < ROUNDS; round++) {
        words low_0, high_0, low_2, high_2;
        multiply(c0, 0xD2511F53U, &low_0, &high_0);
        multiply(c2, 0xCD9E8D57U, &low_2, &high_2);
        c0 = high_2 ^ c1 ^ key_0;
        c1 = low_2;
        c2 = high_0 ^ c3 ^ key_1;
        c3 = low_0;
        key_0 += 0x9E3779B9U;
        key_1 += 0xBB67AE85U;
    }
    store_by_lane(c0, c1, c2, c3, numbers);
}

/* dl_dropout_element for some elements, without 64-bit comparisons, which compilers do not turn into vectors.
 */
static void keep(const dl_dropout *dropout, const uint32_t *numbers, const float *x, float *y, int64_t n) {
    const uint32_t last_dropped = (uint32_t)(dropout->threshold - 1);
    const bool all = dropout->threshold == 0;
    const float scale = dropout->scale;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const float kept = x[i] * scale;
        y[i] = ((numbers[i] > last_dropped) | all) ? kept : 0.0F;
    }
}

static void drop(const dl_dropout *dropout, int64_t step, int64_t id, int64_t first, int64_t n,
                 const float *x, float *y) {
    int64_t skipped = first % 4; /* numbers of the first call that belong to elements before */
    for (int64_t done = 0; done < n;) {
        uint32_t numbers[NUMBERS];
        const int64_t room = NUMBERS - skipped, count = n - done < room ? n - done : room;
        philox_lanes(dropout, (uint64_t)step, dl_dropout_counter(id, (first + done) / 4), numbers);
        keep(dropout, numbers + skipped, x + done, y + done, count);
        done += count;
        skipped = 0;
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
    const dl_dropout_attr *attr = &desc->attr.u.dropout;
    const dl_dropout dropout = dl_dropout_of(attr);
    const dl_shape *shape = &desc->slot[0].shape;
    const int64_t last = shape->dim[shape->n_dims - 1];
    const int64_t *ids = slots[1];
    const dl_step_block *step = slots[2];
    for (int64_t i = items.begin; i < items.end; i++) {
        dl_dropout_sample(attr, drop, &dropout, step->step, ids[i], n, last, x + i * n, y + i * n);
    }
}
