/* Names of this folder's functions carry the instruction set they are compiled for. */
#ifndef DLTRAIN_KERNELS_CPU_LOOPS_ISA_H
#define DLTRAIN_KERNELS_CPU_LOOPS_ISA_H

#include "kernels/cpu/loops/loops.h"

#define DL_ISA_PASTE(name, isa) name##_##isa
#define DL_ISA_EXPAND(name, isa) DL_ISA_PASTE(name, isa)
#define DL_ISA(name) DL_ISA_EXPAND(dl_cpu_##name, DL_CPU_ISA)
#define DL_ISA_STRING(isa) #isa
#define DL_ISA_TEXT(isa) DL_ISA_STRING(isa)

/* ENTRY(kind, function): the one list of what is done by loops. */
#define DL_CPU_LOOP_LIST(ENTRY)                                                                              \
    ENTRY(DL_OP_ACTIVATION_FORWARD, activation_forward)                                                      \
    ENTRY(DL_OP_ACTIVATION_BACKWARD, activation_backward)                                                    \
    ENTRY(DL_OP_ADD, add)                                                                                    \
    ENTRY(DL_OP_FILL_ZERO, fill_zero)                                                                        \
    ENTRY(DL_OP_COPY, copy)                                                                                  \
    ENTRY(DL_OP_TREE_SUM, tree_sum)                                                                          \
    ENTRY(DL_OP_NORMALIZE_IMAGES, normalize_images)                                                          \
    ENTRY(DL_OP_DROPOUT_FORWARD, dropout)                                                                    \
    ENTRY(DL_OP_DROPOUT_BACKWARD, dropout)                                                                   \
    ENTRY(DL_OP_MAX_POOLING2D_FORWARD, max_pooling2d_forward)                                                \
    ENTRY(DL_OP_MAX_POOLING2D_BACKWARD, max_pooling2d_backward)                                              \
    ENTRY(DL_OP_AVERAGE_POOLING2D_FORWARD, average_pooling2d_forward)                                        \
    ENTRY(DL_OP_AVERAGE_POOLING2D_BACKWARD, average_pooling2d_backward)                                      \
    ENTRY(DL_OP_ZERO_PADDING2D_FORWARD, zero_padding2d_forward)                                              \
    ENTRY(DL_OP_ZERO_PADDING2D_BACKWARD, zero_padding2d_backward)                                            \
    ENTRY(DL_OP_CONCATENATE_FORWARD, concatenate_forward)                                                    \
    ENTRY(DL_OP_CONCATENATE_BACKWARD, concatenate_backward)                                                  \
    ENTRY(DL_OP_BATCH_NORM_SUMS, batch_norm_sums)                                                            \
    ENTRY(DL_OP_BATCH_NORM_FORWARD, batch_norm_forward)                                                      \
    ENTRY(DL_OP_BATCH_NORM_BACKWARD_SUMS, batch_norm_backward_sums)                                          \
    ENTRY(DL_OP_BATCH_NORM_BACKWARD_DATA, batch_norm_backward_data)                                          \
    ENTRY(DL_OP_SOFTMAX_FORWARD, softmax_forward)                                                            \
    ENTRY(DL_OP_SOFTMAX_BACKWARD, softmax_backward)                                                          \
    ENTRY(DL_OP_SOFTMAX_CROSS_ENTROPY, softmax_cross_entropy)                                                \
    ENTRY(DL_OP_ACCURACY, accuracy)                                                                          \
    ENTRY(DL_OP_EMBEDDING_FORWARD, embedding_forward)                                                        \
    ENTRY(DL_OP_EMBEDDING_BACKWARD_WEIGHTS, embedding_backward_weights)                                      \
    ENTRY(DL_OP_REVERSE_BY_LENGTH, reverse_by_length)                                                        \
    ENTRY(DL_OP_REVERSE_BY_LENGTH_BACKWARD, reverse_by_length)                                               \
    ENTRY(DL_OP_TAKE_LAST, take_last)                                                                        \
    ENTRY(DL_OP_TAKE_LAST_BACKWARD, take_last_backward)                                                      \
    ENTRY(DL_OP_CHECK_FINITE, check_finite)                                                                  \
    ENTRY(DL_OP_SUM_SQUARES, sum_squares)                                                                    \
    ENTRY(DL_OP_RMSPROP_UPDATE, rmsprop_update)                                                              \
    ENTRY(DL_OP_CAST, cast)                                                                                  \
    ENTRY(DL_OP_COMMIT, commit)                                                                              \
    ENTRY(DL_OP_SGD_UPDATE, sgd_update)                                                                      \
    ENTRY(DL_OP_ADAM_UPDATE, adam_update)

#define DL_CPU_DECLARE(kind, function)                                                                       \
    void DL_ISA(function)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,               \
                          dl_range items);
DL_CPU_LOOP_LIST(DL_CPU_DECLARE)
#undef DL_CPU_DECLARE

void DL_ISA(lstm_forward)(const dl_cpu_lstm_step *step, dl_range samples);
void DL_ISA(lstm_backward)(const dl_cpu_lstm_step *step, dl_range samples);
void DL_ISA(sum_rows)(const float *x, int64_t row, const int32_t *places, int64_t n, float *sum);
#ifdef __AVX512F__
void DL_ISA(matrix_product)(const dl_cpu_matrices *m, dl_range rows);
#define DL_ISA_MATRIX_PRODUCT DL_ISA(matrix_product)
#else
#define DL_ISA_MATRIX_PRODUCT NULL
#endif

#endif
