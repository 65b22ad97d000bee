/* The peak that speeds are stated against: the best time of a square single-precision matrix product by
 * oneDNN.
 *
 *     sgemm_peak [N = 2048] [REPEATS = 10]        prints one JSON line; threads: OMP_NUM_THREADS */
#define _POSIX_C_SOURCE 199309L

#include <oneapi/dnnl/dnnl.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *matrix(size_t n_elements, unsigned seed) {
    float *m = malloc(n_elements * sizeof *m);
    if (m) {
        for (size_t i = 0; i < n_elements; i++) {
            seed = seed * 1664525u + 1013904223u;
            m[i] = (float)(seed >> 8) / 16777216.0f - 0.5f;
        }
    }
    return m;
}

int main(int argc, char **argv) {
    const long n = argc > 1 ? atol(argv[1]) : 2048;
    const long repeats = argc > 2 ? atol(argv[2]) : 10;
    if (n < 1 || n > 32768 || repeats < 1) {
        fprintf(stderr, "usage: sgemm_peak [N] [REPEATS]\n");
        return 2;
    }
    const size_t n_elements = (size_t)n * (size_t)n;
    float *a = matrix(n_elements, 1), *b = matrix(n_elements, 2), *c = matrix(n_elements, 3);
    double best = 1e30;
    dnnl_status_t status = a && b && c ? dnnl_success : dnnl_out_of_memory;
    for (long i = 0; i < repeats && status == dnnl_success; i++) {
        const double start = now();
        status = dnnl_sgemm('N', 'N', n, n, n, 1.0f, a, n, b, n, 0.0f, c, n);
        const double seconds = now() - start;
        best = seconds < best ? seconds : best;
    }
    free(a);
    free(b);
    free(c);
    if (status != dnnl_success) {
        fprintf(stderr, "sgemm_peak: dnnl_sgemm returned %d\n", (int)status);
        return 1;
    }
    const double flop = 2.0 * (double)n * (double)n * (double)n;
    printf("{\"n\": %ld, \"ms\": %.3f, \"gflops\": %.1f}\n", n, best * 1e3, flop / best * 1e-9);
    return 0;
}
