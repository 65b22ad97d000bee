#include "golden.h"

#include "base/mem.h"

void golden_begin(golden_op *op, dl_device *device, dl_op_kind kind) {
    *op = (golden_op){.device = device, .desc = {.kind = kind}};
}

void golden_bind(golden_op *op, const char *name, dl_dtype dtype, dl_shape shape, void *host) {
    const int i = dl_op_slot(dl_op_info_of(op->desc.kind), name);
    op->desc.slot[i] = (dl_tensor_desc){.present = true, .dtype = dtype, .shape = shape};
    op->host[i] = host;
}

/* Slots that the forward operation saved keep its layout and its memory. */
static void borrow_saved(golden_op *op, const golden_op *forward, void **slots) {
    const dl_op_info *info = dl_op_info_of(op->desc.kind);
    for (int i = 0; i < info->n_slots && forward != NULL; i++) {
        if (info->slots[i].saved) {
            const int k = dl_op_slot(dl_op_info_of(forward->desc.kind), info->slots[i].name);
            op->desc.slot[i] = forward->op->desc.slot[k];
            op->desc.slot[i].layout = forward->op->layout[k];
            slots[i] = forward->memory[k];
        }
    }
}

dl_status golden_run(golden_op *op, const golden_op *forward) {
    const dl_op_info *info = dl_op_info_of(op->desc.kind);
    const dl_backend *backend = op->device->backend;
    void *slots[DL_OP_MAX_SLOTS + 1] = {0};
    borrow_saved(op, forward, slots);
    DL_RETURN_IF_ERROR(dl_op_prepare(op->device, &op->desc, forward == NULL ? NULL : forward->op, &op->op));
    for (int i = 0; i < info->n_slots; i++) {
        if (!op->desc.slot[i].present || slots[i] != NULL) {
            continue;
        }
        const size_t n_bytes = dl_op_slot_bytes(op->op, i);
        DL_RETURN_IF_ERROR(backend->memory_create(op->device, n_bytes, &op->memory[i]));
        slots[i] = op->memory[i];
        if (info->slots[i].role != DL_SLOT_OUT) {
            DL_RETURN_IF_ERROR(backend->upload(op->device, slots[i], op->host[i], n_bytes, NULL));
        }
    }
    if (op->op->workspace_bytes > 0) {
        DL_RETURN_IF_ERROR(
            backend->memory_create(op->device, op->op->workspace_bytes, &op->memory[info->n_slots]));
        slots[info->n_slots] = op->memory[info->n_slots];
    }
    DL_RETURN_IF_ERROR(op->op->functions->run(op->op, slots, NULL));
    for (int i = 0; i < info->n_slots; i++) {
        if (info->slots[i].role != DL_SLOT_IN && op->host[i] != NULL) {
            DL_RETURN_IF_ERROR(
                backend->download(op->device, op->host[i], slots[i], dl_op_slot_bytes(op->op, i), NULL));
        }
    }
    return DL_OK;
}

void golden_end(golden_op *op) {
    const dl_op_info *info = dl_op_info_of(op->desc.kind);
    for (int i = 0; i <= info->n_slots && op->op != NULL; i++) {
        const size_t n_bytes = i < info->n_slots ? dl_op_slot_bytes(op->op, i) : op->op->workspace_bytes;
        if (op->memory[i] != NULL) {
            op->device->backend->memory_destroy(op->device, op->memory[i], n_bytes);
        }
    }
    dl_op_destroy(&op->op);
}
