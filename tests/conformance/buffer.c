#include "buffer.h"

#include "base/mem.h"
#include "kernels/ref/strict.h"

#include <string.h>

enum { GUARD_BYTES = DL_PAGE_BYTES, GUARD = 0xC3 };

dl_status dlc_buffer_create(dl_device *device, size_t n_bytes, dlc_buffer *out) {
    *out = (dlc_buffer){.device = device, .n_bytes = n_bytes};
    out->total = GUARD_BYTES + dl_round_up(n_bytes, DL_PAGE_BYTES) + GUARD_BYTES;
    void *base = NULL;
    DL_RETURN_IF_ERROR(device->backend->memory_create(device, out->total, &base));
    out->base = base;
    DL_RETURN_IF_ERROR(dl_alloc(out->total, 1, &out->host));
    out->data = out->base + GUARD_BYTES;
    out->bytes = out->host + GUARD_BYTES;
    DL_RETURN_IF_ERROR(dlc_buffer_put(out, NULL));
    return DL_OK;
}

void dlc_buffer_destroy(dlc_buffer *buffer) {
    if (buffer->base != NULL) {
        buffer->device->backend->memory_destroy(buffer->device, buffer->base, buffer->total);
    }
    dl_free(&buffer->host);
    *buffer = (dlc_buffer){0};
}

dl_status dlc_buffer_put(dlc_buffer *buffer, const void *bytes) {
    memset(buffer->host, GUARD, buffer->total);
    if (bytes != NULL) {
        memcpy(buffer->bytes, bytes, buffer->n_bytes);
    } else {
        dl_strict_poison(buffer->bytes, buffer->n_bytes);
    }
    dl_device *device = buffer->device;
    DL_RETURN_IF_ERROR(device->backend->upload(device, buffer->base, buffer->host, buffer->total, NULL));
    return DL_OK;
}

dl_status dlc_buffer_get(dlc_buffer *buffer, bool *intact) {
    dl_device *device = buffer->device;
    DL_RETURN_IF_ERROR(device->backend->download(device, buffer->host, buffer->base, buffer->total, NULL));
    *intact = true;
    for (size_t i = 0; i < GUARD_BYTES; i++) {
        *intact = *intact && buffer->host[i] == GUARD;
    }
    for (size_t i = GUARD_BYTES + buffer->n_bytes; i < buffer->total; i++) {
        *intact = *intact && buffer->host[i] == GUARD;
    }
    return DL_OK;
}

dl_status dlc_convert(const dlc_conversion *c, dlc_buffer *from, dlc_buffer *to) {
    dl_device *device = from->device;
    dl_op_desc desc = {.kind = c->batched ? DL_OP_REORDER : c->from == NULL ? DL_OP_PACK : DL_OP_UNPACK};
    desc.attr.accumulate = c->add;
    desc.slot[0] = desc.slot[1] = *c->tensor;
    desc.slot[0].dtype = desc.kind == DL_OP_PACK ? DL_F32 : c->tensor->dtype;
    desc.slot[0].layout = c->from;
    desc.slot[1].layout = c->to;
    dl_op *op = NULL;
    DL_RETURN_IF_ERROR(dl_op_prepare(device, &desc, NULL, &op));
    dlc_buffer workspace = {0};
    dl_status status = DL_OK;
    DL_GOTO_ERROR_IF(status, op->layout[0] != c->from || op->layout[1] != c->to, done, DL_ERR_INTERNAL,
                     "%s does not keep to the layouts asked for", dl_op_info_of(desc.kind)->name);
    DL_GOTO_IF_ERROR(status, dlc_buffer_create(device, op->workspace_bytes, &workspace), done);
    void *slots[] = {from->data, to->data, op->workspace_bytes > 0 ? workspace.data : NULL};
    DL_GOTO_IF_ERROR(status, op->functions->run(op, slots, NULL), done);
done:
    dlc_buffer_destroy(&workspace);
    dl_op_destroy(&op);
    return status;
}
