/* Products of matrices as our operations mean them, and as cuBLAS counts their sides: no CUDA here, so that a
 * test can play them on the host. */
#ifndef DLTRAIN_KERNELS_CUDA_MATMUL_SHAPE_H
#define DLTRAIN_KERNELS_CUDA_MATMUL_SHAPE_H

#include "kernels/op.h"

/* One side in memory, row by row; `transposed`: what lies there is the transpose of what is multiplied. */
typedef struct dl_matmul_side {
    dl_dtype dtype;
    int64_t stride; /* elements between the rows that lie there */
    bool transposed;
} dl_matmul_side;

/* out[rows, columns] = left[rows, inner] right[inner, columns]; out is never transposed. */
typedef struct dl_matmul_shape {
    int64_t rows, columns, inner;
    dl_matmul_side left, right, out;
    int64_t alignment; /* every address is a multiple of it, bytes */
} dl_matmul_shape;

/* A matrix column by column: element (i, j) at i + j ld. */
typedef struct dl_blas_matrix {
    int64_t rows, columns, ld;
    bool transpose; /* the product takes its transpose */
} dl_blas_matrix;

/* d[m, n] = op(a)[m, k] op(b)[k, n]. Memory row by row is the transpose column by column: d is out^T, a comes
 * from `right` and b from `left`. A bias for each column of out is one for each row of d. */
typedef struct dl_blas_product {
    int64_t m, n, k;
    dl_blas_matrix a, b, d;
} dl_blas_product;

dl_blas_product dl_blas_product_of(const dl_matmul_shape *shape);

/* The product of a dense kind: y = x w^T, dx = dy w, or dw = dy^T x. */
dl_matmul_shape dl_dense_shape_of(const dl_op_desc *desc);

/* The product of an LSTM kind: the outputs before a position with W_hh^T, into [n, 4 h] (`initial`: of h0
 * rather than of rows of y); the gradients of a position with W_hh, into [n, h]; or dz^T with what stands
 * before each position, into dw_hh. */
dl_matmul_shape dl_lstm_shape_of(const dl_op_desc *desc, bool initial);

/* The largest power of two, up to 16, that divides the bytes of a sample of a batched slot, of all of
 * another: operations that run in pieces begin behind any number of samples. */
int64_t dl_slot_alignment(const dl_op_desc *desc, int slot);

#endif
