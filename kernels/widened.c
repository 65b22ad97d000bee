#include "kernels/widened.h"

#include "base/mem.h"
#include "kernels/common/half.h"

#include <stdio.h>

/* Float32 images of this size for each thread stay in a core's cache between the casts and the operation. */
enum { IMAGE_BYTES = 256 << 10 };

/* The float32 operation over some samples, and the casts of as many. */
typedef struct portion {
    int64_t n_samples;
    dl_op *inner;                   /* NULL: no samples are left for this portion */
    dl_op *widen[DL_OP_MAX_SLOTS];  /* casts of 16-bit slots that are read, NULL: others */
    dl_op *narrow[DL_OP_MAX_SLOTS]; /* of those that are written */
} portion;

typedef struct widened_op {
    dl_op base;
    portion portion, rest; /* the operation runs portion by portion, then over the samples left */
    int64_t n_portions;
    size_t image[DL_OP_MAX_SLOTS];  /* where in the workspace a 16-bit slot's float32 values are */
    size_t stride[DL_OP_MAX_SLOTS]; /* bytes from a portion to the next, 0 where all read the same */
    size_t inner_at;                /* the inner operation's workspace in ours */
} widened_op;

static bool is_half(const dl_op_desc *desc, int i) {
    return desc->slot[i].present && dl_dtype_is_half(desc->slot[i].dtype);
}

/* --- running --- */

static dl_status run_cast(const dl_op *cast, void *from, void *to, dl_stream *stream) {
    void *const slots[] = {from, to, NULL};
    return cast->functions->run(cast, slots, stream);
}

/* `slots`: where the portion's samples begin. */
static dl_status run_portion(const widened_op *op, const portion *p, void *const *slots, char *workspace,
                             dl_stream *stream) {
    const int n_slots = dl_op_info_of(op->base.desc.kind)->n_slots;
    void *inner[DL_OP_MAX_SLOTS + 1] = {0};
    for (int i = 0; i < n_slots; i++) {
        /* no workspace: no elements either */
        inner[i] = is_half(&op->base.desc, i) && workspace != NULL ? workspace + op->image[i] : slots[i];
        if (p->widen[i] != NULL) {
            DL_RETURN_IF_ERROR(run_cast(p->widen[i], slots[i], inner[i], stream));
        }
    }
    inner[n_slots] = p->inner->workspace_bytes > 0 ? workspace + op->inner_at : NULL;
    DL_RETURN_IF_ERROR(p->inner->functions->run(p->inner, inner, stream));
    for (int i = 0; i < n_slots; i++) {
        if (p->narrow[i] != NULL) {
            DL_RETURN_IF_ERROR(run_cast(p->narrow[i], inner[i], slots[i], stream));
        }
    }
    return DL_OK;
}

static dl_status run_widened(const dl_op *base, void *const *slots, dl_stream *stream) {
    const widened_op *op = (const widened_op *)(const void *)base;
    const int n_slots = dl_op_info_of(base->desc.kind)->n_slots;
    for (int64_t k = 0; k < op->n_portions + (op->rest.inner != NULL); k++) {
        void *here[DL_OP_MAX_SLOTS] = {0};
        for (int i = 0; i < n_slots; i++) {
            here[i] = slots[i] == NULL ? NULL : (char *)slots[i] + op->stride[i] * (size_t)k;
        }
        const portion *p = k < op->n_portions ? &op->portion : &op->rest;
        DL_RETURN_IF_ERROR(run_portion(op, p, here, slots[n_slots], stream));
    }
    return DL_OK;
}

static void destroy_portion(portion *p) {
    dl_op_destroy(&p->inner);
    for (int i = 0; i < DL_OP_MAX_SLOTS; i++) {
        dl_op_destroy(&p->widen[i]);
        dl_op_destroy(&p->narrow[i]);
    }
}

static void destroy_widened(dl_op *base) {
    widened_op *op = (widened_op *)(void *)base;
    destroy_portion(&op->portion);
    destroy_portion(&op->rest);
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

/* A cast of so many elements that needs no workspace, on the device or its fallback. */
static dl_status prepare_cast(dl_device *device, dl_dtype from, dl_dtype to, int64_t n, dl_op **out) {
    dl_op_desc desc = {.kind = DL_OP_CAST};
    desc.slot[0] = (dl_tensor_desc){.present = true, .dtype = from, .shape = DL_SHAPE(n)};
    desc.slot[1] = (dl_tensor_desc){.present = true, .dtype = to, .shape = DL_SHAPE(n)};
    DL_RETURN_IF_ERROR(dl_op_prepare(device, &desc, NULL, out));
    DL_RETURN_ERROR_IF((*out)->workspace_bytes > 0, DL_ERR_INTERNAL, "a cast on backend %s wants a workspace",
                       (*out)->device->backend->name);
    return DL_OK;
}

static dl_status prepare_casts(dl_device *device, const dl_op_desc *desc, int i, portion *p) {
    const dl_slot_role role = dl_op_info_of(desc->kind)->slots[i].role;
    const dl_dtype half = desc->slot[i].dtype;
    const int64_t n = dl_shape_elements(&desc->slot[i].shape);
    if (role != DL_SLOT_OUT || desc->attr.accumulate) {
        DL_RETURN_IF_ERROR(prepare_cast(device, half, DL_F32, n, &p->widen[i]));
    }
    return role == DL_SLOT_IN ? DL_OK : prepare_cast(device, DL_F32, half, n, &p->narrow[i]);
}

static dl_status prepare_portion(dl_device *device, const dl_op_desc *whole, int64_t n_samples,
                                 const dl_op *forward, portion *p) {
    const dl_op_desc desc = n_samples < 0 ? *whole : dl_op_with_samples(whole, n_samples);
    const dl_op_info *info = dl_op_info_of(desc.kind);
    dl_op_desc wide;
    p->n_samples = n_samples;
    DL_RETURN_IF_ERROR(inner_desc(&desc, &wide));
    DL_RETURN_IF_ERROR(dl_op_prepare(device, &wide, forward, &p->inner));
    for (int i = 0; i < info->n_slots; i++) {
        if (is_half(&desc, i)) {
            DL_RETURN_ERROR_IF(p->inner->layout[i] != NULL, DL_ERR_INTERNAL,
                               "%s: slot '%s' of float32 has layout %s, which 16-bit floats cannot follow",
                               info->name, info->slots[i].name, p->inner->layout[i]->name);
            DL_RETURN_IF_ERROR(prepare_casts(device, &desc, i, p));
        }
    }
    return DL_OK;
}

/* Bytes of the images of one sample. */
static size_t sample_bytes(const dl_op_desc *desc) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    size_t n_bytes = 0;
    for (int i = 0; i < info->n_slots; i++) {
        n_bytes += is_half(desc, i) && info->slots[i].batched
                       ? (size_t)dl_shape_stride(&desc->slot[i].shape, 1) * sizeof(float)
                       : 0;
    }
    return n_bytes;
}

/* Samples of a portion: what works sample by sample may run over some of them at a time. Products go whole,
 * for their rows share weights; so does what belongs to groups of samples, and what has layouts; and all on
 * devices with memory of their own, where a part is as many launches as the whole. */
static int64_t portion_of(const dl_device *device, const dl_op_desc *desc) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    const int64_t n = dl_op_samples(desc);
    const bool normalizes =
        desc->kind == DL_OP_BATCH_NORM_FORWARD || desc->kind == DL_OP_BATCH_NORM_BACKWARD_DATA;
    bool divides = !device->backend->own_memory && info->batch == DL_BATCH_PER_SAMPLE &&
                   info->flops == NULL && n > 0 && !(normalizes && desc->attr.u.norm.group > 0);
    for (int i = 0; i < info->n_slots; i++) {
        divides = divides && (desc->slot[i].layout == NULL || is_half(desc, i));
    }
    const size_t each = sample_bytes(desc), room = (size_t)IMAGE_BYTES * (size_t)device->n_threads;
    const int64_t fitting = each > 0 && room / each > 1 ? (int64_t)(room / each) : 1;
    return divides && fitting < n ? fitting : n;
}

static void place_images(widened_op *op) {
    const dl_op_desc *desc = &op->base.desc;
    const dl_op_info *info = dl_op_info_of(desc->kind);
    const dl_op *inner = op->portion.inner;
    size_t n_bytes = 0;
    for (int i = 0; i < info->n_slots; i++) {
        op->base.layout[i] = inner->layout[i];
        op->base.desc.slot[i].layout = inner->layout[i];
        if (info->slots[i].batched && desc->slot[i].present && desc->slot[i].shape.dim[0] > 0) {
            op->stride[i] = dl_tensor_plain_bytes(&desc->slot[i]) / (size_t)desc->slot[i].shape.dim[0] *
                            (size_t)op->portion.n_samples;
        }
        if (is_half(desc, i)) {
            op->image[i] = n_bytes;
            n_bytes += dl_round_up(dl_tensor_plain_bytes(&inner->desc.slot[i]), DL_CACHE_LINE);
        }
    }
    const size_t rest = op->rest.inner != NULL ? op->rest.inner->workspace_bytes : 0;
    op->inner_at = dl_round_up(n_bytes, DL_WORKSPACE_ALIGN);
    op->base.workspace_bytes = op->inner_at + (inner->workspace_bytes > rest ? inner->workspace_bytes : rest);
}

static dl_status prepare_portions(widened_op *op, dl_device *device, const dl_op *forward) {
    const dl_op_desc *desc = &op->base.desc;
    const int64_t n = dl_op_samples(desc), each = portion_of(device, desc);
    DL_RETURN_IF_ERROR(prepare_portion(device, desc, each, forward, &op->portion));
    op->n_portions = each > 0 ? n / each : 1;
    return each > 0 && n % each > 0 ? prepare_portion(device, desc, n % each, forward, &op->rest) : DL_OK;
}

dl_status dl_widened_prepare(dl_device *device, const dl_op_desc *desc, const dl_op *forward, dl_op **out) {
    widened_op *op = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *op, &op));
    op->base.functions = &widened_functions;
    op->base.desc = *desc;
    const dl_status status = prepare_portions(op, device, forward);
    if (status != DL_OK) {
        destroy_widened(&op->base);
        return status;
    }
    const dl_op *inner = op->portion.inner;
    op->base.device = inner->device;
    op->base.batch_invariant = inner->batch_invariant;
    (void)snprintf(op->base.implementation, sizeof op->base.implementation, "float32:%.38s",
                   inner->implementation);
    place_images(op);
    *out = &op->base;
    return DL_OK;
}
