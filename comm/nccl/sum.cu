/* Sums of up to 8 arrays in the binary tree over the pieces: additions alone, so the bits are the host's. */
#include "comm/nccl/sum.h"
#include "kernels/cuda/launch.cuh"

static constexpr int n_pieces = 8; /* DL_PIECES */

struct nodes {
    const void *leaf[2 * n_pieces]; /* by node: 1 the root, 2k and 2k+1 the halves of k; null: not a leaf */
};

/* The value at a node. Which nodes are leaves is the same for all threads. */
template <typename T, int node> static __device__ __forceinline__ T value(const nodes &tree, int64_t i) {
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
template <typename T> static __global__ void tree_sum(int64_t n, nodes tree, T *out) {
    for (int64_t i = dl_first(); i < n; i += dl_stride()) {
        out[i] = value<T, 1>(tree, i);
    }
}

cudaError_t dl_launch_piece_sum(int doubles, const void *const *leaf, int64_t n_elements, void *out,
                                cudaStream_t stream) {
    nodes tree = {};
    for (int node = 1; node < 2 * n_pieces; node++) {
        tree.leaf[node] = leaf[node];
    }
    return doubles ? dl_launch(tree_sum<double>, n_elements, stream, tree, static_cast<double *>(out))
                   : dl_launch(tree_sum<float>, n_elements, stream, tree, static_cast<float *>(out));
}
