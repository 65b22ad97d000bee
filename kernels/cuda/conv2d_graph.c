#include "kernels/cuda/conv2d_graph.h"

#include "kernels/cuda/matmul_shape.h"

enum { STAGED_ALIGNMENT = 16 };

bool dl_graph_dtype(dl_dtype dtype, cudnnDataType_t *out) {
    switch (dtype) {
    case DL_F32:
        *out = CUDNN_DATA_FLOAT;
        return true;
    case DL_BF16:
        *out = CUDNN_DATA_BFLOAT16;
        return true;
    case DL_F16:
        *out = CUDNN_DATA_HALF;
        return true;
    default:
        return false;
    }
}

/* Strides of [n, c, h, w] where memory is [n, h, w, c]. */
static void channels_last(const int64_t dim[DL_GRAPH_DIMS], int64_t stride[DL_GRAPH_DIMS]) {
    stride[0] = dim[1] * dim[2] * dim[3];
    stride[1] = 1;
    stride[2] = dim[3] * dim[1];
    stride[3] = dim[1];
}

static void channels_first(const int64_t dim[DL_GRAPH_DIMS], int64_t stride[DL_GRAPH_DIMS]) {
    stride[0] = dim[1] * dim[2] * dim[3];
    stride[1] = dim[2] * dim[3];
    stride[2] = dim[3];
    stride[3] = 1;
}

/* The graph being made for a desc. */
typedef struct builder {
    const dl_op_desc *desc;
    const dl_op_info *info;
    dl_conv2d_graph *out;
} builder;

static int add(builder *b, int slot, dl_graph_tensor tensor) {
    const int number = dl_graph_add_tensor(&b->out->graph, &tensor);
    b->out->slot[number] = slot;
    return number;
}

/* A tensor of the types and the alignment of the slot `name`. */
static dl_graph_tensor tensor_of(const builder *b, const char *name, int *slot) {
    *slot = dl_op_slot(b->info, name);
    const dl_tensor_desc *desc = &b->desc->slot[*slot];
    dl_graph_tensor tensor = {.alignment = dl_slot_alignment(b->desc, *slot)};
    (void)dl_graph_dtype(desc->dtype, &tensor.dtype);
    return tensor;
}

static int add_image(builder *b, const char *name) {
    int slot = -1;
    dl_graph_tensor tensor = tensor_of(b, name, &slot);
    const int64_t *dim = b->desc->slot[slot].shape.dim;
    const int64_t nchw[] = {dim[0], dim[3], dim[1], dim[2]};
    for (int d = 0; d < DL_GRAPH_DIMS; d++) {
        tensor.dim[d] = nchw[d];
    }
    channels_last(tensor.dim, tensor.stride);
    return add(b, slot, tensor);
}

/* `image` is the image's type: what cuDNN makes a weight gradient in. */
static int add_weights(builder *b, const char *name, cudnnDataType_t image) {
    int slot = -1;
    dl_graph_tensor tensor = tensor_of(b, name, &slot);
    const dl_tensor_desc *desc = &b->desc->slot[slot];
    const bool staged = tensor.dtype != image;
    for (int d = 0; d < DL_GRAPH_DIMS; d++) {
        tensor.dim[d] = desc->shape.dim[d];
    }
    if (staged || desc->layout != NULL) {
        channels_last(tensor.dim, tensor.stride);
    } else {
        channels_first(tensor.dim, tensor.stride);
    }
    if (staged) {
        tensor.dtype = image;
        tensor.alignment = STAGED_ALIGNMENT;
    }
    return add(b, staged ? DL_CONV2D_STAGED : slot, tensor);
}

static dl_graph_kind kind_of(dl_activation activation) {
    switch (activation) {
    case DL_ACT_TANH:
        return DL_GRAPH_TANH;
    case DL_ACT_SIGMOID:
        return DL_GRAPH_SIGMOID;
    default:
        return DL_GRAPH_RELU;
    }
}

/* The convolution's result is float32 and virtual until the last node rounds it. */
static int add_between(builder *b, int like) {
    dl_graph_tensor tensor = b->out->graph.tensor[like];
    tensor.dtype = CUDNN_DATA_FLOAT;
    tensor.is_virtual = true;
    return add(b, DL_CONV2D_NOWHERE, tensor);
}

/* Bias and activation behind the convolution, whose node has the number `first` and writes y. */
static void fuse(builder *b, int first, int y) {
    dl_graph *graph = &b->out->graph;
    const bool has_bias = b->desc->slot[dl_op_slot(b->info, "b")].present;
    int *previous = &graph->node[first].y;
    if (has_bias) {
        int slot = -1;
        dl_graph_tensor bias = tensor_of(b, "b", &slot);
        for (int d = 0; d < DL_GRAPH_DIMS; d++) {
            bias.dim[d] = d == 1 ? b->desc->slot[slot].shape.dim[0] : 1;
        }
        channels_last(bias.dim, bias.stride);
        *previous = add_between(b, y);
        const dl_graph_node node = {.kind = DL_GRAPH_ADD, .x = *previous, .w = add(b, slot, bias), .y = y};
        dl_graph_add_node(graph, &node);
        previous = &graph->node[graph->n_nodes - 1].y;
    }
    if (b->desc->attr.activation != DL_ACT_NONE) {
        *previous = add_between(b, y);
        const dl_graph_node node = {.kind = kind_of(b->desc->attr.activation), .x = *previous, .y = y};
        dl_graph_add_node(graph, &node);
    }
}

bool dl_conv2d_has_forms(const dl_op_desc *desc) {
    return desc->kind == DL_OP_CONV2D_FORWARD &&
           (desc->attr.activation != DL_ACT_NONE ||
            desc->slot[dl_op_slot(dl_op_info_of(desc->kind), "b")].present);
}

bool dl_conv2d_fuses(const dl_op_desc *desc) {
    return dl_conv2d_has_forms(desc) &&
           (desc->attr.activation == DL_ACT_NONE || desc->attr.activation == DL_ACT_RELU);
}

void dl_conv2d_graph_of(const dl_op_desc *desc, dl_conv2d_form form, dl_conv2d_graph *out) {
    static const struct {
        dl_graph_kind kind;
        const char *x, *w, *y;
    } passes[] = {
        [DL_OP_CONV2D_FORWARD] = {DL_GRAPH_CONV_FORWARD, "x", "w", "y"},
        [DL_OP_CONV2D_BACKWARD_DATA] = {DL_GRAPH_CONV_BACKWARD_DATA, "dx", "w", "dy"},
        [DL_OP_CONV2D_BACKWARD_WEIGHTS] = {DL_GRAPH_CONV_BACKWARD_WEIGHTS, "x", "dw", "dy"},
    };
    const dl_conv_attr *conv = &desc->attr.u.conv;
    *out = (dl_conv2d_graph){.slot = {0}};
    builder b = {.desc = desc, .info = dl_op_info_of(desc->kind), .out = out};
    dl_graph_node node = {.kind = passes[desc->kind].kind};
    node.x = add_image(&b, passes[desc->kind].x);
    node.y = add_image(&b, passes[desc->kind].y);
    node.w = add_weights(&b, passes[desc->kind].w, out->graph.tensor[node.x].dtype);
    for (int d = 0; d < 2; d++) {
        node.stride[d] = conv->stride[d];
        node.before[d] = conv->padding[2 * d];
        node.after[d] = conv->padding[2 * d + 1];
    }
    dl_graph_add_node(&out->graph, &node);
    if (form == DL_CONV2D_FUSED && dl_conv2d_has_forms(desc)) {
        fuse(&b, 0, node.y);
    }
}
