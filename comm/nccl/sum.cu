/* Sums of up to 8 arrays in the binary tree over the pieces: additions alone, so the bits are the host's. */
#include "comm/nccl/sum.h"

namespace {

constexpr int n_pieces = 8, n_threads = 256;

struct nodes {
    const void *leaf[2 * n_pieces]; /* by node: 1 the root, 2k and 2k+1 the halves of k; null: not a leaf */
};

/* The value at a node. Which nodes are leaves is the same for all threads. */
template <typename T, int node> __device__ __forceinline__ T value(const nodes &tree, int64_t i) {
    if constexpr (node >= n_pieces) {
        return static_cast<const T *>(tree.leaf[node])[i];
    } else {
        if (tree.leaf[node] != nullptr) {
            return static_cast<const T *>(tree.leaf[node])[i];
        }
        return value<T, 2 * node>(tree, i) + value<T, 2 * node + 1>(tree, i);
    }
}

/* `out` may be a leaf: an element is read before it is written, by one thread. */
template <typename T> __global__ void tree_sum(nodes tree, int64_t n, T *out) {
    const int64_t stride = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += stride) {
        out[i] = value<T, 1>(tree, i);
    }
}

template <typename T> cudaError_t launch(const nodes &tree, int64_t n, void *out, cudaStream_t stream) {
    const int64_t wanted = (n + n_threads - 1) / n_threads, most = 2048;
    const unsigned n_blocks = (unsigned)(wanted < most ? wanted : most);
    tree_sum<T><<<n_blocks, n_threads, 0, stream>>>(tree, n, static_cast<T *>(out));
    return cudaGetLastError();
}

} // namespace

extern "C" cudaError_t dl_cuda_tree_sum(int doubles, const void *const *leaf, int64_t n_elements, void *out,
                                        cudaStream_t stream) {
    nodes tree = {};
    for (int node = 1; node < 2 * n_pieces; node++) {
        tree.leaf[node] = leaf[node];
    }
    if (n_elements == 0) {
        return cudaSuccess;
    }
    return doubles ? launch<double>(tree, n_elements, out, stream)
                   : launch<float>(tree, n_elements, out, stream);
}
