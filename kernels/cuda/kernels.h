/* The launchers of the kernels: each puts one kernel (or a few) into a stream and returns what launching met.
 * Addresses are of the device; n counts elements. C and CUDA C both include this. */
#ifndef DLTRAIN_KERNELS_CUDA_KERNELS_H
#define DLTRAIN_KERNELS_CUDA_KERNELS_H

#include "kernels/common/blocks.h"
#include "kernels/common/lstm_step.h"
#include "kernels/op.h"
#include "kernels/ops/sizes.h"

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* pointwise.cu */
cudaError_t dl_launch_activation_forward(int64_t n, dl_activation activation, const float *x, float *y,
                                         cudaStream_t stream);
cudaError_t dl_launch_activation_backward(int64_t n, dl_activation activation, const float *y,
                                          const float *dy, float *dx, cudaStream_t stream);
cudaError_t dl_launch_add(int64_t n, const float *a, const float *b, float *y, cudaStream_t stream);

/* filters.cu: [k, c, cells] in float32 becomes [k, cells, c] of a type; the other way round. */
cudaError_t dl_launch_pack_weights(int64_t k, int64_t c, int64_t cells, const float *x, dl_dtype dtype,
                                   void *y, cudaStream_t stream);
cudaError_t dl_launch_unpack_weights(int64_t k, int64_t c, int64_t cells, dl_dtype dtype, const void *x,
                                     float *y, cudaStream_t stream);

/* bias.cu: y = activation(y + bias) in rows of so many columns (bias NULL: zeros); y[column] = the sum of x
 * over rows, by way of dl_sum_runs(rows) rows of float64 in `runs` (kernels/common/column_sums.h). Both in
 * float32. */
cudaError_t dl_launch_bias_activation(int64_t rows, int64_t columns, dl_activation activation,
                                      const float *bias, dl_dtype dtype, void *y, cudaStream_t stream);
cudaError_t dl_launch_column_sums(int64_t rows, int64_t columns, dl_dtype dtype, const void *x, float *y,
                                  double *runs, cudaStream_t stream);

/* lstm.cu: kernels/common/lstm_step.h for every unit of so many samples; what stands before each position. */
cudaError_t dl_launch_lstm_forward(int64_t n_samples, const dl_lstm_forward_step *step, cudaStream_t stream);
cudaError_t dl_launch_lstm_backward(int64_t n_samples, const dl_lstm_backward_step *step,
                                    cudaStream_t stream);
cudaError_t dl_launch_lstm_before(int64_t n_samples, int64_t n_positions, int64_t h, const float *y,
                                  const float *h0, float *before, cudaStream_t stream);

/* batch_norm.cu: images in one type, `runs` is a workspace of dl_batch_norm_runs_bytes. */
size_t dl_batch_norm_runs_bytes(const dl_batch_norm_sizes *z);
cudaError_t dl_launch_batch_norm_sums(const dl_batch_norm_sizes *z, dl_dtype dtype, const void *x,
                                      double *runs, double *out, cudaStream_t stream);
cudaError_t dl_launch_batch_norm_backward_sums(const dl_batch_norm_sizes *z, dl_activation activation,
                                               dl_dtype dtype, const void *dy, const void *x,
                                               const float *stat, double *runs, double *dstat,
                                               cudaStream_t stream);
cudaError_t dl_launch_batch_norm_forward(const dl_batch_norm_sizes *z, dl_activation activation,
                                         dl_dtype dtype, const void *x, const float *stat,
                                         const void *residual, void *y, cudaStream_t stream);
cudaError_t dl_launch_batch_norm_backward_data(const dl_batch_norm_sizes *z, dl_activation activation,
                                               dl_dtype dtype, const void *dy, const void *x,
                                               const float *stat, const double *dstat, void *dx,
                                               cudaStream_t stream);
cudaError_t dl_launch_batch_norm_statistics(const dl_batch_norm_sizes *z, double epsilon, const double *sums,
                                            const float *gamma, const float *beta, float *stat,
                                            cudaStream_t stream);
cudaError_t dl_launch_batch_norm_moving(const dl_batch_norm_sizes *z, double epsilon, const float *mean,
                                        const float *variance, const float *gamma, const float *beta,
                                        float *stat, cudaStream_t stream);
cudaError_t dl_launch_batch_norm_backward_weights(const dl_batch_norm_sizes *z, const double *dstat,
                                                  float *dgamma, float *dbeta, cudaStream_t stream);
cudaError_t dl_launch_batch_norm_moments(const dl_batch_norm_sizes *z, const double *sums, double *out,
                                         cudaStream_t stream);
cudaError_t dl_launch_batch_norm_commit(const dl_batch_norm_sizes *z, double keep, const double *moments,
                                        float *mean, float *variance, const int32_t *control,
                                        cudaStream_t stream);

/* update.cu: optimizer steps over a range of the arenas; what is the same for all elements is read from the
 * step block, the totals and the norm (NULL: not clipped) on the device. Nothing changes unless `control`
 * lets it. Optional states are NULL. */
cudaError_t dl_launch_sgd(int64_t n, const dl_op_attr *attr, float *w, const float *g, float *v,
                          const dl_step_block *step, const double *totals, const int32_t *control,
                          const double *norm, cudaStream_t stream);
cudaError_t dl_launch_adam(int64_t n, const dl_op_attr *attr, float *w, const float *g, float *m, float *v,
                           const dl_step_block *step, const double *totals, const int32_t *control,
                           const double *norm, cudaStream_t stream);
cudaError_t dl_launch_rmsprop(int64_t n, const dl_op_attr *attr, float *w, const float *g, float *s, float *m,
                              float *v, const dl_step_block *step, const double *totals,
                              const int32_t *control, const double *norm, cudaStream_t stream);
cudaError_t dl_launch_commit_f32(int64_t n, const dl_op_attr *attr, float *state, const float *value,
                                 const int32_t *control, const dl_step_block *step, cudaStream_t stream);
cudaError_t dl_launch_commit_f64(int64_t n, bool accumulate, double *state, const double *value,
                                 const int32_t *control, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
