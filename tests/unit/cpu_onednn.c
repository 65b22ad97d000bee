/* The cpu backend's use of oneDNN: its traps, its layouts, its bits, its threads. */
#include "cpu_kit.h"

#include "kernels/cpu/cpu.h"

#include <dirent.h>

static const kit_conv mnist_2 = {
    .n = 16, .h = 13, .w = 13, .c = 32, .k = 64, .r = 3, .stride = 1, .groups = 1};
static const kit_conv odd = {
    .n = 3, .h = 9, .w = 7, .c = 30, .k = 50, .r = 3, .stride = 1, .padding = 1, .groups = 1};

static const kit_conv shapes[] = {
    {.n = 8, .h = 28, .w = 28, .c = 1, .k = 32, .r = 3, .stride = 1, .groups = 1},
    {.n = 8, .h = 5, .w = 5, .c = 64, .k = 64, .r = 3, .stride = 1, .groups = 1},
    {.n = 4, .h = 16, .w = 16, .c = 3, .k = 16, .r = 7, .stride = 2, .padding = 3, .groups = 1},
    {.n = 4, .h = 8, .w = 8, .c = 16, .k = 32, .r = 1, .stride = 2, .groups = 1},
    {.n = 2, .h = 8, .w = 8, .c = 12, .k = 20, .r = 3, .stride = 1, .padding = 1, .groups = 4},
    {.n = 1, .h = 6, .w = 11, .c = 7, .k = 5, .r = 3, .stride = 4, .padding = 1, .groups = 1},
};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0], N_PASSES = 3 };

/* Slots of the weights (dw) in the three passes. */
static const int weights_slot[N_PASSES] = {1, 1, 2};

static int n_threads_of_process(void) {
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    int n = -2; /* . and .. */
    while (readdir(tasks) != NULL) {
        n++;
    }
    (void)closedir(tasks);
    return n;
}

/* Must run first: a device of one thread starts none, whatever OMP_NUM_THREADS says. */
static void one_thread_stays_one(void **state) {
    (void)state;
    dl_device *device = kit_open("cpu", 1);
    for (int pass = 0; pass < N_PASSES; pass++) {
        const dl_op_desc desc = kit_conv_desc(&mnist_2, pass);
        kit_tensors tensors = kit_tensors_create(&desc, 1);
        kit_run(device, &desc, &tensors);
        kit_tensors_free(&desc, &tensors);
    }
    assert_int_equal(n_threads_of_process(), 1);
    dl_device_close(&device);
}

/* All passes in plain and blocked layouts, weights free or plain, with the numbers of ref and never its
 * speed. */
static void convolutions_are_right_and_fast(void **state) {
    (void)state;
    dl_device *device = kit_open("cpu", 1);
    for (int i = 0; i < N_SHAPES * N_PASSES * 4; i++) {
        const int pass = i / 4 % N_PASSES;
        dl_op_desc desc = kit_conv_desc(&shapes[i / 4 / N_PASSES], pass);
        desc.attr.activation = pass == 0 ? DL_ACT_RELU : DL_ACT_NONE;
        kit_ask(device, &desc, (i & 1) != 0, (i & 2) != 0 ? &dl_layout_any : NULL);
        dl_op *op = NULL;
        KIT_OK(dl_op_prepare(device, &desc, NULL, &op));
        assert_false(dl_onednn_is_reference(op->implementation));
        dl_op_destroy(&op);
        kit_agrees_with_ref(device, &desc, 3e-6);
    }
    dl_device_close(&device);
}

static void dense_is_right_and_fast(void **state) {
    (void)state;
    static const int64_t sizes[][3] = {{128, 576, 64}, {16, 64, 10}, {1, 7, 3}, {5, 33, 101}};
    dl_device *device = kit_open("cpu", 1);
    for (int i = 0; i < 4 * N_PASSES * 2; i++) {
        const int64_t *z = sizes[i / 2 / N_PASSES];
        dl_op_desc desc = kit_dense_desc(z[0], z[1], z[2], i / 2 % N_PASSES);
        kit_ask(device, &desc, false, i % 2 == 0 ? NULL : &dl_layout_any);
        dl_op *op = NULL;
        KIT_OK(dl_op_prepare(device, &desc, NULL, &op));
        assert_false(dl_onednn_is_reference(op->implementation));
        dl_op_destroy(&op);
        kit_agrees_with_ref(device, &desc, 3e-6);
    }
    dl_device_close(&device);
}

/* Trap: the weight gradient in the forward pass's weight layout is reference code in oneDNN. Here it is a
 * reorder. */
static void foreign_weight_layouts_do_not_fall_to_reference(void **state) {
    (void)state;
    dl_device *device = kit_open("cpu", 1);
    for (int from = 0; from < N_PASSES; from++) {
        for (int to = 0; to < N_PASSES; to++) {
            dl_op_desc desc = kit_conv_desc(&odd, from);
            kit_ask(device, &desc, true, &dl_layout_any);
            dl_op *op = NULL;
            KIT_OK(dl_op_prepare(device, &desc, NULL, &op));
            const dl_layout *foreign = op->layout[weights_slot[from]];
            dl_op_destroy(&op);
            desc = kit_conv_desc(&odd, to);
            kit_ask(device, &desc, true, foreign);
            KIT_OK(dl_op_prepare(device, &desc, NULL, &op));
            assert_ptr_equal(op->layout[weights_slot[to]], foreign);
            assert_false(dl_onednn_is_reference(op->implementation));
            dl_op_destroy(&op);
            kit_agrees_with_ref(device, &desc, 3e-6);
        }
    }
    dl_device_close(&device);
}

/* What oneDNN itself makes of a convolution from a blocked single channel to nhwc. */
static bool onednn_takes_reference(dl_device *device, const dl_op_desc *desc) {
    const dl_layout *x = NULL, *w = NULL, *y = NULL;
    dl_tensor_desc any = desc->slot[1];
    any.layout = &dl_layout_any;
    KIT_OK(dl_cpu_md_activation(&desc->slot[0], &x));
    KIT_OK(dl_cpu_md_weights(&any, 1, &w));
    KIT_OK(dl_cpu_md_activation(&desc->slot[3], &y));
    const dl_shim_product product = {
        .convolution = true, .training = true, .algorithm = dnnl_convolution_direct, .strides = {1, 1}};
    dnnl_primitive_desc_t pd = NULL;
    assert_int_equal(dl_shim_product_forward(&pd, dl_cpu_device_of(device)->engine, &product, dl_onednn_md(x),
                                             dl_onednn_md(w), NULL, dl_onednn_md(y), NULL),
                     dnnl_success);
    const bool is_reference = dl_onednn_is_reference(dl_onednn_implementation(pd));
    (void)dnnl_primitive_desc_destroy(pd);
    return is_reference;
}

/* Trap: nhwc output from a blocked single channel. The first assertion shows that the trap is there and seen.
 */
static void blocked_single_channel_does_not_fall_to_reference(void **state) {
    (void)state;
    dl_device *device = kit_open("cpu", 1);
    dl_op_desc desc = kit_conv_desc(&shapes[0], 0);
    const dnnl_dims_t dims = {8, 1, 28, 28};
    KIT_OK(dl_onednn_layout_tag(4, dims, dnnl_f32, dnnl_nChw16c, "nchw", &desc.slot[0].layout));
    assert_true(onednn_takes_reference(device, &desc));
    dl_op *op = NULL;
    KIT_OK(dl_op_prepare(device, &desc, NULL, &op));
    assert_false(dl_onednn_is_reference(op->implementation));
    dl_op_destroy(&op);
    kit_agrees_with_ref(device, &desc, 3e-6);
    dl_device_close(&device);
}

/* Trap: blocked weights of odd channel counts are padded. Packing pads with zeros, unpacking leaves the
 * padding out and, accumulating, adds. */
static void odd_channels_survive_packing(void **state) {
    (void)state;
    dl_device *device = kit_open("cpu", 1);
    for (int pass = 0; pass < N_PASSES; pass++) {
        dl_op_desc desc = kit_conv_desc(&odd, pass);
        kit_ask(device, &desc, false, &dl_layout_any);
        dl_op *op = NULL;
        KIT_OK(dl_op_prepare(device, &desc, NULL, &op));
        const dl_layout *layout = op->layout[weights_slot[pass]];
        dl_op_destroy(&op);
        assert_non_null(layout);
        dl_op_desc pack = {.kind = DL_OP_PACK};
        pack.slot[0] = pack.slot[1] = kit_tensor(DL_F32, DL_SHAPE(50, 30, 3, 3));
        assert_true(layout->n_bytes > dl_tensor_plain_bytes(&pack.slot[0]));
        kit_tensors tensors = kit_tensors_create(&pack, 5);
        float *packed = kit_pages(layout->n_bytes);
        memset(packed, 0xFF, layout->n_bytes);
        kit_convert(device, &pack.slot[0], layout, false, false, tensors.slot[0], packed);
        memcpy(tensors.slot[1], tensors.slot[0], dl_tensor_plain_bytes(&pack.slot[0]));
        dl_op_desc unpack = pack;
        unpack.kind = DL_OP_UNPACK;
        unpack.slot[0].layout = layout;
        unpack.attr.accumulate = true;
        KIT_OK(dl_op_prepare(device, &unpack, NULL, &op));
        void *slots[3] = {packed, tensors.slot[1], kit_pages(op->workspace_bytes + 1)};
        KIT_OK(op->functions->run(op, slots, NULL));
        double sum = 0, packed_sum = 0;
        for (int64_t i = 0; i < 50 * 30 * 9; i++) {
            const float value = ((float *)tensors.slot[0])[i];
            assert_true(((float *)tensors.slot[1])[i] == value + value);
            sum += (double)value;
        }
        for (size_t i = 0; i < layout->n_bytes / sizeof *packed; i++) {
            packed_sum += (double)packed[i];
        }
        assert_true(fabs(sum - packed_sum) < 1e-6);
        dl_pages_free(slots[2], op->workspace_bytes + 1);
        dl_op_destroy(&op);
        dl_pages_free(packed, layout->n_bytes);
        kit_tensors_free(&pack, &tensors);
    }
    dl_device_close(&device);
}

static bool has_avx512(void) {
    const int isa = (int)dnnl_get_effective_cpu_isa();
    return (isa & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core;
}

static void winograd_where_it_exists(void **state) {
    (void)state;
    dl_device *device = kit_open("cpu", 1);
    dl_op_desc desc = kit_conv_desc(&mnist_2, 0);
    assert_int_equal(dl_device_n_algorithms(device, &desc), 1);
    for (int pass = 0; pass < N_PASSES; pass++) {
        desc = kit_conv_desc(&mnist_2, pass);
        kit_ask(device, &desc, true, &dl_layout_any);
        if (dl_device_n_algorithms(device, &desc) == 1) {
            /* oneDNN's f32 Winograd is written for AVX-512, and 3.x has dropped it. */
            assert_true(DNNL_VERSION_MAJOR > 2 || !has_avx512());
            continue;
        }
        assert_int_equal(dl_device_n_algorithms(device, &desc), 2);
        assert_string_equal(dl_device_algorithm_name(device, &desc, 1), "winograd");
        desc.algorithm = 1;
        desc.attr.activation = pass == 0 ? DL_ACT_TANH : DL_ACT_NONE;
        dl_op *op = NULL;
        KIT_OK(dl_op_prepare(device, &desc, NULL, &op));
        assert_non_null(strstr(op->implementation, "wino"));
        dl_op_destroy(&op);
        kit_agrees_with_ref(device, &desc, 1e-5);
    }
    const kit_conv strided = {.n = 2, .h = 13, .w = 13, .c = 32, .k = 64, .r = 3, .stride = 2, .groups = 1};
    desc = kit_conv_desc(&strided, 0);
    kit_ask(device, &desc, true, &dl_layout_any);
    assert_int_equal(dl_device_n_algorithms(device, &desc), 1);
    dl_device_close(&device);
}

static void fused_activations(void **state) {
    (void)state;
    dl_device *device = kit_open("cpu", 1);
    for (dl_activation activation = DL_ACT_RELU; activation <= DL_ACT_SIGMOID; activation++) {
        dl_op_desc conv = kit_conv_desc(&odd, 0), dense = kit_dense_desc(9, 20, 30, 0);
        conv.attr.activation = dense.attr.activation = activation;
        kit_agrees_with_ref(device, &conv, 3e-6);
        kit_agrees_with_ref(device, &dense, 3e-6);
    }
    dl_device_close(&device);
}

static bool equal_bytes(const void *a, const void *b, size_t n_bytes) {
    return memcmp(a, b, n_bytes) == 0;
}

/* The first rows of a batch of 64 against the same rows alone; weights in the layout of the large batch. */
static void rows_do_not_depend_on_the_batch(void **state) {
    (void)state;
    dl_device *device = kit_open("cpu", 1);
    for (int i = 0; i < 5; i++) {
        const int pass = i % 2;
        dl_op_desc large = i < 4 ? kit_conv_desc(&shapes[i / 2], pass) : kit_dense_desc(64, 100, 30, 0);
        large = dl_op_with_samples(&large, 64);
        kit_ask(device, &large, i == 2, &dl_layout_any);
        dl_op *op = NULL;
        KIT_OK(dl_op_prepare(device, &large, NULL, &op));
        assert_true(op->batch_invariant || !has_avx512());
        const int out = pass == 0 ? 3 : 2;
        kit_tensors all = kit_tensors_create(&large, 3);
        kit_run_op(device, op, &all);
        for (int64_t n = 1; op->batch_invariant && n <= 16; n += 5) {
            dl_op_desc small = dl_op_with_samples(&large, n);
            kit_ask(device, &small, i == 2, op->layout[1]);
            kit_tensors some = kit_tensors_create(&small, 3);
            kit_run(device, &small, &some);
            assert_true(equal_bytes(some.slot[out], all.slot[out], dl_tensor_plain_bytes(&small.slot[out])));
            kit_tensors_free(&small, &some);
        }
        kit_tensors_free(&large, &all);
        dl_op_destroy(&op);
    }
    dl_device_close(&device);
}

/* Trap behind it: oneDNN divides its work at creation, so both must happen with the same number of threads.
 */
static void two_threads_give_the_bits_of_one(void **state) {
    (void)state;
    dl_device *one = kit_open("cpu", 1), *two = kit_open("cpu", 2);
    for (int i = 0; i < N_SHAPES * 2; i++) {
        dl_op_desc desc = kit_conv_desc(&shapes[i / 2], i % 2);
        kit_ask(one, &desc, true, &dl_layout_any);
        kit_tensors a = kit_tensors_create(&desc, 11), b = kit_tensors_create(&desc, 11);
        kit_run(one, &desc, &a);
        kit_run(two, &desc, &b);
        const int out = i % 2 == 0 ? 3 : 2;
        assert_true(equal_bytes(a.slot[out], b.slot[out], dl_tensor_plain_bytes(&desc.slot[out])));
        kit_tensors_free(&desc, &a);
        kit_tensors_free(&desc, &b);
    }
    dl_device_close(&one);
    dl_device_close(&two);
}

static bool dense_promises_rows(dl_device *device, const dl_op_desc *desc) {
    dl_op *op = NULL;
    KIT_OK(dl_op_prepare(device, desc, NULL, &op));
    const bool promised = op->batch_invariant;
    dl_op_destroy(&op);
    return promised;
}

/* A dense layer of many inputs and few outputs is divided by inputs over two threads (brgemm, with a
 * reduction at the end): then it may not promise the rows of one thread. */
static void dense_promises_hold_on_two_threads(void **state) {
    (void)state;
    static const int64_t sizes[][3] = {
        {128, 2704, 24}, {128, 2704, 40}, {128, 64, 10}, {16, 4096, 16}, {64, 512, 512}};
    dl_device *one = kit_open("cpu", 1), *two = kit_open("cpu", 2);
    for (int i = 0; i < 2 * (int)(sizeof sizes / sizeof *sizes); i++) {
        const int pass = i % 2;
        dl_op_desc desc = kit_dense_desc(sizes[i / 2][0], sizes[i / 2][1], sizes[i / 2][2], pass);
        kit_ask(one, &desc, true, &dl_layout_any);
        kit_tensors a = kit_tensors_create(&desc, 11), b = kit_tensors_create(&desc, 11);
        kit_run(one, &desc, &a);
        kit_run(two, &desc, &b);
        const int out = pass == 0 ? 3 : 2;
        const bool equal = equal_bytes(a.slot[out], b.slot[out], dl_tensor_plain_bytes(&desc.slot[out]));
        assert_true(equal || !(dense_promises_rows(one, &desc) && dense_promises_rows(two, &desc)));
        kit_tensors_free(&desc, &a);
        kit_tensors_free(&desc, &b);
    }
    dl_device_close(&one);
    dl_device_close(&two);
}

typedef struct piece_run {
    const dl_op *op;
    void *slots[8][DL_OP_MAX_SLOTS + 1];
} piece_run;

static dl_status run_piece(void *context, int i) {
    piece_run *run = context;
    DL_RETURN_ERROR_IF(run->slots[i][0] == NULL, DL_ERR_INTERNAL, "piece %d is missing", i);
    return run->op->functions->run(run->op, run->slots[i], NULL);
}

/* One prepared operation, eight pieces at once: every piece has the bits of a run alone, and an error comes
 * home. */
static void for_each_equals_a_loop(void **state) {
    (void)state;
    dl_device *many = kit_open("cpu", 2), *single = kit_open("cpu", 1);
    dl_op_desc desc = kit_conv_desc(&mnist_2, 2);
    kit_ask(single, &desc, true, NULL);
    dl_op *op = NULL;
    KIT_OK(dl_op_prepare(single, &desc, NULL, &op));
    piece_run parallel = {.op = op}, sequential = {.op = op};
    for (int piece = 0; piece < 8; piece++) {
        for (int s = 0; s < 5; s++) {
            const size_t n_bytes = s == 4 ? op->workspace_bytes + 1 : dl_op_slot_bytes(op, s);
            parallel.slots[piece][s] = kit_pages(n_bytes);
            sequential.slots[piece][s] = kit_pages(n_bytes);
            for (size_t k = 0; s < 2 && k < n_bytes / sizeof(float); k++) {
                const float value = (float)((k * 7919 + (size_t)piece) % 1000) * 0.001F;
                ((float *)parallel.slots[piece][s])[k] = ((float *)sequential.slots[piece][s])[k] = value;
            }
        }
    }
    for (int repeat = 0; repeat < 5; repeat++) {
        KIT_OK(dl_device_for_each(many, 8, run_piece, &parallel));
    }
    for (int piece = 0; piece < 8; piece++) {
        KIT_OK(run_piece(&sequential, piece));
        for (int s = 2; s < 4; s++) {
            assert_true(
                equal_bytes(parallel.slots[piece][s], sequential.slots[piece][s], dl_op_slot_bytes(op, s)));
        }
    }
    void *kept = parallel.slots[5][0];
    parallel.slots[5][0] = NULL;
    assert_int_equal(dl_device_for_each(many, 8, run_piece, &parallel), DL_ERR_INTERNAL);
    assert_non_null(strstr(dl_error_last()->message, "piece 5"));
    parallel.slots[5][0] = kept;
    for (int piece = 0; piece < 8; piece++) {
        for (int s = 0; s < 5; s++) {
            const size_t n_bytes = s == 4 ? op->workspace_bytes + 1 : dl_op_slot_bytes(op, s);
            dl_pages_free(parallel.slots[piece][s], n_bytes);
            dl_pages_free(sequential.slots[piece][s], n_bytes);
        }
    }
    dl_op_destroy(&op);
    dl_device_close(&many);
    dl_device_close(&single);
}

static void layouts_are_interned(void **state) {
    (void)state;
    dl_device *one = kit_open("cpu", 1), *two = kit_open("cpu", 2);
    const dl_layout *a[DL_MAX_LAYOUTS] = {NULL}, *b[DL_MAX_LAYOUTS] = {NULL};
    const dl_shape shape = DL_SHAPE(8, 5, 5, 64), other = DL_SHAPE(3, 5, 5, 64),
                   thirty = DL_SHAPE(3, 5, 5, 30);
    assert_int_equal(dl_device_layouts(one, DL_F32, &thirty, a), 0);
    assert_int_equal(dl_device_layouts(one, DL_I32, &shape, a), 0);
    if (dl_device_layouts(one, DL_F32, &shape, a) == 0) {
        dl_device_close(&one);
        dl_device_close(&two);
        skip(); /* vectors of four: nothing to offer */
    }
    assert_int_equal(dl_device_layouts(two, DL_F32, &shape, b), 1);
    assert_ptr_equal(a[0], b[0]);
    assert_true(strcmp(a[0]->name, "nChw16c") == 0 || strcmp(a[0]->name, "nChw8c") == 0);
    assert_int_equal(a[0]->n_bytes, 8 * 5 * 5 * 64 * sizeof(float));
    assert_int_equal(dl_device_layouts(two, DL_F32, &other, b), 1);
    assert_ptr_not_equal(a[0], b[0]);
    assert_ptr_equal(one->backend->layout_with_samples(one, a[0], 3), b[0]);
    dl_device_close(&one);
    dl_device_close(&two);
}

/* A rank without samples: sums are zero, nothing else is touched. */
static void no_samples(void **state) {
    (void)state;
    dl_device *device = kit_open("cpu", 1);
    const dl_op_desc some = kit_conv_desc(&odd, 2);
    const dl_op_desc none = dl_op_with_samples(&some, 0);
    kit_tensors tensors = kit_tensors_create(&none, 2);
    kit_run(device, &none, &tensors);
    for (int64_t i = 0; i < 50 * 30 * 9; i++) {
        assert_true(((float *)tensors.slot[2])[i] == 0);
    }
    kit_tensors_free(&none, &tensors);
    dl_device_close(&device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_thread_stays_one),
        cmocka_unit_test(convolutions_are_right_and_fast),
        cmocka_unit_test(dense_is_right_and_fast),
        cmocka_unit_test(foreign_weight_layouts_do_not_fall_to_reference),
        cmocka_unit_test(blocked_single_channel_does_not_fall_to_reference),
        cmocka_unit_test(odd_channels_survive_packing),
        cmocka_unit_test(winograd_where_it_exists),
        cmocka_unit_test(fused_activations),
        cmocka_unit_test(rows_do_not_depend_on_the_batch),
        cmocka_unit_test(two_threads_give_the_bits_of_one),
        cmocka_unit_test(dense_promises_hold_on_two_threads),
        cmocka_unit_test(for_each_equals_a_loop),
        cmocka_unit_test(layouts_are_interned),
        cmocka_unit_test(no_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
