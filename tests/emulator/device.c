/* The cuda backend's device on the emulated GPU: copies through pinned buffers, memory that is not there,
 * forms that it does not take; and that pointwise kinds have the very bits of `ref`, since both run the same
 * functions. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kernels/common/blocks.h"
#include "kernels/plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dl_device *cuda, *ref;

#define OK(call)                                                                                             \
    do {                                                                                                     \
        if ((call) != DL_OK) {                                                                               \
            fail_msg("%s: %s", #call, dl_error_last()->message);                                             \
        }                                                                                                    \
    } while (0)

static int open_devices(void **state) {
    (void)state;
    const dl_backend *backend = NULL;
    const dl_device_options options = {.n_threads = 1};
    (void)setenv("DLTRAIN_PLUGIN_DIR", EMULATED_PLUGIN_DIR, 1);
    if (dl_backend_open("cuda", &backend) != DL_OK || dl_device_open(backend, &options, &cuda) != DL_OK ||
        dl_device_open(dl_backend_find("ref"), &options, &ref) != DL_OK) {
        (void)fprintf(stderr, "%s\n", dl_error_last()->message);
        return -1;
    }
    return 0;
}

static int close_devices(void **state) {
    (void)state;
    dl_device_close(&cuda);
    dl_device_close(&ref);
    return 0;
}

/* --- the same bits --- */

enum { N = 1000, SAMPLES = 10 };

static dl_tensor_desc tensor(dl_dtype dtype, dl_shape shape) {
    return (dl_tensor_desc){.present = true, .dtype = dtype, .shape = shape};
}

/* Values of an operation's slots: floats of any size, blocks as a step has them. */
static void fill(const dl_op_desc *desc, int slot, void *out) {
    static const dl_step_block step = {.step = 7, .t = 7, .weight = 9, .learning_rate = 0.013};
    const dl_slot_info *info = &dl_op_info_of(desc->kind)->slots[slot];
    const size_t n_bytes = dl_tensor_plain_bytes(&desc->slot[slot]);
    const size_t n = n_bytes / dl_dtype_bytes(desc->slot[slot].dtype);
    if (strcmp(info->name, "step") == 0) {
        memcpy(out, &step, n_bytes < sizeof step ? n_bytes : sizeof step);
        return;
    }
    memset(out, 0, n_bytes);
    for (size_t i = 0; i < n; i++) {
        const double u = dl_rng_uniform(3, (uint32_t)slot, i, 0),
                     value = (u - 0.4) * (i % 5 == 0 ? 1e3 : 1e-1);
        switch (desc->slot[slot].dtype) {
        case DL_F32: /* second moments are not negative */
            ((float *)out)[i] =
                (float)(info->role == DL_SLOT_INOUT && slot > 1 && value < 0 ? -value : value);
            break;
        case DL_F64:
            ((double *)out)[i] = 1.5 + u;
            break;
        case DL_I64:
            ((int64_t *)out)[i] = (int64_t)(i * 31);
            break;
        case DL_U8:
            ((uint8_t *)out)[i] = (uint8_t)(256 * u);
            break;
        default: /* the control word: nothing forbids the step */
            break;
        }
    }
}

/* Runs it on a device; out[slot] are all slots afterwards, on the host. */
static void run_on(dl_device *device, const dl_op_desc *desc, void **out) {
    const dl_backend *backend = device->backend;
    const int n = dl_op_info_of(desc->kind)->n_slots;
    void *slots[DL_OP_MAX_SLOTS + 1] = {0};
    dl_op *op = NULL;
    OK(dl_op_prepare(device, desc, NULL, &op));
    for (int i = 0; i < n; i++) {
        if (desc->slot[i].present) {
            const size_t n_bytes = dl_op_slot_bytes(op, i);
            OK(dl_alloc(n_bytes, 1, &out[i]));
            fill(desc, i, out[i]);
            OK(backend->memory_create(device, n_bytes, &slots[i]));
            OK(backend->upload(device, slots[i], out[i], n_bytes, NULL));
        }
    }
    OK(op->functions->run(op, slots, NULL));
    for (int i = 0; i < n; i++) {
        if (desc->slot[i].present) {
            OK(backend->download(device, out[i], slots[i], dl_op_slot_bytes(op, i), NULL));
            backend->memory_destroy(device, slots[i], dl_op_slot_bytes(op, i));
        }
    }
    dl_op_destroy(&op);
}

static void expect_same_bits(const dl_op_desc *desc) {
    void *got[DL_OP_MAX_SLOTS] = {0}, *expected[DL_OP_MAX_SLOTS] = {0};
    const dl_op_info *info = dl_op_info_of(desc->kind);
    run_on(cuda, desc, got);
    run_on(ref, desc, expected);
    for (int i = 0; i < info->n_slots; i++) {
        if (desc->slot[i].present &&
            memcmp(got[i], expected[i], dl_tensor_plain_bytes(&desc->slot[i])) != 0) {
            fail_msg("%s: slot '%s' has other bits than on ref", info->name, info->slots[i].name);
        }
        dl_free(&got[i]);
        dl_free(&expected[i]);
    }
}

/* The slots of an update: w, g, its states, then step, totals, control, norm. */
static dl_op_desc update_desc(dl_op_kind kind) {
    const dl_op_info *info = dl_op_info_of(kind);
    dl_op_desc desc = {.kind = kind};
    for (int i = 0; i < info->n_slots; i++) {
        desc.slot[i] = tensor(DL_F32, DL_SHAPE(N));
    }
    desc.slot[dl_op_slot(info, "step")] = tensor(DL_U8, DL_SHAPE((int64_t)sizeof(dl_step_block)));
    desc.slot[dl_op_slot(info, "totals")] = tensor(DL_F64, DL_SHAPE(DL_N_TOTALS));
    desc.slot[dl_op_slot(info, "control")] = tensor(DL_I32, DL_SHAPE(DL_N_CONTROLS));
    desc.slot[dl_op_slot(info, "norm")] = tensor(DL_F64, DL_SHAPE(DL_N_NORMS));
    return desc;
}

static void updates_have_the_bits_of_ref(void **state) {
    (void)state;
    dl_op_desc sgd = update_desc(DL_OP_SGD_UPDATE);
    sgd.attr.u.sgd = (dl_sgd_attr){.capacity = 16, .momentum = 0.9, .weight_decay = 1e-3, .nesterov = true};
    expect_same_bits(&sgd);
    dl_op_desc adam = update_desc(DL_OP_ADAM_UPDATE);
    adam.attr.u.adam = (dl_adam_attr){16, 0.9, 0.999, 1e-7, 1e-3};
    expect_same_bits(&adam);
    dl_op_desc rmsprop = update_desc(DL_OP_RMSPROP_UPDATE);
    rmsprop.attr.u.rmsprop = (dl_rmsprop_attr){16, 0.9, 1e-7, 0.8, 1e-3, true};
    expect_same_bits(&rmsprop);
}

static void pointwise_kinds_have_the_bits_of_ref(void **state) {
    (void)state;
    for (int activation = DL_ACT_RELU; activation < DL_N_ACTIVATIONS; activation++) {
        dl_op_desc desc = {.kind = DL_OP_ACTIVATION_BACKWARD, .attr.activation = (dl_activation)activation};
        desc.slot[0] = desc.slot[1] = desc.slot[2] = tensor(DL_F32, DL_SHAPE(SAMPLES, N));
        expect_same_bits(&desc);
    }
    dl_op_desc add = {.kind = DL_OP_ADD};
    add.slot[0] = add.slot[1] = add.slot[2] = tensor(DL_F32, DL_SHAPE(SAMPLES, N));
    expect_same_bits(&add);
    dl_op_desc normalize = {
        .kind = DL_OP_NORMALIZE_IMAGES,
        .attr.u.normalize = {.scale = 1.0 / 255, .n_values = 1, .mean = {0.3}, .std = {0.7}}};
    normalize.slot[0] = tensor(DL_U8, DL_SHAPE(SAMPLES, 10, 10, 3));
    normalize.slot[1] = tensor(DL_F32, DL_SHAPE(SAMPLES, 10, 10, 3));
    expect_same_bits(&normalize);
    dl_op_desc dropout = {
        .kind = DL_OP_DROPOUT_FORWARD,
        .attr = {.training = true, .u.dropout = {.rate = 0.3, .seed = 5, .purpose = 1 << 16}}};
    dropout.slot[0] = dropout.slot[3] = tensor(DL_F32, DL_SHAPE(SAMPLES, N));
    dropout.slot[1] = tensor(DL_I64, DL_SHAPE(SAMPLES));
    dropout.slot[2] = tensor(DL_U8, DL_SHAPE((int64_t)sizeof(dl_step_block)));
    expect_same_bits(&dropout);
}

/* --- the device --- */

/* More than the pinned buffers hold together, and not a multiple of one. */
static void large_uploads_arrive_whole(void **state) {
    (void)state;
    const size_t n_bytes = ((size_t)21 << 20) + 12345;
    unsigned char *sent = NULL, *got = NULL;
    void *memory = NULL;
    dl_stream *stream = NULL;
    OK(dl_alloc(n_bytes, 1, &sent));
    OK(dl_alloc(n_bytes, 1, &got));
    for (size_t i = 0; i < n_bytes; i++) {
        sent[i] = (unsigned char)(i * 2654435761u >> 13);
    }
    OK(cuda->backend->memory_create(cuda, n_bytes, &memory));
    OK(cuda->backend->streams->create(cuda, false, &stream));
    OK(cuda->backend->upload(cuda, memory, sent, n_bytes, stream));
    OK(cuda->backend->streams->synchronize(cuda, stream));
    OK(cuda->backend->download(cuda, got, memory, n_bytes, NULL));
    assert_memory_equal(got, sent, n_bytes);
    cuda->backend->streams->destroy(cuda, stream);
    cuda->backend->memory_destroy(cuda, memory, n_bytes);
    dl_free(&sent);
    dl_free(&got);
}

static void memory_that_is_not_there_is_told(void **state) {
    (void)state;
    void *memory = NULL;
    assert_int_equal(cuda->backend->memory_create(cuda, (size_t)3 << 30, &memory), DL_ERR_MEMORY);
    assert_null(memory);
    assert_non_null(strstr(dl_error_last()->message, "3072 MiB are needed"));
    OK(cuda->backend->memory_create(cuda, 100, &memory)); /* the failure leaves nothing behind */
    unsigned char bytes[100], zero[100] = {0};
    OK(cuda->backend->download(cuda, bytes, memory, sizeof bytes, NULL));
    assert_memory_equal(bytes, zero, sizeof bytes);
    cuda->backend->memory_destroy(cuda, memory, 100);
}

/* CUDA keeps what a call has met until somebody asks: a launch must not report what was told before. */
static void what_was_told_is_not_told_again(void **state) {
    (void)state;
    void *memory = NULL;
    assert_int_equal(cuda->backend->streams->host_create(cuda, (size_t)1 << 60, &memory), DL_ERR_MEMORY);
    dl_op_desc add = {.kind = DL_OP_ADD};
    add.slot[0] = add.slot[1] = add.slot[2] = tensor(DL_F32, DL_SHAPE(SAMPLES, N));
    expect_same_bits(&add);
}

static void what_it_does_not_take_is_a_users_error(void **state) {
    (void)state;
    dl_op_desc desc = {.kind = DL_OP_MAX_POOLING2D_FORWARD,
                       .attr.u.pool = {.window = {20, 20}, .stride = {20, 20}}};
    dl_op *op = NULL;
    desc.slot[0] = tensor(DL_F32, DL_SHAPE(1, 20, 20, 1));
    desc.slot[1] = tensor(DL_F32, DL_SHAPE(1, 1, 1, 1));
    assert_int_equal(dl_op_prepare(cuda, &desc, NULL, &op), DL_ERR_USAGE);
    assert_non_null(strstr(dl_error_last()->message, "backend cuda takes no max_pooling2d_forward"));
}

static void there_is_one_gpu(void **state) {
    (void)state;
    dl_device *other = NULL;
    const dl_device_options options = {.n_threads = 1, .index = 1};
    assert_int_equal(dl_device_open(cuda->backend, &options, &other), DL_ERR_USAGE);
    assert_non_null(strstr(dl_error_last()->message, "there is no GPU 1: this process sees 1"));
    char text[256];
    cuda->backend->describe(cuda, text, sizeof text);
    assert_non_null(strstr(text, "emulated GPU, 1.0 GiB"));
    assert_ptr_equal(dl_backend_find("cuda"), cuda->backend);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(updates_have_the_bits_of_ref),
        cmocka_unit_test(pointwise_kinds_have_the_bits_of_ref),
        cmocka_unit_test(large_uploads_arrive_whole),
        cmocka_unit_test(memory_that_is_not_there_is_told),
        cmocka_unit_test(what_was_told_is_not_told_again),
        cmocka_unit_test(what_it_does_not_take_is_a_users_error),
        cmocka_unit_test(there_is_one_gpu),
    };
    return cmocka_run_group_tests(tests, open_devices, close_devices);
}
