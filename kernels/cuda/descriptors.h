/* Between graph.c and engines.c: cuDNN's descriptors, and a graph made of them. */
#ifndef DLTRAIN_KERNELS_CUDA_DESCRIPTORS_H
#define DLTRAIN_KERNELS_CUDA_DESCRIPTORS_H

#include "kernels/cuda/graph.h"

typedef cudnnBackendDescriptor_t dl_descriptor;

/* Creates a descriptor of CUDNN_BACKEND_<type>_DESCRIPTOR; sets `n` elements of an attribute by its name. */
#define DL_DESCRIPTOR_CREATE(type, out)                                                                      \
    DL_RETURN_IF_ERROR(DL_CUDNN(cudnnBackendCreateDescriptor(CUDNN_BACKEND_##type##_DESCRIPTOR, (out))))
#define DL_DESCRIPTOR_SET(descriptor, attribute, type, n, values)                                            \
    DL_RETURN_IF_ERROR(DL_CUDNN(                                                                             \
        cudnnBackendSetAttribute((descriptor), CUDNN_ATTR_##attribute, CUDNN_TYPE_##type, (n), (values))))
#define DL_DESCRIPTOR_FINALIZE(descriptor) DL_RETURN_IF_ERROR(DL_CUDNN(cudnnBackendFinalize(descriptor)))

/* Destroys a descriptor (NULL is fine) and sets it to NULL. */
void dl_descriptor_destroy(dl_descriptor *descriptor);

/* An attribute that is a text (CUDNN_ATTR_..._JSON_REPRESENTATION), appended to *out. */
DL_NODISCARD dl_status dl_descriptor_text(dl_descriptor descriptor, cudnnBackendAttributeName_t attribute,
                                          dl_text *out);

/* What a graph becomes; later descriptors refer to earlier ones, so all live until it is released. */
typedef struct dl_graph_descriptors {
    dl_descriptor tensor[DL_GRAPH_MAX_TENSORS];
    dl_descriptor parameters[DL_GRAPH_MAX_NODES]; /* of a convolution, of a pointwise operation */
    dl_descriptor operation[DL_GRAPH_MAX_NODES];
    dl_descriptor graph;
} dl_graph_descriptors;

/* `handle` NULL: for a device that is only described. On failure the caller releases what was made. */
DL_NODISCARD dl_status dl_graph_describe(const dl_graph *graph, cudnnHandle_t handle,
                                         dl_graph_descriptors *out);
void dl_graph_descriptors_release(dl_graph_descriptors *descriptors);

/* cuDNN's unique number of tensor i: never zero. */
static inline int64_t dl_graph_uid(int i) {
    return i + 1;
}

#endif
