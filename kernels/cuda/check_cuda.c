#include "kernels/cuda/cuda.h"

#include <string.h>

/* CUDA keeps what a call has met, a library's, too, until somebody asks: what is raised here is not to be
 * found by the next launch. (What ends the context stays.) */
static void forget(void) {
    (void)cudaGetLastError();
}

dl_status dl_cuda_check(cudaError_t code, const char *call, const char *file, int line,
                        const char *function) {
    if (code == cudaSuccess) {
        return DL_OK;
    }
    forget();
    const dl_status status = code == cudaErrorMemoryAllocation ? DL_ERR_MEMORY : DL_ERR_INTERNAL;
    return dl_error_raise(status, file, line, function, "%s: %s (%s)", call, cudaGetErrorString(code),
                          cudaGetErrorName(code));
}

dl_status dl_cudnn_check(cudnnStatus_t code, const char *call, const char *file, int line,
                         const char *function) {
    if (code == CUDNN_STATUS_SUCCESS) {
        return DL_OK;
    }
    char words[512] = "";
    forget();
    cudnnGetLastErrorString(words, sizeof words);
    words[strcspn(words, "\n")] = '\0'; /* the innermost reason; the calls around it follow */
    return dl_error_raise(code == CUDNN_STATUS_ALLOC_FAILED ? DL_ERR_MEMORY : DL_ERR_INTERNAL, file, line,
                          function, "%s: %s%s%s", call, cudnnGetErrorString(code),
                          words[0] != '\0' ? ": " : "", words);
}

dl_status dl_cublas_check(cublasStatus_t code, const char *call, const char *file, int line,
                          const char *function) {
    if (code == CUBLAS_STATUS_SUCCESS) {
        return DL_OK;
    }
    forget();
    return dl_error_raise(code == CUBLAS_STATUS_ALLOC_FAILED ? DL_ERR_MEMORY : DL_ERR_INTERNAL, file, line,
                          function, "%s: %s", call, cublasLtGetStatusString(code));
}
