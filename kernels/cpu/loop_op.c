/* Operations that are loops of our own: what they take, how their items are counted, and how threads share
 * them. */
#include "kernels/cpu/cpu.h"

#include "base/mem.h"
#include "kernels/common/blocks.h"
#include "kernels/ops/sizes.h"

#include <omp.h>
#include <stdio.h>

/* Below this many elements a second thread costs more than it brings; parts begin at multiples of GRAIN. */
enum { ELEMENTS_WORTH_A_THREAD = 16384, GRAIN = 1024 };

/* The layout of the first layout-free slot that leaves no choice; NULL is plain. */
static const dl_layout *common_layout(const dl_op_desc *desc) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    for (int i = 0; i < info->n_slots; i++) {
        const dl_tensor_desc *tensor = &desc->slot[i];
        if (tensor->present && info->slots[i].layout_free && tensor->layout != &dl_layout_any) {
            return tensor->layout;
        }
    }
    return NULL;
}

static int64_t block_of(const dl_layout *layout) {
    dl_shim_md_info info;
    dl_shim_md_info_of(dl_onednn_md(layout), &info);
    return info.block[0];
}

/* The same kind of layout for another tensor: the other side of a pool, its index of bytes. */
static dl_status layout_like(const dl_layout *layout, const dl_tensor_desc *tensor, const dl_layout **out) {
    *out = NULL;
    if (layout == NULL || tensor->shape.n_dims != 4) {
        return DL_OK;
    }
    const int64_t *d = tensor->shape.dim;
    const dnnl_dims_t dims = {d[0], d[3], d[1], d[2]};
    return dl_onednn_layout_tag(4, dims, dl_onednn_dtype(tensor->dtype),
                                block_of(layout) == 16 ? dnnl_nChw16c : dnnl_nChw8c, "nchw", out);
}

static bool channel_blocked(const dl_op_desc *desc, const dl_layout *layout) {
    dl_cpu_image_view view;
    dl_tensor_desc tensor = desc->slot[0];
    tensor.layout = layout;
    if (!dl_cpu_image_view_of(&tensor, &view)) {
        return false;
    }
    return view.block == 0 || view.block == 8 || view.block == 16;
}

/* Padding of a blocked layout must stay zero; 1 / (1 + e^-0) is not. */
static bool keeps_padding(const dl_op_desc *desc, const dl_layout *layout) {
    return layout == NULL || layout->n_bytes == dl_tensor_plain_bytes(&desc->slot[0]) ||
           desc->attr.activation != DL_ACT_SIGMOID;
}

static bool takes_tree_sum(const dl_op_desc *desc) {
    return desc->slot[0].dtype == DL_F32 && desc->slot[0].shape.dim[0] <= DL_CPU_LANES;
}

/* The index is a byte: the place of the maximum in the window. */
static bool takes_pooling(const dl_op_desc *desc) {
    const dl_pool_attr *pool = &desc->attr.u.pool;
    return pool->window[0] * pool->window[1] <= 256 && channel_blocked(desc, common_layout(desc));
}

bool dl_cpu_loop_takes(const dl_device *device, const dl_op_desc *desc) {
    const dl_cpu_device *cpu = (const dl_cpu_device *)(const void *)device;
    if (cpu->loops->part[desc->kind] == NULL || (dl_op_has_half(desc) && desc->kind != DL_OP_CAST)) {
        return false;
    }
    switch (desc->kind) {
    case DL_OP_TREE_SUM:
        return takes_tree_sum(desc);
    case DL_OP_MAX_POOLING2D_FORWARD:
    case DL_OP_MAX_POOLING2D_BACKWARD:
        return takes_pooling(desc);
    case DL_OP_AVERAGE_POOLING2D_FORWARD:
    case DL_OP_AVERAGE_POOLING2D_BACKWARD:
        return channel_blocked(desc, common_layout(desc));
    case DL_OP_BATCH_NORM_SUMS:
    case DL_OP_BATCH_NORM_FORWARD:
    case DL_OP_BATCH_NORM_BACKWARD_SUMS:
    case DL_OP_BATCH_NORM_BACKWARD_DATA:
        return common_layout(desc) == NULL || channel_blocked(desc, common_layout(desc));
    case DL_OP_ACTIVATION_FORWARD:
        return keeps_padding(desc, common_layout(desc));
    case DL_OP_COMMIT:
        return desc->attr.u.commit.decay > 0;
    case DL_OP_ACCURACY:
    case DL_OP_SOFTMAX_CROSS_ENTROPY: /* results in single precision */
        return desc->slot[2].dtype == DL_F32;
    default:
        return true;
    }
}

static dl_status set_layouts(dl_cpu_loop_op *op, const dl_op_desc *desc) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    const dl_layout *common = common_layout(desc);
    for (int i = 0; i < info->n_slots; i++) {
        dl_tensor_desc *tensor = &op->base.desc.slot[i];
        const dl_layout *asked = tensor->layout;
        const dl_layout *layout = NULL;
        if (!tensor->present) {
            continue;
        }
        if (info->slots[i].layout_free && dl_shape_equal(&tensor->shape, &desc->slot[0].shape)) {
            layout = common;
        } else if (info->slots[i].layout_free || info->slots[i].saved) {
            DL_RETURN_IF_ERROR(layout_like(common, tensor, &layout));
        }
        DL_RETURN_ERROR_IF(!info->slots[i].saved && asked != &dl_layout_any && asked != layout,
                           DL_ERR_INTERNAL, "%s: slot '%s' is asked in layout %s where the others give %s",
                           info->name, info->slots[i].name, asked != NULL ? asked->name : "plain",
                           layout != NULL ? layout->name : "plain");
        tensor->layout = layout;
        op->base.layout[i] = layout;
    }
    return DL_OK;
}

static void set_pooling(dl_cpu_loop_op *op, const dl_op_desc *desc) {
    const dl_pool_attr *pool = &desc->attr.u.pool;
    const dl_pooling2d_sizes z = dl_pooling2d_sizes_of(desc);
    dl_cpu_image_view view;
    (void)dl_cpu_image_view_of(&op->base.desc.slot[0], &view); /* takes_pooling() asked */
    op->n_items = view.n;
    op->grain = 1;
    op->item_elements = z.h * z.w * view.channels;
    op->loop.pooling = (dl_cpu_pooling){
        .h = z.h,
        .w = z.w,
        .c = view.channels,
        .p = z.p,
        .q = z.q,
        .r = z.r,
        .s = z.s,
        .stride = {pool->stride[0], pool->stride[1]},
        .padding = {pool->padding[0], pool->padding[2]},
    };
}

/* (x scale - mean) / std as one multiplication and one addition, the tables repeating channel by channel. */
static void set_normalize(dl_cpu_loop_op *op, const dl_op_desc *desc) {
    const dl_normalize_attr *attr = &desc->attr.u.normalize;
    op->loop.period =
        (int64_t)attr->n_values * DL_CPU_LANES * (DL_CPU_TABLE / (attr->n_values * DL_CPU_LANES));
    for (int64_t i = 0; i < op->loop.period; i++) {
        const int64_t c = i % attr->n_values;
        op->loop.scale[i] = (float)(attr->scale / attr->std[c]);
        op->loop.shift[i] = (float)(-attr->mean[c] / attr->std[c]);
    }
    op->grain = op->loop.period * 64;
}

/* Sums are divided by blocks of channels over the threads, the others by samples. */
static void set_channels(dl_cpu_loop_op *op, const dl_op_desc *desc) {
    const dl_batch_norm_sizes z = dl_batch_norm_sizes_of(desc);
    const bool sums = desc->kind == DL_OP_BATCH_NORM_SUMS || desc->kind == DL_OP_BATCH_NORM_BACKWARD_SUMS;
    dl_cpu_image_view view = {.block = 0};
    (void)dl_cpu_image_view_of(&op->base.desc.slot[0], &view); /* no image: as it is */
    const int64_t width = view.block > 0 ? view.block : DL_CPU_LANES;
    op->loop.channels = (dl_cpu_channels){
        .n = z.n,
        .cells = z.cells,
        .channels = z.channels,
        .row = view.block > 0 ? view.block : z.channels,
        .width = width,
        .n_blocks = (z.channels + width - 1) / width,
        .groups = z.groups,
        .group = z.group,
        .blocked = view.block > 0,
    };
    op->n_items = sums ? op->loop.channels.n_blocks : z.n;
    op->grain = 1;
    op->item_elements = sums ? z.n * z.cells * width : z.cells * z.channels;
}

/* The rows of a concatenation: all dimensions but the last. */
static void set_concatenation(dl_cpu_loop_op *op, const dl_op_desc *desc) {
    const dl_shape *whole = &desc->slot[DL_MAX_CONCATENATED].shape;
    op->loop.row = whole->dim[whole->n_dims - 1];
    op->n_items = op->loop.row == 0 ? 0 : dl_shape_elements(whole) / op->loop.row;
    op->grain = 1;
    op->item_elements = op->loop.row;
}

static void set_samples(dl_cpu_loop_op *op, const dl_op_desc *desc) {
    op->n_items = desc->slot[0].shape.dim[0];
    op->grain = 1;
    op->loop.row = dl_shape_stride(&desc->slot[0].shape, 1);
    op->item_elements = op->loop.row;
}

static void set_rows(dl_cpu_loop_op *op, const dl_op_desc *desc) {
    const dl_row_sizes rows = dl_row_sizes_of(desc);
    op->n_items = rows.n;
    op->grain = 1;
    op->loop.row = op->item_elements = rows.k;
}

/* Items and their sizes; the default is the elements of slot 0 as they are stored. */
static void set_items(dl_cpu_loop_op *op, const dl_op_desc *desc) {
    const dl_tensor_desc *first = &desc->slot[0];
    op->n_items = (int64_t)(dl_op_slot_bytes(&op->base, 0) / dl_dtype_bytes(first->dtype));
    op->grain = GRAIN;
    op->item_elements = 1;
    op->loop.item_bytes = dl_dtype_bytes(first->dtype);
    switch (desc->kind) {
    case DL_OP_MAX_POOLING2D_FORWARD:
    case DL_OP_MAX_POOLING2D_BACKWARD:
    case DL_OP_AVERAGE_POOLING2D_FORWARD:
    case DL_OP_AVERAGE_POOLING2D_BACKWARD:
        set_pooling(op, desc);
        break;
    case DL_OP_BATCH_NORM_SUMS:
    case DL_OP_BATCH_NORM_FORWARD:
    case DL_OP_BATCH_NORM_BACKWARD_SUMS:
    case DL_OP_BATCH_NORM_BACKWARD_DATA:
        set_channels(op, desc);
        break;
    case DL_OP_CONCATENATE_FORWARD:
    case DL_OP_CONCATENATE_BACKWARD:
        set_concatenation(op, desc);
        break;
    case DL_OP_NORMALIZE_IMAGES:
        set_normalize(op, desc);
        break;
    case DL_OP_TREE_SUM:
        op->loop.row = dl_shape_stride(&first->shape, 1);
        op->n_items = op->loop.row;
        break;
    case DL_OP_SUM_SQUARES:
        op->n_items = desc->slot[1].shape.dim[0];
        op->grain = 1;
        op->item_elements = DL_SQUARES_BLOCK;
        break;
    case DL_OP_EMBEDDING_FORWARD:
        op->loop.row = dl_embedding_sizes_of(desc).width;
        op->n_items = dl_embedding_sizes_of(desc).tokens;
        op->grain = 1;
        op->item_elements = op->loop.row;
        break;
    case DL_OP_EMBEDDING_BACKWARD_WEIGHTS:
        op->loop.row = op->n_items = dl_embedding_sizes_of(desc).width;
        op->grain = DL_CPU_LANES;
        op->item_elements = dl_embedding_sizes_of(desc).tokens;
        break;
    case DL_OP_REVERSE_BY_LENGTH:
    case DL_OP_REVERSE_BY_LENGTH_BACKWARD:
    case DL_OP_TAKE_LAST:
    case DL_OP_TAKE_LAST_BACKWARD:
    case DL_OP_ZERO_PADDING2D_FORWARD:
    case DL_OP_ZERO_PADDING2D_BACKWARD:
    case DL_OP_DROPOUT_FORWARD:
    case DL_OP_DROPOUT_BACKWARD:
        set_samples(op, desc);
        break;
    case DL_OP_SOFTMAX_FORWARD:
    case DL_OP_SOFTMAX_BACKWARD:
    case DL_OP_SOFTMAX_CROSS_ENTROPY:
    case DL_OP_ACCURACY:
        set_rows(op, desc);
        break;
    default:
        break;
    }
}

static dl_range part_of(const dl_cpu_loop_op *op, int n_parts, int part) {
    const int64_t n_grains = (op->n_items + op->grain - 1) / op->grain;
    dl_range range = dl_range_part(n_grains, n_parts, part);
    range.begin *= op->grain;
    range.end = range.end * op->grain < op->n_items ? range.end * op->grain : op->n_items;
    return range;
}

static dl_status run_loop(const dl_op *base, void *const *slots, dl_stream *stream) {
    (void)stream;
    const dl_cpu_loop_op *op = (const dl_cpu_loop_op *)(const void *)base;
    const int n_threads = base->device->n_threads;
    if (n_threads == 1 || op->n_items * op->item_elements < ELEMENTS_WORTH_A_THREAD) {
        op->part(&base->desc, &op->loop, slots, (dl_range){0, op->n_items});
        return DL_OK;
    }
#pragma omp parallel num_threads(n_threads)
    op->part(&base->desc, &op->loop, slots, part_of(op, omp_get_num_threads(), omp_get_thread_num()));
    return DL_OK;
}

static void destroy_loop(dl_op *base) {
    dl_cpu_loop_op *op = (dl_cpu_loop_op *)(void *)base;
    dl_free(&op);
}

static const dl_op_functions loop_functions = {.run = run_loop, .destroy = destroy_loop};

dl_status dl_cpu_prepare_loop(dl_device *device, const dl_op_desc *desc, const dl_op *forward, dl_op **out) {
    (void)forward;
    const dl_cpu_loops *loops = dl_cpu_device_of(device)->loops;
    dl_cpu_loop_op *op = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *op, &op));
    op->base.functions = &loop_functions;
    op->base.device = device;
    op->base.desc = *desc;
    op->base.batch_invariant = true;
    op->part = loops->part[desc->kind];
    (void)snprintf(op->base.implementation, sizeof op->base.implementation, "loop:%s", loops->isa);
    const dl_status status = set_layouts(op, desc);
    if (status != DL_OK) {
        dl_free(&op);
        return status;
    }
    set_items(op, desc);
    *out = &op->base;
    return DL_OK;
}
