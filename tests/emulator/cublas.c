/* What the plugin calls of cuBLASLt: products one element at a time. Like the library it has no algorithm
 * with an epilogue for some sizes (odd ones, here), wants a workspace, and addresses as aligned as it was
 * promised. */
#include "emulator.h"
#include "numbers.h"

#include <cublasLt.h>
#include <stdlib.h>

enum { WORKSPACE_BYTES = 192 };

typedef struct product {
    cublasOperation_t operation[2]; /* of a, b */
    cublasLtEpilogue_t epilogue;
    void *bias;
} product;

typedef struct matrix {
    dl_dtype dtype;
    int64_t rows, columns, ld;
} matrix;

typedef struct preference {
    uint32_t alignment;
} preference;

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t sums,
                                        cudaDataType_t scale) {
    product *p = calloc(1, sizeof *p);
    (void)sums;
    (void)scale;
    *out = (cublasLtMatmulDesc_t)(void *)p;
    return p == NULL ? CUBLAS_STATUS_ALLOC_FAILED : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
    free(desc);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t attribute, const void *value,
                                              size_t n_bytes) {
    product *p = (product *)(void *)desc;
    void *to = attribute == CUBLASLT_MATMUL_DESC_TRANSA         ? (void *)&p->operation[0]
               : attribute == CUBLASLT_MATMUL_DESC_TRANSB       ? (void *)&p->operation[1]
               : attribute == CUBLASLT_MATMUL_DESC_EPILOGUE     ? (void *)&p->epilogue
               : attribute == CUBLASLT_MATMUL_DESC_BIAS_POINTER ? (void *)&p->bias
                                                                : NULL;
    if (to == NULL) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    memcpy(to, value, n_bytes);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType_t type, uint64_t rows,
                                          uint64_t columns, int64_t ld) {
    matrix *m = calloc(1, sizeof *m);
    *out = (cublasLtMatrixLayout_t)(void *)m;
    if (m == NULL || (type != CUDA_R_32F && type != CUDA_R_16BF && type != CUDA_R_16F) ||
        ld < (int64_t)rows) {
        free(m);
        *out = NULL;
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    *m = (matrix){type == CUDA_R_16BF  ? DL_BF16
                  : type == CUDA_R_16F ? DL_F16
                                       : DL_F32,
                  (int64_t)rows, (int64_t)columns, ld};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
    free(layout);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out) {
    preference *p = calloc(1, sizeof *p);
    *out = (cublasLtMatmulPreference_t)(void *)p;
    return p == NULL ? CUBLAS_STATUS_ALLOC_FAILED : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t desc) {
    free(desc);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t desc,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void *value, size_t n_bytes) {
    if (attribute == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES) {
        memcpy(&((preference *)(void *)desc)->alignment, value, n_bytes);
    }
    return CUBLAS_STATUS_SUCCESS;
}

static bool fits(const product *p, const matrix *a, const matrix *b, const matrix *d) {
    const int64_t m = p->operation[0] == CUBLAS_OP_N ? a->rows : a->columns,
                  k = p->operation[0] == CUBLAS_OP_N ? a->columns : a->rows,
                  l = p->operation[1] == CUBLAS_OP_N ? b->rows : b->columns,
                  n = p->operation[1] == CUBLAS_OP_N ? b->columns : b->rows;
    return m == d->rows && n == d->columns && k == l && m > 0 && n > 0 && k > 0;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t wish, int n_wanted,
                                              cublasLtMatmulHeuristicResult_t out[], int *n) {
    const product *p = (const product *)(void *)desc;
    (void)handle;
    (void)c;
    *n = 0;
    if (n_wanted < 1 ||
        !fits(p, (const matrix *)(void *)a, (const matrix *)(void *)b, (const matrix *)(void *)d)) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (p->epilogue != CUBLASLT_EPILOGUE_DEFAULT && ((const matrix *)(void *)d)->rows % 2 != 0) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    out[0] =
        (cublasLtMatmulHeuristicResult_t){.workspaceSize = WORKSPACE_BYTES, .state = CUBLAS_STATUS_SUCCESS};
    out[0].algo.data[0] = ((const preference *)(void *)wish)->alignment;
    *n = 1;
    return CUBLAS_STATUS_SUCCESS;
}

static double element(const matrix *m, cublasOperation_t operation, const void *memory, int64_t i,
                      int64_t j) {
    const int64_t row = operation == CUBLAS_OP_N ? i : j, column = operation == CUBLAS_OP_N ? j : i;
    return number_at(memory, row + column * m->ld, m->dtype);
}

static double finished(const product *p, const matrix *d, double sum, int64_t row) {
    const bool biased = p->epilogue == CUBLASLT_EPILOGUE_BIAS || p->epilogue == CUBLASLT_EPILOGUE_RELU_BIAS;
    const bool relu = p->epilogue == CUBLASLT_EPILOGUE_RELU || p->epilogue == CUBLASLT_EPILOGUE_RELU_BIAS;
    sum += biased ? number_at(p->bias, row, d->dtype) : 0.0;
    return relu && sum < 0.0 ? 0.0 : sum;
}

static void multiply(const product *p, const matrix *ma, const void *a, const matrix *mb, const void *b,
                     double beta, const matrix *md, void *d) {
    const int64_t inner = p->operation[0] == CUBLAS_OP_N ? ma->columns : ma->rows;
    for (int64_t column = 0; column < md->columns; column++) {
        double gradient = 0.0;
        for (int64_t row = 0; row < md->rows; row++) {
            const int64_t at = row + column * md->ld;
            double sum = beta != 0.0 ? beta * number_at(d, at, md->dtype) : 0.0;
            for (int64_t k = 0; k < inner; k++) {
                sum += element(ma, p->operation[0], a, row, k) * element(mb, p->operation[1], b, k, column);
            }
            set_number(d, at, md->dtype, finished(p, md, sum, row));
        }
        for (int64_t k = 0; k < inner && p->epilogue == CUBLASLT_EPILOGUE_BGRADB; k++) {
            gradient += element(mb, p->operation[1], b, k, column);
        }
        if (p->epilogue == CUBLASLT_EPILOGUE_BGRADB) {
            set_number(p->bias, column, md->dtype, gradient);
        }
    }
}

/* A product with all that it reads of the host. */
typedef struct matmul {
    product product;
    matrix a, b, d;
    const void *a_memory, *b_memory;
    double beta;
    void *d_memory, *workspace;
} matmul;

static void run_matmul(void *context) {
    const matmul *m = context;
    emulator_memory_open();
    memset(m->workspace, 0xff, WORKSPACE_BYTES);
    multiply(&m->product, &m->a, m->a_memory, &m->b, m->b_memory, m->beta, &m->d, m->d_memory);
    emulator_memory_close();
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t a_layout, const void *b,
                              cublasLtMatrixLayout_t b_layout, const void *beta, const void *c,
                              cublasLtMatrixLayout_t c_layout, void *d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t *algorithm, void *workspace, size_t n_bytes,
                              cudaStream_t stream) {
    const uintptr_t alignment = (uintptr_t)algorithm->data[0];
    (void)handle;
    (void)c_layout;
    if (*(const float *)alpha != 1.0F || c != d || n_bytes != WORKSPACE_BYTES || workspace == NULL ||
        (uintptr_t)workspace % 256 != 0 || ((uintptr_t)a | (uintptr_t)b | (uintptr_t)d) % alignment != 0) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    const matmul m = {.product = *(const product *)(void *)desc,
                      .a = *(const matrix *)(void *)a_layout,
                      .b = *(const matrix *)(void *)b_layout,
                      .d = *(const matrix *)(void *)d_layout,
                      .a_memory = a,
                      .b_memory = b,
                      .beta = (double)*(const float *)beta,
                      .d_memory = d,
                      .workspace = workspace};
    emulator_submit(stream, run_matmul, &m, sizeof m);
    return CUBLAS_STATUS_SUCCESS;
}
