/* Products of matrices in registers: a tile of 6 rows by 64 columns is 24 sums in vectors of 16, which hide
 * the latency of multiply-add on two ports, beside four vectors of b and one element of a. That is the scheme
 * of Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (ACM TOMS 34, 2008), but rows
 * of a are read where they lie: with two vector loads a cycle they need no copy. What would be read across
 * the lines of the caches is copied, once for many rows: columns of a, and panels of b that are not packed.
 *
 * Written here, beside oneDNN, for three reasons. Gradients of inputs and weights need no layouts of their
 * own: weights are read and their gradients written as they lie in the arenas. With many outputs oneDNN 2.6
 * (brgemm_bwd_d) takes 1.6 times as long for the inputs' gradient (700 x 650 of 10,000 outputs, Zen 5). And
 * every sum is one chain of multiply-adds in ascending order whatever the number of rows, blocks or threads:
 * rows keep their bits. Forwards both are equally fast. */
#include "kernels/cpu/loops/isa.h"

#ifdef __AVX512F__

#include <immintrin.h>
#include <string.h>

enum { TILE_ROWS = 6, VECTORS = DL_CPU_PANEL / DL_CPU_LANES };
/* A block of a panel lies in the nearest cache (40 KB), those parts of rows of a that it meets in the next
 * one. b's lines are fetched so many steps ahead. */
enum { BLOCKS_TOGETHER = 5, BLOCK_STEPS = DL_CPU_STEPS_TOGETHER / BLOCKS_TOGETHER, AHEAD = 32 };
/* Columns of a that stay where they are go together in fewer. */
enum { COLUMNS_TOGETHER = 96 };

/* How b lies: as a plain matrix, in packed panels. */
typedef enum form { PLAIN, PACKED } form;

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
FORM(packed, PACKED)
static const tile_function tiles[2][TILE_ROWS][VECTORS] = {TABLE(plain), TABLE(packed)};

static int64_t at_most(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t n_blocks_of(const dl_cpu_matrices *m) {
    return (m->k + BLOCK_STEPS - 1) / BLOCK_STEPS;
}

static dl_range steps_of(const dl_cpu_matrices *m, dl_range blocks) {
    return (dl_range){dl_range_part(m->k, n_blocks_of(m), blocks.begin).begin,
                      dl_range_part(m->k, n_blocks_of(m), blocks.end - 1).end};
}

/* One panel of columns, one block of steps, some rows. */
static void multiply_block(const dl_cpu_matrices *m, int64_t panel, dl_range steps, dl_range rows) {
    const int64_t column = panel * DL_CPU_PANEL, width = at_most(m->n - column, DL_CPU_PANEL);
    const int64_t vectors = (width + DL_CPU_LANES - 1) / DL_CPU_LANES;
    const int64_t in_last = width - (vectors - 1) * DL_CPU_LANES;
    const form b_form = m->b_step == DL_CPU_PANEL ? PACKED : PLAIN;
    tile t = {.b = m->b + panel * m->b_panel + steps.begin * m->b_step,
              .start = m->start == NULL ? NULL : m->start + column,
              .steps = steps.end - steps.begin,
              .first = steps.begin == 0,
              .last = (__mmask16)((1U << in_last) - 1U)};
    const int64_t n_rows = rows.end - rows.begin, n_tiles = (n_rows + TILE_ROWS - 1) / TILE_ROWS;
    for (int64_t i = 0; i < n_tiles; i++) { /* 20 rows are 4 x 5: two rows alone hide no latency */
        const dl_range part = dl_range_part(n_rows, n_tiles, i);
        t.a = m->a + (rows.begin + part.begin) * m->a_row + steps.begin * m->a_step;
        t.c = m->c + (rows.begin + part.begin) * m->c_row + column;
        tiles[b_form][part.end - part.begin - 1][vectors - 1](m, &t);
    }
}

/* Some steps of some panels of b, one panel after the other, to where the result has them. */
static dl_cpu_matrices with_packed_panels(const dl_cpu_matrices *m, dl_range panels, dl_range steps) {
    float *to = m->room + dl_cpu_room_of_a(m);
    dl_cpu_matrices packed = *m;
    packed.b_step = DL_CPU_PANEL;
    packed.b_panel = (steps.end - steps.begin) * DL_CPU_PANEL;
    packed.b = to - panels.begin * packed.b_panel - steps.begin * packed.b_step;
    for (int64_t panel = panels.begin; panel < panels.end; panel++) {
        const int64_t width = at_most(m->n - panel * DL_CPU_PANEL, DL_CPU_PANEL);
        const float *from = m->b + panel * m->b_panel;
        for (int64_t k = steps.begin; k < steps.end; k++, to += DL_CPU_PANEL) {
            memcpy(to, from + k * m->b_step, (size_t)width * sizeof *to);
        }
    }
    return packed;
}

enum { VECTORS_TOGETHER = DL_CPU_ROWS_TOGETHER / DL_CPU_LANES };

static void lanes_of(int64_t n, __mmask16 mask[VECTORS_TOGETHER]) {
    for (int v = 0; v < VECTORS_TOGETHER; v++) {
        const int64_t left = n - v * DL_CPU_LANES;
        mask[v] = left >= DL_CPU_LANES ? (__mmask16)0xFFFF : left > 0 ? (__mmask16)((1U << left) - 1U) : 0;
    }
}

/* With some columns of a beside each other; adds their steps to their sums on the way. */
static dl_cpu_matrices with_columns(const dl_cpu_matrices *m, dl_range rows, dl_range steps, float *sums) {
    float *to = m->room;
    dl_cpu_matrices copied = *m;
    __m512 sum[VECTORS_TOGETHER];
    __mmask16 mask[VECTORS_TOGETHER];
    lanes_of(rows.end - rows.begin, mask);
#pragma GCC unroll 12
    for (int v = 0; v < VECTORS_TOGETHER; v++) {
        sum[v] = sums != NULL && steps.begin > 0
                     ? _mm512_maskz_loadu_ps(mask[v], sums + rows.begin + v * DL_CPU_LANES)
                     : _mm512_setzero_ps();
    }
    for (int64_t k = steps.begin; k < steps.end; k++, to += DL_CPU_ROWS_TOGETHER) {
        const float *from = m->a + rows.begin + k * m->a_step;
#pragma GCC unroll 12
        for (int v = 0; v < VECTORS_TOGETHER; v++) {
            const __m512 x = _mm512_maskz_loadu_ps(mask[v], from + v * DL_CPU_LANES);
            _mm512_storeu_ps(to + v * DL_CPU_LANES, x);
            sum[v] = _mm512_add_ps(sum[v], x);
        }
    }
#pragma GCC unroll 12
    for (int v = 0; v < VECTORS_TOGETHER && sums != NULL; v++) {
        _mm512_mask_storeu_ps(sums + rows.begin + v * DL_CPU_LANES, mask[v], sum[v]);
    }
    copied.a_step = DL_CPU_ROWS_TOGETHER;
    copied.a = m->room - rows.begin - steps.begin * copied.a_step;
    return copied;
}

/* The same sums where nothing is copied: in the order of memory, which brings a near for the products. */
static void add_steps(const dl_cpu_matrices *m, dl_range rows, dl_range steps, float *sums) {
    if (steps.begin == 0) {
        memset(sums + rows.begin, 0, (size_t)(rows.end - rows.begin) * sizeof *sums);
    }
    for (int64_t k = steps.begin; k < steps.end; k++) {
        const float *from = m->a + k * m->a_step;
#pragma omp simd
        for (int64_t i = rows.begin; i < rows.end; i++) {
            sums[i] += from[i];
        }
    }
}

static bool copies_columns(const dl_cpu_matrices *m) {
    return m->room != NULL && dl_cpu_worth_copying(m);
}

/* Some blocks and panels of a group of rows. */
static void multiply_group(const dl_cpu_matrices *m, dl_range blocks, dl_range panels, dl_range rows) {
    for (int64_t panel = panels.begin; panel < panels.end; panel++) {
        for (int64_t block = blocks.begin; block < blocks.end; block++) {
            multiply_block(m, panel, dl_range_part(m->k, n_blocks_of(m), block), rows);
        }
    }
}

/* Some blocks and panels by groups of rows. */
static void multiply_part(const dl_cpu_matrices *m, dl_range blocks, dl_range panels, dl_range rows,
                          float *sums) {
    const bool copies = copies_columns(m);
    const int64_t together = m->a_row != 1 || copies ? DL_CPU_ROWS_TOGETHER : COLUMNS_TOGETHER;
    if (sums != NULL && !copies) {
        add_steps(m, rows, steps_of(m, blocks), sums);
    }
    for (int64_t row = rows.begin; row < rows.end; row += together) {
        const dl_range group = {row, at_most(row + together, rows.end)};
        dl_cpu_matrices now = *m;
        if (copies) {
            now = with_columns(m, group, steps_of(m, blocks), sums);
        }
        multiply_group(&now, blocks, panels, group);
    }
}

void DL_ISA(matrix_product)(const dl_cpu_matrices *m, dl_range rows) {
    const int64_t n_panels = (m->n + DL_CPU_PANEL - 1) / DL_CPU_PANEL, n_blocks = n_blocks_of(m);
    const bool packs = m->room != NULL && dl_cpu_worth_packing(m, rows.end - rows.begin);
    const int64_t panels_together = packs ? DL_CPU_PANELS_TOGETHER : n_panels;
    const int64_t blocks_together = m->sums != NULL && !copies_columns(m) ? 1 : BLOCKS_TOGETHER;
    for (int64_t block = 0; block < n_blocks; block += blocks_together) {
        const dl_range blocks = {block, at_most(block + blocks_together, n_blocks)};
        for (int64_t panel = 0; panel < n_panels; panel += panels_together) {
            const dl_range panels = {panel, at_most(panel + panels_together, n_panels)};
            const dl_cpu_matrices now = packs ? with_packed_panels(m, panels, steps_of(m, blocks)) : *m;
            multiply_part(&now, blocks, panels, rows, panel == 0 ? m->sums : NULL);
        }
    }
}

#endif
