#include "model/init.h"

#include "base/mem.h"
#include "base/rng.h"

#include <math.h>

enum { BLOCK = 8 }; /* rows that share one pass over a triangle */

/* gram[i,j] += sum over the block's rows of a[r,i] a[r,j], j <= i */
static void add_to_gram(const double *a, int64_t n_rows, int64_t n, double *gram) {
    for (int64_t i = 0; i < n; i++) {
        double *row = gram + i * n;
        for (int64_t r = 0; r < n_rows; r++) {
            const double factor = a[r * n + i], *other = a + r * n;
#pragma omp simd
            for (int64_t j = 0; j <= i; j++) {
                row[j] += factor * other[j];
            }
        }
    }
}

static double dot(const double *a, const double *b, int64_t n) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t k = 0; k < n; k++) {
        sum += a[k] * b[k];
    }
    return sum;
}

/* gram = L L^T, L in the place of its lower triangle. */
static void factorise(double *gram, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j <= i; j++) {
            const double rest = gram[i * n + j] - dot(gram + i * n, gram + j * n, j);
            gram[i * n + j] = i == j ? sqrt(rest) : rest / gram[j * n + j];
        }
    }
}

/* Rows q with q L^T = a, in the place of a. */
static void solve(double *a, int64_t n_rows, int64_t n, const double *lower) {
    for (int64_t j = 0; j < n; j++) {
        for (int64_t r = 0; r < n_rows; r++) {
            double *row = a + r * n;
            row[j] = (row[j] - dot(row, lower + j * n, j)) / lower[j * n + j];
        }
    }
}

dl_status dl_init_orthogonal(uint64_t seed, uint64_t number, int64_t rows, int64_t columns, float *out) {
    double *a = NULL, *gram = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)(rows * columns), sizeof *a, &a));
    const dl_status status = dl_alloc((size_t)(columns * columns), sizeof *gram, &gram);
    if (status != DL_OK) {
        dl_free(&a);
        return status;
    }
    for (int64_t i = 0; i < rows * columns; i++) {
        a[i] = dl_rng_normal(seed, DL_RNG_INIT, (uint64_t)i, number);
    }
    for (int64_t r = 0; r < rows; r += BLOCK) {
        add_to_gram(a + r * columns, rows - r < BLOCK ? rows - r : BLOCK, columns, gram);
    }
    factorise(gram, columns);
    for (int64_t r = 0; r < rows; r += BLOCK) {
        solve(a + r * columns, rows - r < BLOCK ? rows - r : BLOCK, columns, gram);
    }
    for (int64_t i = 0; i < rows * columns; i++) {
        out[i] = (float)a[i];
    }
    dl_free(&a);
    dl_free(&gram);
    return DL_OK;
}
