/* Convolutions: one cuDNN plan each, with kernels of our own around it where cuDNN leaves something to do:
 * bias and activation that are not fused, weight gradients that come in 16 bits, the gradient of the bias.
 *
 * The algorithms of an operation are cuDNN's engines for it, in the order of its heuristics: first those of
 * the fused graph, where there is one, then those of the bare one. */
#include "kernels/cuda/conv2d_graph.h"
#include "kernels/cuda/filters.h"

#include "base/mem.h"
#include "kernels/common/column_sums.h"
#include "kernels/cuda/kernels.h"
#include "kernels/ops/sizes.h"

#include <stdio.h>

/* What the fastest engines want at the batch sizes that fit a GPU: 147 MiB for ResNet-50, 784 MiB for VGG16
 * at 32 images a GPU (tests/gpu/plans.py). */
static const size_t workspace_limit = (size_t)1 << 30;

/* --- candidates --- */

static const dl_conv2d_form forms[] = {DL_CONV2D_FUSED, DL_CONV2D_BARE};
enum { N_FORMS = sizeof forms / sizeof forms[0] };

typedef struct candidates {
    dl_conv2d_graph made[N_FORMS];
    dl_graph_engines *engines[N_FORMS]; /* NULL: none, or not asked for */
    int n[N_FORMS];
} candidates;

/* What is asked of engines: forward convolutions never take a transform, which leaves noise where sums of
 * zeros must be zero: relu and max pooling would let gradients through there (choose.c). */
static dl_graph_rules rules_of(const dl_cuda_device *device, const dl_op_desc *desc) {
    return (dl_graph_rules){.deterministic = device->base.deterministic,
                            .exact = !device->base.tf32 && desc->slot[0].dtype == DL_F32,
                            .no_transform = desc->kind == DL_OP_CONV2D_FORWARD,
                            .workspace_limit = workspace_limit};
}

/* The fused graph may have no engine; DL_OK while one of the two has. */
static dl_status find_candidates(dl_cuda_device *device, const dl_op_desc *desc, candidates *out) {
    const dl_graph_rules rules = rules_of(device, desc);
    dl_status status = DL_ERR_INTERNAL;
    *out = (candidates){.n = {0}};
    for (int f = dl_conv2d_fuses(desc) ? 0 : N_FORMS - 1; f < N_FORMS; f++) {
        dl_conv2d_graph_of(desc, forms[f], &out->made[f]);
        if (dl_graph_find(device->graphs, &out->made[f].graph, &rules, &out->engines[f]) == DL_OK) {
            out->n[f] = dl_graph_n_engines(out->engines[f]);
            status = DL_OK;
        }
    }
    return status;
}

/* Which form's engine an algorithm is; false where there are fewer. */
static bool locate(const candidates *c, int algorithm, int *form, int *engine) {
    *engine = algorithm;
    for (*form = 0; *form < N_FORMS && *engine >= c->n[*form]; ++*form) {
        *engine -= c->n[*form];
    }
    return *form < N_FORMS;
}

/* The desc whose graph is asked for: weights in the layout they will have. */
static dl_status settle_layouts(const dl_op_desc *desc, dl_op_desc *out) {
    const int w = dl_op_slot(dl_op_info_of(desc->kind), "w");
    *out = *desc;
    for (int i = 0; i < DL_OP_MAX_SLOTS; i++) {
        out->slot[i].layout = out->slot[i].layout == &dl_layout_any ? NULL : out->slot[i].layout;
    }
    if (w >= 0 && desc->slot[w].layout == &dl_layout_any) {
        return dl_cuda_weights_layout(&desc->slot[w], &out->slot[w].layout);
    }
    return DL_OK;
}

/* What an algorithm number means for a desc, whose weights get the layout they like best. Asking changes
 * nothing but what the device knows. */
static bool ask(dl_device *device, const dl_op_desc *desc, candidates *out) {
    dl_op_desc free_desc = *desc, settled;
    const int w = dl_op_slot(dl_op_info_of(desc->kind), "w");
    if (w >= 0) {
        free_desc.slot[w].layout = &dl_layout_any;
    }
    return dl_op_samples(desc) > 0 && settle_layouts(&free_desc, &settled) == DL_OK &&
           find_candidates(dl_cuda_device_of(device), &settled, out) == DL_OK;
}

static int n_algorithms(dl_device *device, const dl_op_desc *desc) {
    candidates found;
    return ask(device, desc, &found) ? found.n[DL_CONV2D_FUSED] + found.n[DL_CONV2D_BARE] : 1;
}

static const char *algorithm_name(dl_device *device, const dl_op_desc *desc, int algorithm) {
    candidates found;
    int form = 0, engine = 0;
    if (!ask(device, desc, &found)) {
        return dl_only_algorithm_name(algorithm);
    }
    return locate(&found, algorithm, &form, &engine) ? dl_graph_engine_name(found.engines[form], engine)
                                                     : NULL;
}

/* --- the operation --- */

typedef struct conv2d_op {
    dl_op base;
    const dl_graph_plan *plan;
    dl_conv2d_graph made;
    dl_conv2d_sizes sizes;
    dl_graph_pack *pack;  /* changes when the operation runs at other addresses */
    bool finishes_bare;   /* bias and activation behind the plan */
    size_t staging_bytes; /* the workspace: a weight gradient in 16 bits, then the plan's; sums of columns use
                             all of it again */
} conv2d_op;

/* Behind the plan, in the stream's order: what it left to do. */
static cudaError_t finish(const conv2d_op *self, void *const *slots, char *workspace, cudaStream_t stream) {
    const dl_op_desc *desc = &self->base.desc;
    const dl_conv2d_sizes *z = &self->sizes;
    cudaError_t code = cudaSuccess;
    if (self->finishes_bare) {
        code = dl_launch_bias_activation(z->n * z->p * z->q, z->k, desc->attr.activation, slots[2],
                                         desc->slot[3].dtype, slots[3], stream);
    }
    if (self->staging_bytes > 0) {
        code = dl_launch_unpack_weights(z->k, z->c_group, z->r * z->s, desc->slot[0].dtype, workspace,
                                        slots[2], stream);
    }
    if (code == cudaSuccess && desc->kind == DL_OP_CONV2D_BACKWARD_WEIGHTS && slots[3] != NULL) {
        code = dl_launch_column_sums(z->n * z->p * z->q, z->k, desc->slot[1].dtype, slots[1], slots[3],
                                     (double *)(void *)workspace, stream);
    }
    return code;
}

static dl_status run(const dl_op *op, void *const *slots, dl_stream *stream) {
    const conv2d_op *self = (const conv2d_op *)(const void *)op;
    char *workspace = slots[dl_op_info_of(op->desc.kind)->n_slots];
    void *address[DL_GRAPH_MAX_TENSORS] = {NULL};
    cudnnHandle_t handle = NULL;
    for (int i = 0; i < self->made.graph.n_tensors; i++) {
        const int slot = self->made.slot[i];
        if (slot != DL_CONV2D_NOWHERE) {
            address[i] = slot == DL_CONV2D_STAGED ? workspace : slots[slot];
        }
    }
    char *planned = workspace != NULL ? workspace + self->staging_bytes : NULL;
    DL_RETURN_IF_ERROR(dl_cuda_dnn(op->device, stream, &handle));
    DL_RETURN_IF_ERROR(dl_graph_execute(handle, self->plan, self->pack, address, planned));
    return DL_CUDA(finish(self, slots, workspace, dl_cuda_handle(stream)));
}

static void destroy(dl_op *op) {
    conv2d_op *self = (conv2d_op *)(void *)op;
    if (self->pack != NULL) {
        dl_graph_pack_release(self->pack);
        dl_free(&self->pack);
    }
    dl_free(&self);
}

static const dl_op_functions functions = {.run = run, .destroy = destroy};

/* --- preparing --- */

static size_t staging_bytes_of(const conv2d_op *op) {
    for (int i = 0; i < op->made.graph.n_tensors; i++) {
        if (op->made.slot[i] == DL_CONV2D_STAGED) {
            const dl_shape *shape = &op->base.desc.slot[2].shape;
            const size_t n_bytes =
                (size_t)dl_shape_elements(shape) * dl_dtype_bytes(op->base.desc.slot[0].dtype);
            return dl_round_up(n_bytes, DL_WORKSPACE_ALIGN);
        }
    }
    return 0;
}

static size_t workspace_of(const conv2d_op *op) {
    const dl_conv2d_sizes *z = &op->sizes;
    const bool sums = op->base.desc.kind == DL_OP_CONV2D_BACKWARD_WEIGHTS && op->base.desc.slot[3].present;
    const size_t element = dl_dtype_bytes(op->base.desc.slot[1].dtype);
    const size_t columns = sums ? dl_sum_bytes(z->n * z->p * z->q, z->k, element) : 0;
    const size_t product = op->staging_bytes + op->plan->workspace_bytes;
    return product > columns ? product : columns;
}

static dl_status choose_plan(dl_device *device, const dl_op_desc *desc, conv2d_op *op) {
    candidates found;
    int form = 0, engine = 0;
    DL_RETURN_IF_ERROR(find_candidates(dl_cuda_device_of(device), desc, &found));
    DL_RETURN_ERROR_IF(!locate(&found, desc->algorithm, &form, &engine), DL_ERR_INTERNAL,
                       "cuDNN has fewer than %d algorithms for %s", desc->algorithm + 1,
                       dl_op_info_of(desc->kind)->name);
    op->made = found.made[form];
    op->finishes_bare = forms[form] == DL_CONV2D_BARE && dl_conv2d_has_forms(desc);
    DL_RETURN_IF_ERROR(dl_graph_plan_of(found.engines[form], engine, &op->plan));
    (void)snprintf(op->base.implementation, sizeof op->base.implementation, "cudnn:%.30s%s",
                   dl_graph_engine_name(found.engines[form], engine), op->finishes_bare ? "+kernel" : "");
    return DL_OK;
}

/* cuDNN promises the same rows whatever the batch for no engine: pieces are what makes sums reproducible. */
static dl_status fill(dl_device *device, const dl_op_desc *settled, conv2d_op *op) {
    dl_cuda_op_init(&op->base, device, settled, &functions, "conv2d");
    for (int i = 0; i < DL_OP_MAX_SLOTS; i++) {
        op->base.layout[i] = op->base.desc.slot[i].layout = settled->slot[i].layout;
    }
    op->base.batch_invariant = false;
    op->sizes = dl_conv2d_sizes_of(settled);
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *op->pack, &op->pack));
    DL_RETURN_IF_ERROR(choose_plan(device, settled, op));
    op->staging_bytes = staging_bytes_of(op);
    op->base.rounds_sums = op->staging_bytes > 0; /* cuDNN has no engine that gives them in float32 */
    op->base.workspace_bytes = workspace_of(op);
    return DL_OK;
}

static dl_status prepare(dl_device *device, const dl_op_desc *desc, const dl_op *forward, dl_op **out) {
    (void)forward;
    dl_op_desc settled;
    conv2d_op *op = NULL;
    DL_RETURN_IF_ERROR(settle_layouts(desc, &settled));
    if (dl_op_samples(desc) == 0) {
        return dl_cuda_prepare_empty(device, &settled, out);
    }
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *op, &op));
    const dl_status status = fill(device, &settled, op);
    if (status != DL_OK) {
        destroy(&op->base);
        return status;
    }
    *out = &op->base;
    return DL_OK;
}

/* Images and what is made of them in one type; weight gradients in float32, or in float32 images' own. */
static bool takes(const dl_op_desc *desc) {
    static const char *const images[] = {"x", "y", "w", "dx", "dy"}, *const sums[] = {"b", "dw", "db"};
    const dl_op_info *info = dl_op_info_of(desc->kind);
    cudnnDataType_t ignored;
    for (size_t i = 0; i < sizeof images / sizeof images[0]; i++) {
        const int slot = dl_op_slot(info, images[i]);
        if (slot >= 0 && desc->slot[slot].dtype != desc->slot[0].dtype) {
            return false;
        }
    }
    for (size_t i = 0; i < sizeof sums / sizeof sums[0]; i++) {
        const int slot = dl_op_slot(info, sums[i]);
        if (slot >= 0 && desc->slot[slot].present && desc->slot[slot].dtype != DL_F32) {
            return false;
        }
    }
    return dl_graph_dtype(desc->slot[0].dtype, &ignored);
}

#define DL_CONV2D_KIND(name)                                                                                 \
    {                                                                                                        \
        .kind = (name), .takes = takes, .prepare = prepare, .n_algorithms = n_algorithms,                    \
        .algorithm_name = algorithm_name                                                                     \
    }

const dl_cuda_kind dl_cuda_kinds_conv2d[] = {
    DL_CONV2D_KIND(DL_OP_CONV2D_FORWARD),
    DL_CONV2D_KIND(DL_OP_CONV2D_BACKWARD_DATA),
    DL_CONV2D_KIND(DL_OP_CONV2D_BACKWARD_WEIGHTS),
    {.run = NULL},
};
