/* The real cuDNN and LSTM layers, without a GPU: it takes the descriptors of every type and size that
 * configurations have, and says the same of them when asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/cuda/rnn.h"

#include <limits.h>

static const dl_lstm_layer_sizes layers[] = {
    {.n = 64, .t = 20, .inputs = 128, .h = 128},   /* word_lstm, word_lm */
    {.n = 20, .t = 35, .inputs = 650, .h = 650},   /* ptb_medium */
    {.n = 20, .t = 35, .inputs = 1500, .h = 1500}, /* ptb_large */
    {.n = 1, .t = 1, .inputs = 1, .h = 1},         {.n = 7, .t = 29, .inputs = 12, .h = 33}, /* odd sizes */
};
static const dl_dtype types[] = {DL_F32, DL_BF16, DL_F16};

typedef struct answer {
    cudnnRNNAlgo_t algorithm;
    cudnnRNNMode_t cell;
    cudnnRNNBiasMode_t bias;
    cudnnDirectionMode_t direction;
    cudnnRNNInputMode_t input;
    cudnnDataType_t type, sums;
    cudnnMathType_t math;
    int32_t inputs, h, projection, n_layers;
    cudnnDropoutDescriptor_t dropout;
    uint32_t flags;
} answer;

static answer ask(const dl_rnn *rnn) {
    answer a;
    assert_int_equal(cudnnGetRNNDescriptor_v8(rnn->layer, &a.algorithm, &a.cell, &a.bias, &a.direction,
                                              &a.input, &a.type, &a.sums, &a.math, &a.inputs, &a.h,
                                              &a.projection, &a.n_layers, &a.dropout, &a.flags),
                     CUDNN_STATUS_SUCCESS);
    return a;
}

static void check(const dl_rnn_shape *shape) {
    dl_rnn rnn;
    if (dl_rnn_describe(shape, &rnn) != DL_OK) {
        fail_msg("h %d, %s, %s: %s", (int)shape->sizes.h, dl_dtype_name(shape->dtype),
                 dl_rnn_algorithm_name(shape->algorithm), dl_error_last()->message);
    }
    const answer a = ask(&rnn);
    assert_int_equal(a.algorithm, shape->algorithm);
    assert_int_equal(a.cell, CUDNN_LSTM);
    assert_int_equal(a.bias, shape->algorithm == CUDNN_RNN_ALGO_STANDARD ? CUDNN_RNN_SINGLE_INP_BIAS
                                                                         : CUDNN_RNN_DOUBLE_BIAS);
    assert_int_equal(a.inputs, shape->sizes.inputs);
    assert_int_equal(a.h, shape->sizes.h);
    assert_int_equal(a.projection, shape->sizes.h);
    assert_int_equal(a.sums, CUDNN_DATA_FLOAT);
    assert_int_equal(a.math, shape->dtype != DL_F32 ? CUDNN_TENSOR_OP_MATH
                             : shape->tf32          ? CUDNN_DEFAULT_MATH
                                                    : CUDNN_FMA_MATH);
    dl_rnn_destroy(&rnn);
    assert_null(rnn.layer);
}

static void the_library_takes_layers(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
            for (int a = 0; a < CUDNN_RNN_ALGO_COUNT; a++) {
                check(&(dl_rnn_shape){
                    .sizes = layers[i], .dtype = types[t], .training = true, .algorithm = (cudnnRNNAlgo_t)a});
            }
        }
        check(&(dl_rnn_shape){.sizes = layers[i], .dtype = DL_F32, .tf32 = true});
    }
}

static void others_are_not_asked_for(void **state) {
    (void)state;
    const dl_lstm_layer_sizes large = {.n = 1, .t = 1, .inputs = 1, .h = INT_MAX},
                              many = {.n = 1 << 20, .t = 1, .inputs = 1, .h = 1 << 11};
    assert_true(dl_rnn_takes(&layers[0], DL_BF16));
    assert_false(dl_rnn_takes(&layers[0], DL_F64));
    assert_false(dl_rnn_takes(&large, DL_F32));
    assert_false(dl_rnn_takes(&many, DL_F32));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_library_takes_layers),
        cmocka_unit_test(others_are_not_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
