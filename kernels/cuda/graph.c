/* Graphs as values, and as cuDNN's descriptors. */
#include "kernels/cuda/descriptors.h"

#include "base/mem.h"

#include <inttypes.h>
#include <string.h>

/* --- values --- */

int dl_graph_add_tensor(dl_graph *graph, const dl_graph_tensor *tensor) {
    graph->tensor[graph->n_tensors] = *tensor;
    return graph->n_tensors++;
}

void dl_graph_add_node(dl_graph *graph, const dl_graph_node *node) {
    graph->node[graph->n_nodes++] = *node;
}

dl_status dl_graph_text(const dl_graph *graph, dl_text *out) {
    for (int i = 0; i < graph->n_tensors; i++) {
        const dl_graph_tensor *t = &graph->tensor[i];
        DL_RETURN_IF_ERROR(dl_text_append(out, "%s%d:%" PRId64 "%s", i > 0 ? " " : "", (int)t->dtype,
                                          t->alignment, t->is_virtual ? "v" : ""));
        for (int d = 0; d < DL_GRAPH_DIMS; d++) {
            DL_RETURN_IF_ERROR(
                dl_text_append(out, "%c%" PRId64 "/%" PRId64, d > 0 ? ',' : '[', t->dim[d], t->stride[d]));
        }
        DL_RETURN_IF_ERROR(dl_text_append(out, "]"));
    }
    for (int i = 0; i < graph->n_nodes; i++) {
        const dl_graph_node *n = &graph->node[i];
        DL_RETURN_IF_ERROR(dl_text_append(out, " %d(%d,%d,%d;", (int)n->kind, n->x, n->w, n->y));
        for (int d = 0; d < 2; d++) {
            DL_RETURN_IF_ERROR(dl_text_append(out, "%" PRId64 "+%" PRId64 "+%" PRId64 "%c", n->before[d],
                                              n->stride[d], n->after[d], d == 0 ? ',' : ')'));
        }
    }
    return DL_OK;
}

/* --- descriptors --- */

void dl_descriptor_destroy(dl_descriptor *descriptor) {
    if (*descriptor != NULL) {
        (void)cudnnBackendDestroyDescriptor(*descriptor);
        *descriptor = NULL;
    }
}

dl_status dl_descriptor_text(dl_descriptor descriptor, cudnnBackendAttributeName_t attribute, dl_text *out) {
    int64_t n = 0, given = 0;
    char *text = NULL;
    DL_RETURN_IF_ERROR(
        DL_CUDNN(cudnnBackendGetAttribute(descriptor, attribute, CUDNN_TYPE_CHAR, 0, &n, NULL)));
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n + 1, 1, &text));
    dl_status status =
        DL_CUDNN(cudnnBackendGetAttribute(descriptor, attribute, CUDNN_TYPE_CHAR, n, &given, text));
    if (status == DL_OK) {
        status = dl_text_append(out, "%s", text);
    }
    dl_free(&text);
    return status;
}

static dl_status describe_tensor(const dl_graph_tensor *tensor, int64_t uid, dl_descriptor *out) {
    DL_DESCRIPTOR_CREATE(TENSOR, out);
    DL_DESCRIPTOR_SET(*out, TENSOR_UNIQUE_ID, INT64, 1, &uid);
    DL_DESCRIPTOR_SET(*out, TENSOR_DATA_TYPE, DATA_TYPE, 1, &tensor->dtype);
    DL_DESCRIPTOR_SET(*out, TENSOR_DIMENSIONS, INT64, DL_GRAPH_DIMS, tensor->dim);
    DL_DESCRIPTOR_SET(*out, TENSOR_STRIDES, INT64, DL_GRAPH_DIMS, tensor->stride);
    DL_DESCRIPTOR_SET(*out, TENSOR_BYTE_ALIGNMENT, INT64, 1, &tensor->alignment);
    DL_DESCRIPTOR_SET(*out, TENSOR_IS_VIRTUAL, BOOLEAN, 1, &tensor->is_virtual);
    DL_DESCRIPTOR_FINALIZE(*out);
    return DL_OK;
}

static const cudnnDataType_t sums_dtype = CUDNN_DATA_FLOAT;

static dl_status describe_convolution(const dl_graph_node *node, dl_descriptor *out) {
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    const int64_t n_dims = 2, dilation[2] = {1, 1};
    DL_DESCRIPTOR_CREATE(CONVOLUTION, out);
    DL_DESCRIPTOR_SET(*out, CONVOLUTION_COMP_TYPE, DATA_TYPE, 1, &sums_dtype);
    DL_DESCRIPTOR_SET(*out, CONVOLUTION_CONV_MODE, CONVOLUTION_MODE, 1, &mode);
    DL_DESCRIPTOR_SET(*out, CONVOLUTION_SPATIAL_DIMS, INT64, 1, &n_dims);
    DL_DESCRIPTOR_SET(*out, CONVOLUTION_DILATIONS, INT64, n_dims, dilation);
    DL_DESCRIPTOR_SET(*out, CONVOLUTION_FILTER_STRIDES, INT64, n_dims, node->stride);
    DL_DESCRIPTOR_SET(*out, CONVOLUTION_PRE_PADDINGS, INT64, n_dims, node->before);
    DL_DESCRIPTOR_SET(*out, CONVOLUTION_POST_PADDINGS, INT64, n_dims, node->after);
    DL_DESCRIPTOR_FINALIZE(*out);
    return DL_OK;
}

static cudnnPointwiseMode_t pointwise_mode(dl_graph_kind kind) {
    switch (kind) {
    case DL_GRAPH_RELU:
        return CUDNN_POINTWISE_RELU_FWD;
    case DL_GRAPH_TANH:
        return CUDNN_POINTWISE_TANH_FWD;
    case DL_GRAPH_SIGMOID:
        return CUDNN_POINTWISE_SIGMOID_FWD;
    default:
        return CUDNN_POINTWISE_ADD;
    }
}

static dl_status describe_pointwise(dl_graph_kind kind, dl_descriptor *out) {
    const cudnnPointwiseMode_t mode = pointwise_mode(kind);
    const cudnnNanPropagation_t nan = CUDNN_PROPAGATE_NAN; /* as dl_relu: else relu would hide it */
    DL_DESCRIPTOR_CREATE(POINTWISE, out);
    DL_DESCRIPTOR_SET(*out, POINTWISE_MODE, POINTWISE_MODE, 1, &mode);
    DL_DESCRIPTOR_SET(*out, POINTWISE_MATH_PREC, DATA_TYPE, 1, &sums_dtype);
    DL_DESCRIPTOR_SET(*out, POINTWISE_NAN_PROPAGATION, NAN_PROPOGATION, 1, &nan);
    DL_DESCRIPTOR_FINALIZE(*out);
    return DL_OK;
}

/* The attributes of the three passes differ by name only. `with` is the convolution's descriptor. */
#define SET_CONVOLUTION(op, PASS, with, X, x, W, w, Y, y)                                                    \
    do {                                                                                                     \
        const float alpha = 1.0F, beta = 0.0F;                                                               \
        DL_DESCRIPTOR_SET(op, OPERATION_CONVOLUTION_##PASS##_CONV_DESC, BACKEND_DESCRIPTOR, 1, with);        \
        DL_DESCRIPTOR_SET(op, OPERATION_CONVOLUTION_##PASS##_##X, BACKEND_DESCRIPTOR, 1, x);                 \
        DL_DESCRIPTOR_SET(op, OPERATION_CONVOLUTION_##PASS##_##W, BACKEND_DESCRIPTOR, 1, w);                 \
        DL_DESCRIPTOR_SET(op, OPERATION_CONVOLUTION_##PASS##_##Y, BACKEND_DESCRIPTOR, 1, y);                 \
        DL_DESCRIPTOR_SET(op, OPERATION_CONVOLUTION_##PASS##_ALPHA, FLOAT, 1, &alpha);                       \
        DL_DESCRIPTOR_SET(op, OPERATION_CONVOLUTION_##PASS##_BETA, FLOAT, 1, &beta);                         \
    } while (0)

static dl_status describe_operation(const dl_graph_node *node, const dl_descriptor *tensor,
                                    dl_descriptor *with, dl_descriptor *out) {
    const dl_descriptor *x = &tensor[node->x], *w = &tensor[node->w], *y = &tensor[node->y];
    switch (node->kind) {
    case DL_GRAPH_CONV_FORWARD:
        DL_RETURN_IF_ERROR(describe_convolution(node, with));
        DL_DESCRIPTOR_CREATE(OPERATION_CONVOLUTION_FORWARD, out);
        SET_CONVOLUTION(*out, FORWARD, with, X, x, W, w, Y, y);
        break;
    case DL_GRAPH_CONV_BACKWARD_DATA:
        DL_RETURN_IF_ERROR(describe_convolution(node, with));
        DL_DESCRIPTOR_CREATE(OPERATION_CONVOLUTION_BACKWARD_DATA, out);
        SET_CONVOLUTION(*out, BWD_DATA, with, DX, x, W, w, DY, y);
        break;
    case DL_GRAPH_CONV_BACKWARD_WEIGHTS:
        DL_RETURN_IF_ERROR(describe_convolution(node, with));
        DL_DESCRIPTOR_CREATE(OPERATION_CONVOLUTION_BACKWARD_FILTER, out);
        SET_CONVOLUTION(*out, BWD_FILTER, with, X, x, DW, w, DY, y);
        break;
    default:
        DL_RETURN_IF_ERROR(describe_pointwise(node->kind, with));
        DL_DESCRIPTOR_CREATE(OPERATION_POINTWISE, out);
        DL_DESCRIPTOR_SET(*out, OPERATION_POINTWISE_PW_DESCRIPTOR, BACKEND_DESCRIPTOR, 1, with);
        DL_DESCRIPTOR_SET(*out, OPERATION_POINTWISE_XDESC, BACKEND_DESCRIPTOR, 1, x);
        if (node->kind == DL_GRAPH_ADD) {
            DL_DESCRIPTOR_SET(*out, OPERATION_POINTWISE_BDESC, BACKEND_DESCRIPTOR, 1, w);
        }
        DL_DESCRIPTOR_SET(*out, OPERATION_POINTWISE_YDESC, BACKEND_DESCRIPTOR, 1, y);
    }
    DL_DESCRIPTOR_FINALIZE(*out);
    return DL_OK;
}

dl_status dl_graph_describe(const dl_graph *graph, cudnnHandle_t handle, dl_graph_descriptors *out) {
    for (int i = 0; i < graph->n_tensors; i++) {
        DL_RETURN_IF_ERROR(describe_tensor(&graph->tensor[i], dl_graph_uid(i), &out->tensor[i]));
    }
    for (int i = 0; i < graph->n_nodes; i++) {
        DL_RETURN_IF_ERROR(
            describe_operation(&graph->node[i], out->tensor, &out->parameters[i], &out->operation[i]));
    }
    DL_DESCRIPTOR_CREATE(OPERATIONGRAPH, &out->graph);
    DL_DESCRIPTOR_SET(out->graph, OPERATIONGRAPH_OPS, BACKEND_DESCRIPTOR, graph->n_nodes, out->operation);
    if (handle != NULL) {
        DL_DESCRIPTOR_SET(out->graph, OPERATIONGRAPH_HANDLE, HANDLE, 1, &handle);
    }
    DL_DESCRIPTOR_FINALIZE(out->graph);
    return DL_OK;
}

void dl_graph_descriptors_release(dl_graph_descriptors *descriptors) {
    dl_descriptor_destroy(&descriptors->graph);
    for (int i = 0; i < DL_GRAPH_MAX_NODES; i++) {
        dl_descriptor_destroy(&descriptors->operation[i]);
        dl_descriptor_destroy(&descriptors->parameters[i]);
    }
    for (int i = 0; i < DL_GRAPH_MAX_TENSORS; i++) {
        dl_descriptor_destroy(&descriptors->tensor[i]);
    }
}

/* --- running --- */

static dl_status make_pack(const dl_graph_pack *pack, dl_descriptor *out) {
    int64_t uid[DL_GRAPH_MAX_TENSORS];
    void *address[DL_GRAPH_MAX_TENSORS];
    int n = 0;
    for (int i = 0; i < DL_GRAPH_MAX_TENSORS; i++) {
        if (pack->address[i] != NULL) {
            uid[n] = dl_graph_uid(i);
            address[n++] = pack->address[i];
        }
    }
    DL_DESCRIPTOR_CREATE(VARIANT_PACK, out);
    DL_DESCRIPTOR_SET(*out, VARIANT_PACK_UNIQUE_IDS, INT64, n, uid);
    DL_DESCRIPTOR_SET(*out, VARIANT_PACK_DATA_POINTERS, VOID_PTR, n, address);
    DL_DESCRIPTOR_SET(*out, VARIANT_PACK_WORKSPACE, VOID_PTR, 1, &pack->workspace);
    DL_DESCRIPTOR_FINALIZE(*out);
    return DL_OK;
}

dl_status dl_graph_execute(cudnnHandle_t handle, const dl_graph_plan *plan, dl_graph_pack *pack,
                           void *const address[DL_GRAPH_MAX_TENSORS], void *workspace) {
    if (pack->descriptor == NULL || pack->workspace != workspace ||
        memcmp(pack->address, address, sizeof pack->address) != 0) {
        dl_graph_pack_release(pack);
        memcpy(pack->address, address, sizeof pack->address);
        pack->workspace = workspace;
        const dl_status status = make_pack(pack, &pack->descriptor);
        if (status != DL_OK) {
            dl_graph_pack_release(pack);
            return status;
        }
    }
    DL_RETURN_IF_ERROR(DL_CUDNN(cudnnBackendExecute(handle, plan->descriptor, pack->descriptor)));
    return DL_OK;
}

void dl_graph_pack_release(dl_graph_pack *pack) {
    dl_descriptor_destroy(&pack->descriptor);
}
