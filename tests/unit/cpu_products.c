/* Products of matrices: each element is one chain of multiply-adds in ascending order, to the bit, however
 * the sides lie, whatever is copied and however the rows are divided; nothing beside the result is written.
 */
#include "cpu_kit.h"

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/loops/loops.h"

enum { BEYOND = 64 }; /* floats behind each array that stay as they are, NaN */

typedef struct sides {
    int64_t rows, n, k;
    bool columns, packed, start; /* a lies as columns; b in panels; sums begin with something */
} sides;

static float *array(int64_t n) {
    float *x = NULL;
    assert_int_equal(dl_alloc((size_t)(n + BEYOND), sizeof *x, &x), DL_OK);
    for (int64_t i = 0; i < n + BEYOND; i++) {
        x[i] = NAN;
    }
    return x;
}

static float *filled(int64_t n, uint32_t seed) {
    float *x = array(n);
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525U + 1013904223U;
        x[i] = (float)(seed >> 8) * 0x1p-23F - 1.0F;
    }
    return x;
}

static void assert_nothing_behind(const float *x, int64_t n) {
    for (int64_t i = n; i < n + BEYOND; i++) {
        assert_true(isnan(x[i]));
    }
}

static dl_cpu_matrices matrices_of(const sides *z) {
    dl_cpu_matrices m = {.n = z->n, .k = z->k, .a_row = z->k, .a_step = 1, .b_step = z->n, .c_row = z->n};
    m.b_panel = DL_CPU_PANEL;
    if (z->columns) {
        m.a_row = 1;
        m.a_step = z->rows;
    }
    if (z->packed) {
        m.b_step = DL_CPU_PANEL;
        m.b_panel = z->k * DL_CPU_PANEL;
    }
    return m;
}

static float element_of_b(const dl_cpu_matrices *m, int64_t k, int64_t column) {
    return m->b[column / DL_CPU_PANEL * m->b_panel + k * m->b_step + column % DL_CPU_PANEL];
}

static float chain(const dl_cpu_matrices *m, int64_t row, int64_t column) {
    float sum = m->start != NULL ? m->start[column] : 0.0F;
    for (int64_t k = 0; k < m->k; k++) {
        sum = fmaf(m->a[row * m->a_row + k * m->a_step], element_of_b(m, k, column), sum);
    }
    return sum;
}

static void assert_chains(const dl_cpu_matrices *m, int64_t rows) {
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t column = 0; column < m->n; column += column < m->n - 70 ? 31 : 1) {
            const float expected = chain(m, row, column);
            assert_memory_equal(&m->c[row * m->c_row + column], &expected, sizeof expected);
        }
    }
}

static void assert_sums(const dl_cpu_matrices *m, int64_t rows) {
    for (int64_t row = 0; row < rows; row++) {
        double sum = 0;
        for (int64_t k = 0; k < m->k; k++) {
            sum += (double)m->a[row + k * m->a_step];
        }
        assert_true(fabs((double)m->sums[row] - sum) <= 2e-6 * (double)m->k);
    }
}

static void multiply_and_compare(const sides *z, int n_parts, bool with_room) {
    dl_cpu_matrices m = matrices_of(z);
    const int64_t n_panels = (z->n + DL_CPU_PANEL - 1) / DL_CPU_PANEL;
    const int64_t b_size = z->packed ? n_panels * m.b_panel : z->k * z->n;
    float *a = filled(z->rows * z->k, 1), *b = filled(b_size, 2), *start = filled(z->n, 3);
    float *c = array(z->rows * z->n), *sums = array(z->rows), *room = NULL;
    m.a = a, m.b = b, m.c = c;
    m.start = z->start ? start : NULL;
    m.sums = z->columns ? sums : NULL;
    const int64_t room_size = dl_cpu_room_of_a(&m) + dl_cpu_room_of_b(&m, z->rows);
    if (with_room && room_size > 0) {
        room = m.room = array(room_size);
    }
    for (int i = 0; i < n_parts; i++) {
        dl_cpu_loops_best()->matrix_product(&m, dl_range_part(z->rows, n_parts, i));
    }
    assert_chains(&m, z->rows);
    assert_nothing_behind(c, z->rows * z->n);
    assert_nothing_behind(sums, z->columns ? z->rows : 0);
    if (z->columns) {
        assert_sums(&m, z->rows);
    }
    if (room != NULL) {
        assert_nothing_behind(room, room_size);
    }
    dl_free(&a), dl_free(&b), dl_free(&start), dl_free(&c), dl_free(&sums), dl_free(&room);
}

static void multiply_all_ways(sides z) {
    for (int way = 0; way < 4; way++) {
        z.columns = (way & 1) != 0;
        z.packed = (way & 2) != 0;
        multiply_and_compare(&z, 1, true);
        multiply_and_compare(&z, 3, true);
        multiply_and_compare(&z, 1, false);
    }
}

/* Sizes on both sides of each limit: of tiles, panels, blocks, of what is copied together and what not at
 * all. */
static void products_are_chains(void **state) {
    (void)state;
    static const sides all[] = {
        {.rows = 1, .n = 32, .k = 1},      {.rows = 7, .n = 33, .k = 159},
        {.rows = 47, .n = 64, .k = 161},   {.rows = 49, .n = 81, .k = 320, .start = true},
        {.rows = 97, .n = 128, .k = 801},  {.rows = 200, .n = 130, .k = 40, .start = true},
        {.rows = 193, .n = 257, .k = 805}, {.rows = 50, .n = 1090, .k = 33},
        {.rows = 48, .n = 272, .k = 1700}, {.rows = 385, .n = 300, .k = 161, .start = true},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0] && dl_cpu_loops_best()->matrix_product != NULL; i++) {
        multiply_all_ways(all[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(products_are_chains)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
