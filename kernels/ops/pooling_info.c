/* Maximum and average over windows. */
#include "kernels/ops/info.h"
#include "kernels/ops/sizes.h"

static const dl_slot_info forward_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_IMAGE, -1),
    DL_SLOT_ROW("y", OUT, DL_SLOT_IMAGE, -1),
    DL_SLOT_ROW("index", OUT, DL_SLOT_BATCHED | DL_SLOT_OPTIONAL | DL_SLOT_SAVED, -1),
};

static const dl_slot_info backward_slots[] = {
    DL_SLOT_ROW("dy", IN, DL_SLOT_IMAGE, -1),
    DL_SLOT_ROW("index", IN, DL_SLOT_BATCHED | DL_SLOT_SAVED, -1),
    DL_SLOT_ROW("y", IN, DL_SLOT_IMAGE | DL_SLOT_OPTIONAL, -1),
    DL_SLOT_ROW("dx", OUT, DL_SLOT_IMAGE, -1),
};

static const dl_slot_info average_forward_slots[] = {
    DL_SLOT_ROW("x", IN, DL_SLOT_IMAGE, -1),
    DL_SLOT_ROW("y", OUT, DL_SLOT_IMAGE, -1),
};

static const dl_slot_info average_backward_slots[] = {
    DL_SLOT_ROW("dy", IN, DL_SLOT_IMAGE, -1),
    DL_SLOT_ROW("dx", OUT, DL_SLOT_IMAGE, -1),
};

static dl_status check_attr(const dl_op_desc *desc) {
    const dl_pool_attr *pool = &desc->attr.u.pool;
    const char *name = dl_op_info_of(desc->kind)->name;
    for (int i = 0; i < 2; i++) {
        DL_RETURN_ERROR_IF(pool->stride[i] < 1 || pool->window[i] < 1, DL_ERR_INTERNAL,
                           "%s: stride or window below 1", name);
    }
    for (int i = 0; i < 4; i++) {
        /* So every window holds a real cell. */
        DL_RETURN_ERROR_IF(pool->padding[i] < 0 || pool->padding[i] >= pool->window[i / 2], DL_ERR_INTERNAL,
                           "%s: padding is negative or not below the window", name);
    }
    return DL_OK;
}

static dl_status check_shapes(const dl_op_desc *desc, const char *x, const char *y) {
    const dl_pool_attr *pool = &desc->attr.u.pool;
    DL_RETURN_IF_ERROR(check_attr(desc));
    DL_RETURN_IF_ERROR(dl_info_check_dims(desc, x, 4));
    DL_RETURN_IF_ERROR(dl_info_check_dims(desc, y, 4));
    DL_RETURN_IF_ERROR(dl_info_check_dtypes(desc, (const char *const[]){x, "y", y, NULL}, DL_F32));
    DL_RETURN_IF_ERROR(dl_info_check_dtype(desc, "index", DL_U8));
    DL_RETURN_IF_ERROR(dl_info_check_same(desc, y, "index"));
    DL_RETURN_IF_ERROR(dl_info_check_same(desc, y, "y"));
    const dl_pooling2d_sizes z = dl_pooling2d_sizes_of(desc);
    const int64_t p = dl_window_positions(z.h, z.r, pool->stride[0], pool->padding[0], pool->padding[1]);
    const int64_t q = dl_window_positions(z.w, z.s, pool->stride[1], pool->padding[2], pool->padding[3]);
    DL_RETURN_ERROR_IF(p < 1 || q < 1, DL_ERR_INTERNAL, "%s: the window is larger than the image",
                       dl_op_info_of(desc->kind)->name);
    DL_RETURN_IF_ERROR(dl_info_check_shape(desc, y, DL_SHAPE(z.n, p, q, z.c)));
    return DL_OK;
}

static dl_status check_forward(const dl_op_desc *desc) {
    return check_shapes(desc, "x", "y");
}

static dl_status check_average_backward(const dl_op_desc *desc) {
    return check_shapes(desc, "dx", "dy");
}

static dl_status check_backward(const dl_op_desc *desc) {
    DL_RETURN_IF_ERROR(check_shapes(desc, "dx", "dy"));
    const dl_activation activation = desc->attr.activation;
    DL_RETURN_ERROR_IF(activation != DL_ACT_NONE && activation != DL_ACT_RELU, DL_ERR_INTERNAL,
                       "max_pooling2d_backward: only the backward pass of relu can be fused");
    DL_RETURN_ERROR_IF((activation == DL_ACT_RELU) != desc->slot[2].present, DL_ERR_INTERNAL,
                       "max_pooling2d_backward: slot 'y' is given if and only if relu is fused");
    return DL_OK;
}

/* Windows that hold a cell, or cells of a window. */
static int64_t window_terms(const dl_op_desc *desc, int slot) {
    (void)slot;
    const dl_pooling2d_sizes z = dl_pooling2d_sizes_of(desc);
    return z.r * z.s;
}

static const dl_op_rounding window_rounding = {.terms = window_terms, .of_terms = true};

const dl_op_info dl_op_info_max_pooling2d_forward = {
    .name = "max_pooling2d_forward",
    .doc = "y = largest x in the window; padding never wins, the first of equals does; index says which won",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(forward_slots),
    .slots = forward_slots,
    .n_gradients = 1,
    .gradients = {{DL_OP_MAX_POOLING2D_BACKWARD, {"x", NULL}}},
    .check = check_forward,
};

const dl_op_info dl_op_info_max_pooling2d_backward = {
    .name = "max_pooling2d_backward",
    .doc = "dx[cell] = sum of dy of the windows it won, of which only those with y > 0 when relu is fused",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(backward_slots),
    .slots = backward_slots,
    .fuses_activation = true,
    .check = check_backward,
    .rounding = &window_rounding,
};

const dl_op_info dl_op_info_average_pooling2d_forward = {
    .name = "average_pooling2d_forward",
    .doc = "y = mean of the x in the window that are not padding",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(average_forward_slots),
    .slots = average_forward_slots,
    .n_gradients = 1,
    .gradients = {{DL_OP_AVERAGE_POOLING2D_BACKWARD, {"x"}}},
    .check = check_forward,
    .rounding = &window_rounding,
};

const dl_op_info dl_op_info_average_pooling2d_backward = {
    .name = "average_pooling2d_backward",
    .doc = "dx[cell] = sum over the windows that hold it of dy / cells of the window that are not padding",
    .batch = DL_BATCH_PER_SAMPLE,
    .n_slots = DL_N_SLOTS(average_backward_slots),
    .slots = average_backward_slots,
    .check = check_average_backward,
    .rounding = &window_rounding,
};
