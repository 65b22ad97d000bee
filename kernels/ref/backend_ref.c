#include "base/mem.h"
#include "kernels/ref/index_ref.h"
#include "kernels/ref/ref.h"

#include <stdio.h>
#include <string.h>

typedef struct ref_device {
    dl_device base;
    dl_index_layouts index_layouts;
} ref_device;

typedef void (*run_function)(const dl_op *op, void *const *slots);

static const run_function run_functions[DL_N_OP_KINDS] = {
#define DL_OP_KIND(NAME, name) [DL_OP_##NAME] = dl_##name##_ref,
#include "kernels/ops.def"
#undef DL_OP_KIND
};

static ref_device *ref_of(dl_device *device) {
    return (ref_device *)(void *)device;
}

static dl_status ref_open(const dl_device_options *options, dl_device **out) {
    (void)options;
    ref_device *device = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *device, &device));
    *out = &device->base;
    return DL_OK;
}

static void ref_close(dl_device *device) {
    dl_index_layouts_free(&ref_of(device)->index_layouts);
    dl_free(&device);
}

static void ref_version(char *out, size_t n_bytes) {
    (void)snprintf(out, n_bytes, "plain C, sums in double");
}

static bool ref_takes(const dl_device *device, const dl_op_desc *desc) {
    (void)device;
    return (desc->kind == DL_OP_CAST || !dl_op_has_half(desc)) && dl_op_check(desc) == DL_OK;
}

static dl_status op_run(const dl_op *op, void *const *slots, dl_stream *stream) {
    (void)stream;
    run_functions[op->desc.kind](op, slots);
    return DL_OK;
}

static void op_destroy(dl_op *op) {
    dl_free(&op);
}

static const dl_op_functions op_functions = {.run = op_run, .destroy = op_destroy};

/* Every slot is plain, but the index of a pooling window of more than 256 cells, which needs more than a
 * byte. */
static dl_status choose_layouts(dl_device *device, dl_op *op) {
    const dl_op_info *info = dl_op_info_of(op->desc.kind);
    for (int i = 0; i < info->n_slots; i++) {
        op->layout[i] = NULL;
        if (info->slots[i].saved && op->desc.slot[i].present) {
            DL_RETURN_IF_ERROR(
                dl_index_layout_for(&ref_of(device)->index_layouts, &op->desc, i, &op->layout[i]));
        }
        op->desc.slot[i].layout = op->layout[i];
    }
    return DL_OK;
}

static size_t workspace_of(const dl_op_desc *desc) {
    switch (desc->kind) {
    case DL_OP_LSTM_BACKWARD_DATA:
        return dl_lstm_backward_data_ref_workspace(desc);
    case DL_OP_LSTM_LAYER_FORWARD:
    case DL_OP_LSTM_LAYER_BACKWARD:
        return dl_lstm_layer_ref_workspace(desc);
    default:
        return 0;
    }
}

static dl_status ref_prepare(dl_device *device, const dl_op_desc *desc, const dl_op *forward, dl_op **out) {
    (void)forward;
    dl_op *op = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *op, &op));
    *op = (dl_op){.functions = &op_functions,
                  .device = device,
                  .desc = *desc,
                  .batch_invariant = dl_op_info_of(desc->kind)->batch == DL_BATCH_PER_SAMPLE};
    (void)snprintf(op->implementation, sizeof op->implementation, "ref");
    op->workspace_bytes = workspace_of(desc);
    const dl_status status = choose_layouts(device, op);
    if (status != DL_OK) {
        dl_free(&op);
        return status;
    }
    *out = op;
    return DL_OK;
}

static dl_status memory_create(dl_device *device, size_t n_bytes, void **out) {
    (void)device;
    return dl_pages_alloc(n_bytes, out);
}

static void memory_destroy(dl_device *device, void *memory, size_t n_bytes) {
    (void)device;
    dl_pages_free(memory, n_bytes);
}

static dl_status copy(dl_device *device, void *to, const void *from, size_t n_bytes, dl_stream *stream) {
    (void)device;
    (void)stream;
    memcpy(to, from, n_bytes);
    return DL_OK;
}

static const dl_layout *layout_with_samples(dl_device *device, const dl_layout *layout, int64_t n_samples) {
    return dl_index_layout_with_samples(&ref_of(device)->index_layouts, layout, n_samples);
}

/* The members that ref and ref:strict share. */
#define REF_MEMBERS                                                                                          \
    .open = ref_open, .close = ref_close, .version = ref_version, .takes = ref_takes,                        \
    .prepare = ref_prepare, .memory_create = memory_create, .memory_destroy = memory_destroy,                \
    .upload = copy, .download = copy, .layout_with_samples = layout_with_samples

const dl_backend dl_backend_ref = {
    .name = "ref",
    .doc = "plain C with sums in double on one thread: slow, what the others are measured against",
    REF_MEMBERS,
};

const dl_backend dl_backend_ref_strict = {
    .name = "ref:strict",
    .doc = "ref with the memory of each instruction fenced: slower, finds wrong programs",
    .strict = true,
    REF_MEMBERS,
};
