#include "kernels/widened.h"

#include "base/mem.h"
#include "kernels/common/half.h"

#include <stdio.h>

enum { CHUNK = 1 << 16 }; /* elements that one thread converts at a time */

typedef struct widened_op {
    dl_op base;
    dl_op *inner;                  /* of float32 */
    dl_device *threads;            /* divides the conversions */
    size_t image[DL_OP_MAX_SLOTS]; /* offset of a 16-bit slot's float32 values in the workspace */
    size_t inner_at;               /* the inner operation's workspace in ours */
} widened_op;

static bool is_half(const widened_op *op, int i) {
    return op->base.desc.slot[i].present && dl_dtype_is_half(op->base.desc.slot[i].dtype);
}

/* --- conversions --- */

typedef struct conversion {
    dl_dtype dtype; /* of the 16-bit side */
    int64_t n;
    uint16_t *half;
    float *wide;
    bool widens;
} conversion;

static dl_status convert_chunk(void *context, int number) {
    const conversion *c = context;
    const int64_t begin = (int64_t)number * CHUNK, end = begin + CHUNK < c->n ? begin + CHUNK : c->n;
    if (c->widens && c->dtype == DL_BF16) {
        for (int64_t i = begin; i < end; i++) {
            c->wide[i] = dl_float_of_bf16(c->half[i]);
        }
    } else if (c->widens) {
        for (int64_t i = begin; i < end; i++) {
            c->wide[i] = dl_float_of_f16(c->half[i]);
        }
    } else if (c->dtype == DL_BF16) {
        for (int64_t i = begin; i < end; i++) {
            c->half[i] = dl_bf16_of(c->wide[i]);
        }
    } else {
        for (int64_t i = begin; i < end; i++) {
            c->half[i] = dl_f16_of(c->wide[i]);
        }
    }
    return DL_OK;
}

static dl_status convert(const widened_op *op, int i, void *half, char *workspace, bool widens) {
    conversion c = {.dtype = op->base.desc.slot[i].dtype,
                    .n = dl_shape_elements(&op->base.desc.slot[i].shape),
                    .half = half,
                    .wide = (float *)(void *)(workspace + op->image[i]),
                    .widens = widens};
    const int n_chunks = (int)((c.n + CHUNK - 1) / CHUNK);
    return n_chunks == 1 ? convert_chunk(&c, 0)
                         : dl_device_for_each(op->threads, n_chunks, convert_chunk, &c);
}

/* --- running --- */

static dl_status run_widened(const dl_op *base, void *const *slots, dl_stream *stream) {
    const widened_op *op = (const widened_op *)(const void *)base;
    const dl_op_info *info = dl_op_info_of(base->desc.kind);
    char *workspace = slots[info->n_slots];
    void *inner[DL_OP_MAX_SLOTS + 1] = {0};
    for (int i = 0; i < info->n_slots; i++) {
        inner[i] = slots[i];
        if (is_half(op, i)) {
            inner[i] = workspace + op->image[i];
            if (info->slots[i].role != DL_SLOT_OUT || base->desc.attr.accumulate) {
                DL_RETURN_IF_ERROR(convert(op, i, slots[i], workspace, true));
            }
        }
    }
    inner[info->n_slots] = op->inner->workspace_bytes > 0 ? workspace + op->inner_at : NULL;
    DL_RETURN_IF_ERROR(op->inner->functions->run(op->inner, inner, stream));
    for (int i = 0; i < info->n_slots; i++) {
        if (is_half(op, i) && info->slots[i].role != DL_SLOT_IN) {
            DL_RETURN_IF_ERROR(convert(op, i, slots[i], workspace, false));
        }
    }
    return DL_OK;
}

static void destroy_widened(dl_op *base) {
    widened_op *op = (widened_op *)(void *)base;
    dl_op_destroy(&op->inner);
    dl_free(&op);
}

static const dl_op_functions widened_functions = {.run = run_widened, .destroy = destroy_widened};

/* --- preparing --- */

/* The float32 desc: plain where it was 16 bits. */
static dl_status inner_desc(const dl_op_desc *desc, dl_op_desc *out) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    *out = dl_op_widened(desc);
    for (int i = 0; i < info->n_slots; i++) {
        const dl_layout *layout = desc->slot[i].layout;
        if (desc->slot[i].present && dl_dtype_is_half(desc->slot[i].dtype)) {
            DL_RETURN_ERROR_IF(layout != NULL && layout != &dl_layout_any, DL_ERR_INTERNAL,
                               "%s: no backend takes slot '%s' as %s in layout %s", info->name,
                               info->slots[i].name, dl_dtype_name(desc->slot[i].dtype), layout->name);
            out->slot[i].layout = NULL;
        }
    }
    return DL_OK;
}

static dl_status take_workspace(widened_op *op) {
    const dl_op_info *info = dl_op_info_of(op->base.desc.kind);
    size_t n_bytes = 0;
    for (int i = 0; i < info->n_slots; i++) {
        op->base.layout[i] = op->inner->layout[i];
        op->base.desc.slot[i].layout = op->base.layout[i];
        if (is_half(op, i)) {
            DL_RETURN_ERROR_IF(op->inner->layout[i] != NULL, DL_ERR_INTERNAL,
                               "%s: slot '%s' of float32 has layout %s, which 16-bit floats cannot follow",
                               info->name, info->slots[i].name, op->inner->layout[i]->name);
            op->image[i] = n_bytes;
            n_bytes += dl_round_up(dl_tensor_plain_bytes(&op->inner->desc.slot[i]), DL_CACHE_LINE);
        }
    }
    op->inner_at = n_bytes;
    op->base.workspace_bytes = n_bytes + op->inner->workspace_bytes;
    return DL_OK;
}

dl_status dl_widened_prepare(dl_device *device, const dl_op_desc *desc, const dl_op *forward, dl_op **out) {
    widened_op *op = NULL;
    dl_op_desc wide;
    DL_RETURN_IF_ERROR(inner_desc(desc, &wide));
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *op, &op));
    op->base.functions = &widened_functions;
    op->base.desc = *desc;
    op->threads = device;
    dl_status status = dl_op_prepare(device, &wide, forward, &op->inner);
    if (status == DL_OK) {
        op->base.device = op->inner->device;
        op->base.batch_invariant = op->inner->batch_invariant;
        (void)snprintf(op->base.implementation, sizeof op->base.implementation, "float32:%.38s",
                       op->inner->implementation);
        status = take_workspace(op);
    }
    if (status != DL_OK) {
        destroy_widened(&op->base);
        return status;
    }
    *out = &op->base;
    return DL_OK;
}
