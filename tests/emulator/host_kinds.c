/* The kinds that libraries compute on a GPU, computed by `ref` in the device's memory: last in the table of
 * families, so that the plugin's own kernels go before. */
#include "emulator.h"

#include "base/mem.h"
#include "kernels/cuda/cuda.h"

#include <stdlib.h>
#include <string.h>

typedef struct host_op {
    dl_op base;
    dl_op *inner; /* of ref */
} host_op;

static dl_device *ref;

typedef struct call {
    const dl_op *op;
    void *slots[DL_OP_MAX_SLOTS + 1];
} call;

static void run_call(void *context) {
    const call *c = context;
    emulator_memory_open();
    if (c->op->functions->run(c->op, c->slots, NULL) != DL_OK) {
        abort();
    }
    emulator_memory_close();
}

static dl_status run_host(const dl_op *op, void *const *slots, dl_stream *stream) {
    const host_op *self = (const host_op *)(const void *)op;
    call c = {.op = self->inner};
    memcpy(c.slots, slots, ((size_t)dl_op_info_of(op->desc.kind)->n_slots + 1) * sizeof *slots);
    emulator_submit(dl_cuda_handle(stream), run_call, &c, sizeof c);
    return DL_OK;
}

static void destroy_host(dl_op *op) {
    dl_op_destroy(&((host_op *)(void *)op)->inner);
    dl_free(&op);
}

static const dl_op_functions host_functions = {.run = run_host, .destroy = destroy_host};

static dl_status prepare_host(dl_device *device, const dl_op_desc *desc, const dl_op *forward, dl_op **out) {
    const dl_device_options options = {.n_threads = 1};
    host_op *op = NULL;
    (void)forward; /* ref needs none */
    if (ref == NULL) {
        DL_RETURN_IF_ERROR(dl_device_open(dl_backend_find("ref"), &options, &ref));
    }
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *op, &op));
    dl_cuda_op_init(&op->base, device, desc, &host_functions, "host");
    const dl_status status = dl_op_prepare(ref, &op->base.desc, NULL, &op->inner);
    if (status != DL_OK) {
        dl_free(&op);
        return status;
    }
    op->base.workspace_bytes = op->inner->workspace_bytes;
    *out = &op->base;
    return DL_OK;
}

/* Not what keeps something for the way back, of which either all is the plugin's or nothing, nor fusions that
 * a GPU does without. */
static bool takes_host(const dl_op_desc *desc) {
    switch (desc->kind) {
    case DL_OP_MAX_POOLING2D_FORWARD:
    case DL_OP_MAX_POOLING2D_BACKWARD:
    case DL_OP_LSTM_LAYER_FORWARD:
    case DL_OP_LSTM_LAYER_BACKWARD:
    case DL_OP_EMBEDDING_DENSE_FORWARD:
    case DL_OP_EMBEDDING_DENSE_BACKWARD_WEIGHTS:
        return false;
    default:
        return dl_op_check(desc) == DL_OK;
    }
}

const dl_cuda_kind dl_cuda_kinds_host[] = {
#define DL_OP_KIND(NAME, name) {.kind = DL_OP_##NAME, .prepare = prepare_host, .takes = takes_host},
#include "kernels/ops.def"
#undef DL_OP_KIND
    {.run = NULL},
};
