/* cuDNN's graph API ("backend API") from C: a few operations over tensors become one plan that runs on the
 * GPU (https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-graph-library.html).
 *
 *   dl_graph           what is to be computed: a plain value, equal graphs have equal texts
 *   dl_graph_engines   who can compute it: cuDNN's heuristics for this device, best guess first
 *   dl_graph_plan      one of them, compiled
 *   dl_graph_pack      where the tensors lie: made at the first run, kept while the addresses stay
 *
 * The device is a real one, or only a text that describes one: then engines and plans are found and checked
 * on a machine without a GPU, and cannot be executed. Engines and plans are found once for each graph and
 * live as long as their device. Not for several threads at once. */
#ifndef DLTRAIN_KERNELS_CUDA_GRAPH_H
#define DLTRAIN_KERNELS_CUDA_GRAPH_H

#include "base/text.h"
#include "kernels/cuda/cuda.h"

/* --- graphs --- */

enum { DL_GRAPH_MAX_TENSORS = 6, DL_GRAPH_MAX_NODES = 3, DL_GRAPH_DIMS = 4, DL_GRAPH_NAME_BYTES = 48 };

/* Dimensions are cuDNN's [n, c, h, w] whatever their order in memory: that is what the strides say. */
typedef struct dl_graph_tensor {
    cudnnDataType_t dtype;
    int64_t dim[DL_GRAPH_DIMS], stride[DL_GRAPH_DIMS]; /* strides in elements */
    int64_t alignment;                                 /* of its address, bytes */
    bool is_virtual;                                   /* between two nodes, never in memory */
} dl_graph_tensor;

typedef enum dl_graph_kind {
    DL_GRAPH_CONV_FORWARD,          /* y = x * w */
    DL_GRAPH_CONV_BACKWARD_DATA,    /* x is dx, written; y is dy */
    DL_GRAPH_CONV_BACKWARD_WEIGHTS, /* w is dw, written; y is dy */
    DL_GRAPH_ADD,                   /* y = x + w, w of dimension 1 where it is the same for all */
    DL_GRAPH_RELU,                  /* y = f(x) */
    DL_GRAPH_TANH,
    DL_GRAPH_SIGMOID,
} dl_graph_kind;

/* x, w, y are numbers of tensors; the others are the convolution's (rows, columns). Sums are in float32. */
typedef struct dl_graph_node {
    dl_graph_kind kind;
    int x, w, y;
    int64_t stride[2], before[2], after[2];
} dl_graph_node;

/* Nodes in the order of computation. Zeros are an empty graph. */
typedef struct dl_graph {
    int n_tensors, n_nodes;
    dl_graph_tensor tensor[DL_GRAPH_MAX_TENSORS];
    dl_graph_node node[DL_GRAPH_MAX_NODES];
} dl_graph;

/* Appends a tensor and returns its number; appends a node. The enums above are the room there is. */
int dl_graph_add_tensor(dl_graph *graph, const dl_graph_tensor *tensor);
void dl_graph_add_node(dl_graph *graph, const dl_graph_node *node);

/* Everything that decides about engines, as one line. */
DL_NODISCARD dl_status dl_graph_text(const dl_graph *graph, dl_text *out);

/* --- devices --- */

typedef struct dl_graph_device dl_graph_device;

/* The GPU of a handle (borrowed; it must outlive the device), or the one that a DEVICEPROP text describes:
 * a JSON object as dl_graph_device_text returns it. DL_ERR_USAGE where cuDNN does not understand the text. */
DL_NODISCARD dl_status dl_graph_device_of_handle(cudnnHandle_t handle, dl_graph_device **out);
DL_NODISCARD dl_status dl_graph_device_of_text(const char *json, dl_graph_device **out);
void dl_graph_device_destroy(dl_graph_device **device);

/* The text that describes the GPU of a handle, appended to *out. */
DL_NODISCARD dl_status dl_graph_device_text(cudnnHandle_t handle, dl_text *out);

/* --- engines and plans --- */

/* Which engines are good enough. */
typedef struct dl_graph_rules {
    bool deterministic; /* the same bits every time */
    bool exact;         /* float32 tensors are multiplied as float32, never rounded to tf32 */
    bool no_transform;  /* neither Winograd's nor Fourier's transform: sums of zeros stay zero */
    size_t workspace_limit;
} dl_graph_rules;

typedef struct dl_graph_engines dl_graph_engines;

/* The engines for a graph, borrowed from the device: at least one, of which the first is known to compile.
 * DL_ERR_INTERNAL with the graph and cuDNN's reason when there is none. */
DL_NODISCARD dl_status dl_graph_find(dl_graph_device *device, const dl_graph *graph,
                                     const dl_graph_rules *rules, dl_graph_engines **out);
int dl_graph_n_engines(const dl_graph_engines *engines);

/* "engine 67", with what is remarkable about it before: "winograd:engine 6". */
const char *dl_graph_engine_name(const dl_graph_engines *engines, int i);

typedef struct dl_graph_plan {
    cudnnBackendDescriptor_t descriptor;
    size_t workspace_bytes;
} dl_graph_plan;

/* Compiles engine i, once; borrowed from the device. DL_ERR_INTERNAL where it does not compile or wants more
 * workspace than the rules allow: the first never does. */
DL_NODISCARD dl_status dl_graph_plan_of(dl_graph_engines *engines, int i, const dl_graph_plan **out);

/* --- running --- */

/* Zeros to begin with; a pack is of one plan. */
typedef struct dl_graph_pack {
    cudnnBackendDescriptor_t descriptor;
    void *address[DL_GRAPH_MAX_TENSORS], *workspace;
} dl_graph_pack;

/* Enqueues a plan on the handle's stream: tensor i of the graph lies at address[i] (virtual ones: NULL), the
 * workspace has the plan's bytes. Host memory is taken only when an address is not that of the run before. */
DL_NODISCARD dl_status dl_graph_execute(cudnnHandle_t handle, const dl_graph_plan *plan, dl_graph_pack *pack,
                                        void *const address[DL_GRAPH_MAX_TENSORS], void *workspace);
void dl_graph_pack_release(dl_graph_pack *pack);

#endif
