/* The graphs of convolutions: which tensors cuDNN sees for an operation, and where each of them lies. */
#ifndef DLTRAIN_KERNELS_CUDA_CONV2D_GRAPH_H
#define DLTRAIN_KERNELS_CUDA_CONV2D_GRAPH_H

#include "kernels/cuda/graph.h"
#include "kernels/op.h"

/* Bias and activation can be nodes of the graph, or be left to a kernel behind it. */
typedef enum dl_conv2d_form { DL_CONV2D_FUSED, DL_CONV2D_BARE } dl_conv2d_form;

enum { DL_CONV2D_NOWHERE = -1, DL_CONV2D_STAGED = -2 };

typedef struct dl_conv2d_graph {
    dl_graph graph;
    /* The operation's slot that holds tensor i of the graph; NOWHERE: virtual; STAGED: the weight gradient on
     * its way from 16 bits to float32, [k, r, s, c] in the workspace. */
    int slot[DL_GRAPH_MAX_TENSORS];
} dl_conv2d_graph;

/* Images and what is made of them are [n, h, w, c]. Weights are [k, c, r, s], or [k, r, s, c] where the slot
 * has a layout. x, w, y have one type, float32, bfloat16 or float16; bias and weight gradient that one or
 * float32; sums are in float32. The desc must be checked, and have at least one sample. A BARE forward graph
 * has neither bias nor activation; backward graphs are the same in both forms, and without the bias
 * gradient. */
void dl_conv2d_graph_of(const dl_op_desc *desc, dl_conv2d_form form, dl_conv2d_graph *out);

/* Whether the two forms of a desc's graph differ. */
bool dl_conv2d_has_forms(const dl_op_desc *desc);

/* Whether the fused form is worth asking for: of graphs with tanh and sigmoid cuDNN has its slowest engine
 * only (in float32, for an H200). */
bool dl_conv2d_fuses(const dl_op_desc *desc);

/* cuDNN's type; false for those that convolutions do not have here. */
bool dl_graph_dtype(dl_dtype dtype, cudnnDataType_t *out);

#endif
