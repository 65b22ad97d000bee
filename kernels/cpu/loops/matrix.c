/* Products of matrices in registers: a tile of 6 rows by 64 columns is 24 sums in vectors of 16, which hide
 * the latency of multiply-add on two ports, beside four vectors of b and one element of a. That is the scheme
 * of Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (ACM TOMS 34, 2008), without
 * copies of a: with two vector loads a cycle it reads a where it lies, rows or columns.
 *
 * Written here, beside oneDNN, for three reasons. Gradients of inputs and weights need no copies in layouts
 * of their own: weights are read and their gradients written as they lie in the arenas. With many outputs
 * oneDNN 2.6 (brgemm_bwd_d) takes 1.6 times as long for the inputs' gradient (700 x 650 of 10,000 outputs,
 * Zen 5). And every sum is one chain of multiply-adds in ascending order whatever the number of rows, blocks
 * or threads: rows keep their bits. Forwards both are equally fast. */
#include "kernels/cpu/loops/isa.h"

#ifdef __AVX512F__

#include <immintrin.h>
#include <string.h>

enum { TILE_ROWS = 6, VECTORS = DL_CPU_PANEL / DL_CPU_LANES };
/* A block of a panel lies in the nearest cache (40 KB), those parts of rows (columns) of a that it meets in
 * the next one. b's lines are fetched so many steps ahead. */
enum { BLOCK_STEPS = 160, BLOCKS_TOGETHER = 5, ROWS_TOGETHER = 192, COLUMNS_TOGETHER = 96, AHEAD = 32 };
enum { ROWS_WORTH_A_COPY = 48 };

/* How b lies: as a plain matrix, copied to a block of its own, in packed panels. */
typedef enum form { PLAIN, COPIED, PACKED } form;

/* A tile: where its part of a, b and c begins, how many products each sum gets, and what the sums are before.
 */
typedef struct tile {
    const float *a, *b, *start;
    float *c;
    int64_t steps;
    bool first;     /* of its sums: they begin with `start` or zero, else they go on from c */
    __mmask16 last; /* the columns of the last vector that exist */
} tile;

static inline __attribute__((always_inline)) __m512 sum_before(const tile *t, int64_t c_row, int row,
                                                               int vector, __mmask16 mask) {
    if (!t->first) {
        return _mm512_maskz_loadu_ps(mask, t->c + row * c_row + vector * DL_CPU_LANES);
    }
    return t->start == NULL ? _mm512_setzero_ps()
                            : _mm512_maskz_loadu_ps(mask, t->start + vector * DL_CPU_LANES);
}

/* The last three are constants where it is inlined, so that all sums stay in registers. Packed panels come
 * from far away, each once: they are fetched ahead. */
static inline __attribute__((always_inline)) void multiply(const dl_cpu_matrices *m, const tile *t, int rows,
                                                           int vectors, form b_form) {
    __m512 sum[TILE_ROWS][VECTORS], of_b[VECTORS];
    const float *a = t->a, *b = t->b;
    const int64_t a_row = m->a_row, a_step = m->a_step, b_step = b_form == PLAIN ? m->b_step : DL_CPU_PANEL,
                  c_row = m->c_row;
    const __mmask16 all = (__mmask16)0xFFFF, last = t->last;
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            sum[r][v] = sum_before(t, c_row, r, v, v == vectors - 1 ? last : all);
        }
    }
    for (int64_t k = 0; k < t->steps; k++, a += a_step, b += b_step) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            of_b[v] = _mm512_maskz_loadu_ps(v == vectors - 1 ? last : all, b + v * DL_CPU_LANES);
            if (b_form == PACKED) {
                _mm_prefetch((const char *)(b + AHEAD * DL_CPU_PANEL + v * DL_CPU_LANES), _MM_HINT_T0);
            }
        }
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            const __m512 of_a = _mm512_set1_ps(a[r * a_row]);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) {
                sum[r][v] = _mm512_fmadd_ps(of_a, of_b[v], sum[r][v]);
            }
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            _mm512_mask_storeu_ps(t->c + r * c_row + v * DL_CPU_LANES, v == vectors - 1 ? last : all,
                                  sum[r][v]);
        }
    }
}

/* One function for each size of a tile, in tables by rows and vectors. */
typedef void (*tile_function)(const dl_cpu_matrices *m, const tile *t);

#define TILE(form, rows, vectors, kind)                                                                      \
    static void form##_##rows##x##vectors(const dl_cpu_matrices *m, const tile *t) {                         \
        multiply(m, t, rows, vectors, kind);                                                                 \
    }
#define TILES(form, rows, kind)                                                                              \
    TILE(form, rows, 1, kind)                                                                                \
    TILE(form, rows, 2, kind) TILE(form, rows, 3, kind) TILE(form, rows, 4, kind)
#define FORM(form, kind)                                                                                     \
    TILES(form, 1, kind)                                                                                     \
    TILES(form, 2, kind) TILES(form, 3, kind) TILES(form, 4, kind) TILES(form, 5, kind) TILES(form, 6, kind)
#define ENTRIES(form, rows)                                                                                  \
    { form##_##rows##x1, form##_##rows##x2, form##_##rows##x3, form##_##rows##x4 }
#define TABLE(form)                                                                                          \
    {                                                                                                        \
        ENTRIES(form, 1), ENTRIES(form, 2), ENTRIES(form, 3), ENTRIES(form, 4), ENTRIES(form, 5),            \
            ENTRIES(form, 6)                                                                                 \
    }

FORM(plain, PLAIN)
FORM(copied, COPIED)
FORM(packed, PACKED)
static const tile_function tiles[3][TILE_ROWS][VECTORS] = {TABLE(plain), TABLE(copied), TABLE(packed)};

static int64_t at_most(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* One panel of columns, one block of steps, some rows. */
static void multiply_block(const dl_cpu_matrices *m, int64_t panel, dl_range steps, dl_range rows) {
    const int64_t column = panel * DL_CPU_PANEL, width = at_most(m->n - column, DL_CPU_PANEL);
    const int64_t vectors = (width + DL_CPU_LANES - 1) / DL_CPU_LANES;
    const int64_t in_last = width - (vectors - 1) * DL_CPU_LANES;
    const bool packed = m->b_step == DL_CPU_PANEL;
    const bool copied = m->b_step % DL_CPU_LANES != 0 && rows.end - rows.begin >= ROWS_WORTH_A_COPY;
    _Alignas(DL_CPU_PANEL) float copy[BLOCK_STEPS * DL_CPU_PANEL];
    tile t = {.b = m->b + panel * m->b_panel + steps.begin * m->b_step,
              .start = m->start == NULL ? NULL : m->start + column,
              .steps = steps.end - steps.begin,
              .first = steps.begin == 0,
              .last = (__mmask16)((1U << in_last) - 1U)};
    if (copied) { /* each load of a row that does not begin with a cache line takes two */
        for (int64_t k = 0; k < t.steps; k++) {
            memcpy(copy + k * DL_CPU_PANEL, t.b + k * m->b_step, (size_t)width * sizeof *copy);
        }
        t.b = copy;
    }
    for (int64_t row = rows.begin; row < rows.end; row += TILE_ROWS) {
        t.a = m->a + row * m->a_row + steps.begin * m->a_step;
        t.c = m->c + row * m->c_row + column;
        tiles[packed ? 2 : copied][at_most(rows.end - row, TILE_ROWS) - 1][vectors - 1](m, &t);
    }
}

void DL_ISA(matrix_product)(const dl_cpu_matrices *m, dl_range rows) {
    const int64_t n_panels = (m->n + DL_CPU_PANEL - 1) / DL_CPU_PANEL;
    const int64_t together = m->a_step == 1 ? ROWS_TOGETHER : COLUMNS_TOGETHER;
    const int64_t n_blocks = (m->k + BLOCK_STEPS - 1) / BLOCK_STEPS;
    for (int64_t first = 0; first < n_blocks; first += BLOCKS_TOGETHER) {
        const int64_t behind = at_most(first + BLOCKS_TOGETHER, n_blocks);
        for (int64_t row = rows.begin; row < rows.end; row += together) {
            const dl_range some = {row, at_most(row + together, rows.end)};
            for (int64_t panel = 0; panel < n_panels; panel++) {
                for (int64_t block = first; block < behind; block++) {
                    multiply_block(m, panel, dl_range_part(m->k, n_blocks, block), some);
                }
            }
        }
    }
}

#endif

/* Four rows at a time: an addition to memory for four. */
void DL_ISA(column_sums)(const float *x, int64_t n_rows, int64_t row, float *sums, dl_range columns) {
    int64_t r = 0;
    for (int64_t j = columns.begin; j < columns.end; j++) {
        sums[j] = 0.0F;
    }
    for (; r + 4 <= n_rows; r += 4) {
        const float *from = x + r * row;
#pragma omp simd
        for (int64_t j = columns.begin; j < columns.end; j++) {
            sums[j] += (from[j] + from[row + j]) + (from[2 * row + j] + from[3 * row + j]);
        }
    }
    for (; r < n_rows; r++) {
        for (int64_t j = columns.begin; j < columns.end; j++) {
            sums[j] += x[r * row + j];
        }
    }
}
