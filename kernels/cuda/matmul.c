#include "kernels/cuda/matmul.h"

#include "base/mem.h"

#include <inttypes.h>

/* What cuBLAS takes for its own on Hopper (32 MiB). */
static const size_t workspace_limit = (size_t)32 << 20;

struct dl_matmul {
    cublasLtHandle_t blas; /* the device's */
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, d;
    cublasLtMatmulAlgo_t algorithm;
    size_t workspace_bytes;
    bool has_bias;
};

static cudaDataType_t type_of(dl_dtype dtype) {
    switch (dtype) {
    case DL_BF16:
        return CUDA_R_16BF;
    case DL_F16:
        return CUDA_R_16F;
    default:
        return CUDA_R_32F;
    }
}

static cublasLtEpilogue_t epilogue_of(dl_matmul_epilogue epilogue) {
    switch (epilogue) {
    case DL_MATMUL_RELU:
        return CUBLASLT_EPILOGUE_RELU;
    case DL_MATMUL_BIAS:
        return CUBLASLT_EPILOGUE_BIAS;
    case DL_MATMUL_BIAS_RELU:
        return CUBLASLT_EPILOGUE_RELU_BIAS;
    case DL_MATMUL_BIAS_GRADIENT:
        return CUBLASLT_EPILOGUE_BGRADB; /* b is left (matmul_shape.h) */
    default:
        return CUBLASLT_EPILOGUE_DEFAULT;
    }
}

/* --- descriptors --- */

static dl_status set(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute, const void *value,
                     size_t n_bytes) {
    return DL_CUBLAS(cublasLtMatmulDescSetAttribute(desc, attribute, value, n_bytes));
}

static dl_status describe_product(dl_matmul *m, const dl_device *device, const dl_blas_product *product,
                                  dl_matmul_epilogue wanted, int64_t alignment) {
    const cublasOperation_t operation[] = {CUBLAS_OP_N, CUBLAS_OP_T};
    const cublasLtEpilogue_t epilogue = epilogue_of(wanted);
    const cublasComputeType_t sums = device->tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    DL_RETURN_IF_ERROR(DL_CUBLAS(cublasLtMatmulDescCreate(&m->desc, sums, CUDA_R_32F)));
    DL_RETURN_IF_ERROR(
        set(m->desc, CUBLASLT_MATMUL_DESC_TRANSA, &operation[product->a.transpose], sizeof operation[0]));
    DL_RETURN_IF_ERROR(
        set(m->desc, CUBLASLT_MATMUL_DESC_TRANSB, &operation[product->b.transpose], sizeof operation[0]));
    DL_RETURN_IF_ERROR(set(m->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
    m->has_bias = wanted >= DL_MATMUL_BIAS;
    /* only its alignment counts until the product runs */
    const void *address = m->has_bias ? (const void *)(uintptr_t)alignment : NULL;
    return set(m->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &address, sizeof(void *));
}

static dl_status describe_matrix(const dl_blas_matrix *matrix, dl_dtype dtype, cublasLtMatrixLayout_t *out) {
    return DL_CUBLAS(cublasLtMatrixLayoutCreate(out, type_of(dtype), (uint64_t)matrix->rows,
                                                (uint64_t)matrix->columns, matrix->ld));
}

/* --- the algorithm --- */

static dl_status set_preferences(cublasLtMatmulPreference_t preference, int64_t alignment) {
    static const cublasLtMatmulPreferenceAttributes_t alignments[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    const uint32_t n_bytes = (uint32_t)alignment;
    DL_RETURN_IF_ERROR(DL_CUBLAS(cublasLtMatmulPreferenceSetAttribute(
        preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace_limit, sizeof workspace_limit)));
    for (size_t i = 0; i < sizeof alignments / sizeof alignments[0]; i++) {
        DL_RETURN_IF_ERROR(DL_CUBLAS(
            cublasLtMatmulPreferenceSetAttribute(preference, alignments[i], &n_bytes, sizeof n_bytes)));
    }
    return DL_OK;
}

/* *found: the heuristics have an answer. All their algorithms add in an order of their own, the same each
 * time: none of cuBLASLt's ways to divide a sum (cublasLtReductionScheme_t) uses atomic additions. */
static dl_status ask(dl_matmul *m, cublasLtMatmulPreference_t preference, bool *found) {
    cublasLtMatmulHeuristicResult_t result = {.state = CUBLAS_STATUS_NOT_SUPPORTED};
    int n = 0;
    const cublasStatus_t code =
        cublasLtMatmulAlgoGetHeuristic(m->blas, m->desc, m->a, m->b, m->d, m->d, preference, 1, &result, &n);
    *found = code == CUBLAS_STATUS_SUCCESS && n == 1 && result.state == CUBLAS_STATUS_SUCCESS;
    m->algorithm = result.algo;
    m->workspace_bytes = *found ? result.workspaceSize : 0;
    const bool none = code == CUBLAS_STATUS_NOT_SUPPORTED || code == CUBLAS_STATUS_INVALID_VALUE;
    return none ? DL_OK : DL_CUBLAS(code);
}

static dl_status choose(dl_matmul *m, int64_t alignment, bool *found) {
    cublasLtMatmulPreference_t preference = NULL;
    DL_RETURN_IF_ERROR(DL_CUBLAS(cublasLtMatmulPreferenceCreate(&preference)));
    dl_status status = set_preferences(preference, alignment);
    if (status == DL_OK) {
        status = ask(m, preference, found);
    }
    (void)cublasLtMatmulPreferenceDestroy(preference);
    return status;
}

static dl_status plan(dl_matmul *m, const dl_device *device, const dl_matmul_shape *shape,
                      dl_matmul_epilogue epilogue, bool *found) {
    const dl_blas_product product = dl_blas_product_of(shape);
    DL_RETURN_IF_ERROR(describe_product(m, device, &product, epilogue, shape->alignment));
    DL_RETURN_IF_ERROR(describe_matrix(&product.a, shape->right.dtype, &m->a));
    DL_RETURN_IF_ERROR(describe_matrix(&product.b, shape->left.dtype, &m->b));
    DL_RETURN_IF_ERROR(describe_matrix(&product.d, shape->out.dtype, &m->d));
    DL_RETURN_IF_ERROR(choose(m, shape->alignment, found));
    DL_RETURN_ERROR_IF(!*found && epilogue == DL_MATMUL_PLAIN, DL_ERR_INTERNAL,
                       "cuBLASLt has no algorithm for [%" PRId64 ", %" PRId64 "] x [%" PRId64 ", %" PRId64
                       "] in %s to %s, addresses aligned to %" PRId64 " bytes",
                       shape->rows, shape->inner, shape->inner, shape->columns,
                       dl_dtype_name(shape->left.dtype), dl_dtype_name(shape->out.dtype), shape->alignment);
    return DL_OK;
}

dl_status dl_matmul_create(dl_device *device, const dl_matmul_shape *shape, dl_matmul_epilogue epilogue,
                           dl_matmul **out) {
    bool found = false;
    *out = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof **out, out));
    (*out)->blas = dl_cuda_device_of(device)->blas;
    const dl_status status = plan(*out, device, shape, epilogue, &found);
    if (status != DL_OK || !found) {
        dl_matmul_destroy(out);
    }
    return status;
}

void dl_matmul_destroy(dl_matmul **matmul) {
    dl_matmul *m = *matmul;
    if (m == NULL) {
        return;
    }
    (void)(m->a == NULL || cublasLtMatrixLayoutDestroy(m->a));
    (void)(m->b == NULL || cublasLtMatrixLayoutDestroy(m->b));
    (void)(m->d == NULL || cublasLtMatrixLayoutDestroy(m->d));
    (void)(m->desc == NULL || cublasLtMatmulDescDestroy(m->desc));
    dl_free(matmul);
}

size_t dl_matmul_workspace(const dl_matmul *matmul) {
    return matmul->workspace_bytes;
}

dl_status dl_matmul_run(const dl_matmul *m, const dl_matmul_call *call, cudaStream_t stream) {
    const float alpha = 1.0F, beta = call->add ? 1.0F : 0.0F;
    if (m->has_bias) {
        DL_RETURN_IF_ERROR(set(m->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &call->bias, sizeof call->bias));
    }
    return DL_CUBLAS(cublasLtMatmul(m->blas, m->desc, &alpha, call->right, m->a, call->left, m->b, &beta,
                                    call->out, m->d, call->out, m->d, &m->algorithm, call->workspace,
                                    m->workspace_bytes, stream));
}
