/* 16-bit operations by casts around float32 ones, portion by portion: the same as the float32 operation on
 * widened inputs, whatever is left for the last portion. */
#include "cpu_kit.h"

#include "kernels/common/half.h"

/* So wide that a portion of one thread has two samples (kernels/widened.c, IMAGE_BYTES). */
enum { WIDTH = 12000 };

static dl_op_desc activation(dl_dtype dtype, int64_t n) {
    return (dl_op_desc){
        .kind = DL_OP_ACTIVATION_FORWARD,
        .attr = {.activation = DL_ACT_TANH},
        .slot = {kit_tensor(dtype, DL_SHAPE(n, WIDTH)), kit_tensor(dtype, DL_SHAPE(n, WIDTH))}};
}

/* Runs it in 16 bits and in float32 on the same numbers. */
static void check(dl_device *device, dl_dtype dtype, int64_t n) {
    const dl_op_desc narrow = activation(dtype, n), wide = activation(DL_F32, n);
    kit_tensors ours = kit_tensors_create(&narrow, 1), theirs = kit_tensors_create(&wide, 1);
    uint16_t *x = ours.slot[0];
    const uint16_t *y = ours.slot[1];
    float *wide_x = theirs.slot[0];
    const float *wide_y = theirs.slot[1];
    for (int64_t i = 0; i < n * WIDTH; i++) {
        x[i] = dl_half_of(dtype, wide_x[i]);
        wide_x[i] = dl_float_of_half(dtype, x[i]);
    }
    kit_run(device, &narrow, &ours);
    kit_run(device, &wide, &theirs);
    for (int64_t i = 0; i < n * WIDTH; i++) {
        if (y[i] != dl_half_of(dtype, wide_y[i])) {
            fail_msg("%s, %lld samples: element %lld of sample %lld is %g, not %g", dl_dtype_name(dtype),
                     (long long)n, (long long)(i % WIDTH), (long long)(i / WIDTH),
                     (double)dl_float_of_half(dtype, y[i]), (double)wide_y[i]);
        }
    }
    kit_tensors_free(&narrow, &ours);
    kit_tensors_free(&wide, &theirs);
}

static void portions_and_a_rest(void **state) {
    (void)state;
    for (int n_threads = 1; n_threads <= 2; n_threads++) {
        dl_device *device = kit_open("cpu", n_threads);
        for (int64_t n = 1; n <= 9; n++) {
            check(device, DL_F16, n);
            check(device, DL_BF16, n);
        }
        dl_device_close(&device);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(portions_and_a_rest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
