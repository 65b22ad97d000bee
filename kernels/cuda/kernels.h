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

/* pointwise.cu: tensors of one floating type; y and dx may be one of the others. */
cudaError_t dl_launch_activation_forward(int64_t n, dl_activation activation, dl_dtype dtype, const void *x,
                                         void *y, cudaStream_t stream);
cudaError_t dl_launch_activation_backward(int64_t n, dl_activation activation, dl_dtype dtype, const void *y,
                                          const void *dy, void *dx, cudaStream_t stream);
cudaError_t dl_launch_add(int64_t n, dl_dtype dtype, const void *a, const void *b, void *y,
                          cudaStream_t stream);
/* y = x, one of them float32, the other of any type of a tensor. */
cudaError_t dl_launch_cast(int64_t n, dl_dtype from, const void *x, dl_dtype to, void *y,
                           cudaStream_t stream);

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

/* batch_norm.cu: images in one type; `runs` has 2 float64 for each channel of n_runs runs of rows of each
 * group. */
cudaError_t dl_launch_batch_norm_sums(const dl_batch_norm_sizes *z, int64_t n_runs, dl_dtype dtype,
                                      const void *x, double *runs, double *out, cudaStream_t stream);
cudaError_t dl_launch_batch_norm_backward_sums(const dl_batch_norm_sizes *z, int64_t n_runs,
                                               dl_activation activation, dl_dtype dtype, const void *dy,
                                               const void *x, const float *stat, double *runs, double *dstat,
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
/* The loss scale of a step in the weight of its totals; the next one. */
cudaError_t dl_launch_scale_weight(const double *totals, const double *scale, double *scaled,
                                   cudaStream_t stream);
cudaError_t dl_launch_begin_control(int32_t *control, const dl_step_block *step, cudaStream_t stream);
cudaError_t dl_launch_commit_loss_scale(double *scale, const int32_t *control, cudaStream_t stream);

/* rows.cu: softmax, losses and metrics, rows of k values; labels below 0: none. Loss and metric values go to
 * `narrow` or `wide`, the other one is NULL. With a dtype it is that of x and dx. `scale`: the loss scale of
 * gradients, NULL: none. dx may be x; dx and p may be NULL. */
cudaError_t dl_launch_softmax_forward(dl_row_sizes rows, const float *x, float *y, cudaStream_t stream);
cudaError_t dl_launch_softmax_backward(dl_row_sizes rows, const float *y, const float *dy, float *dx,
                                       cudaStream_t stream);
cudaError_t dl_launch_softmax_cross_entropy(dl_row_sizes rows, const dl_loss_attr *attr, dl_dtype dtype,
                                            const void *x, const int32_t *labels, const double *scale,
                                            float *narrow, double *wide, void *dx, float *p,
                                            cudaStream_t stream);
cudaError_t dl_launch_cross_entropy_forward(dl_row_sizes rows, const dl_loss_attr *attr, const float *p,
                                            const int32_t *labels, float *narrow, double *wide,
                                            cudaStream_t stream);
cudaError_t dl_launch_cross_entropy_backward(dl_row_sizes rows, const dl_loss_attr *attr, const float *p,
                                             const int32_t *labels, const double *scale, float *dp,
                                             cudaStream_t stream);
cudaError_t dl_launch_accuracy(dl_row_sizes rows, int64_t k, dl_dtype dtype, const void *x,
                               const int32_t *labels, float *narrow, double *wide, cudaStream_t stream);
cudaError_t dl_launch_error_forward(dl_row_sizes rows, bool absolute, const float *x, const float *target,
                                    float *narrow, double *wide, cudaStream_t stream);
cudaError_t dl_launch_error_backward(dl_row_sizes rows, const dl_loss_attr *attr, const float *x,
                                     const float *target, const double *scale, float *dx,
                                     cudaStream_t stream);

/* sums.cu: in orders that depend on n alone. */
cudaError_t dl_launch_sum_samples(int64_t n, const float *narrow, const double *wide, bool on_grid,
                                  bool accumulate, double *total, cudaStream_t stream);
cudaError_t dl_launch_tree_sum_f32(int64_t n, int64_t k, const float *x, float *y, cudaStream_t stream);
cudaError_t dl_launch_tree_sum_f64(int64_t n, int64_t k, const double *x, double *y, cudaStream_t stream);
cudaError_t dl_launch_check_finite(int64_t n, const float *x, int32_t *control, cudaStream_t stream);
cudaError_t dl_launch_sum_squares(int64_t n, const float *x, double *sums, int32_t *control,
                                  cudaStream_t stream);
cudaError_t dl_launch_gradient_norm(int64_t n, const dl_clip_attr *clip, const double *sums,
                                    const double *totals, double *norm, cudaStream_t stream);

/* pooling.cu: images of one type. index: the winning cell of each window, a byte each; NULL: not kept. y:
 * outputs behind relu, NULL without. */
cudaError_t dl_launch_max_pooling_forward(const dl_pooling2d_sizes *sizes, const dl_pool_attr *pool,
                                          dl_dtype dtype, const void *x, void *y, uint8_t *index,
                                          cudaStream_t stream);
cudaError_t dl_launch_max_pooling_backward(const dl_pooling2d_sizes *sizes, const dl_pool_attr *pool,
                                           dl_dtype dtype, const void *dy, const uint8_t *index,
                                           const void *y, void *dx, cudaStream_t stream);
cudaError_t dl_launch_average_pooling_forward(const dl_pooling2d_sizes *sizes, const dl_pool_attr *pool,
                                              dl_dtype dtype, const void *x, void *y, cudaStream_t stream);
cudaError_t dl_launch_average_pooling_backward(const dl_pooling2d_sizes *sizes, const dl_pool_attr *pool,
                                               dl_dtype dtype, const void *dy, void *dx, cudaStream_t stream);

/* shape.cu: inner [N, H, W, C] and what it is with a border of zeros; a part of rows and the whole rows. */
cudaError_t dl_launch_pad(const dl_shape *inner, const dl_shape *outer, const dl_padding_attr *padding,
                          const float *x, float *y, cudaStream_t stream);
cudaError_t dl_launch_unpad(const dl_shape *inner, const dl_shape *outer, const dl_padding_attr *padding,
                            const float *dy, float *dx, cudaStream_t stream);
cudaError_t dl_launch_move_columns(int64_t rows, int64_t width, const float *from, int64_t from_stride,
                                   float *to, int64_t to_stride, cudaStream_t stream);

/* sequence.cu */
/* w has y's type or float32. */
cudaError_t dl_launch_embedding_forward(dl_embedding_sizes sizes, const int32_t *x, dl_dtype from,
                                        const void *w, dl_dtype to, void *y, cudaStream_t stream);
/* dw, in float32, must have been cleared. */
cudaError_t dl_launch_embedding_backward(dl_embedding_sizes sizes, const int32_t *x, dl_dtype dtype,
                                         const void *dy, float *dw, cudaStream_t stream);
cudaError_t dl_launch_reverse(dl_sequence_sizes sizes, const float *x, const int32_t *lengths, float *y,
                              cudaStream_t stream);
cudaError_t dl_launch_take_last(dl_sequence_sizes sizes, const float *x, const int32_t *lengths, float *y,
                                cudaStream_t stream);
/* dx must have been cleared. */
cudaError_t dl_launch_give_last(dl_sequence_sizes sizes, const float *dy, const int32_t *lengths, float *dx,
                                cudaStream_t stream);

/* images.cu: pixels to input, random changes, dropout. Sizes in elements of a sample; ids: the samples'
 * numbers. */
cudaError_t dl_launch_normalize(int64_t n, int64_t channels, const dl_normalize_attr *attr,
                                const uint8_t *bytes, const float *values, dl_dtype dtype, void *y,
                                cudaStream_t stream);
cudaError_t dl_launch_random_crop(const dl_shape *shape, size_t element_bytes, const dl_augment_attr *attr,
                                  const void *x, const int64_t *ids, const dl_step_block *step, void *y,
                                  cudaStream_t stream);
cudaError_t dl_launch_random_flip(const dl_shape *shape, size_t element_bytes, const dl_augment_attr *attr,
                                  const void *x, const int64_t *ids, const dl_step_block *step, void *y,
                                  cudaStream_t stream);
cudaError_t dl_launch_dropout(int64_t n, int64_t sample, int64_t row, const dl_dropout_attr *attr,
                              dl_dtype dtype, const void *x, const int64_t *ids, const dl_step_block *step,
                              void *y, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
