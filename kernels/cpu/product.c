/* Convolutions and dense layers: oneDNN's convolution and inner product, three passes each.
 *
 * Each pass chooses the weights' layout itself (asking for one pass's layout in another falls back to
 * oneDNN's reference code, hundreds of times slower). Where a caller insists on a layout that no fast code
 * takes, the operation reorders through its workspace. */
#include "kernels/cpu/cpu.h"

#include "base/log.h"
#include "kernels/ops/sizes.h"

#include <omp.h>
#include <stdatomic.h>
#include <stdio.h>

typedef enum role { ROLE_X, ROLE_W, ROLE_B, ROLE_Y, N_ROLES } role;
typedef enum pass { PASS_FORWARD, PASS_DATA, PASS_WEIGHTS } pass;

/* Slot and oneDNN argument of each role in each pass; -1: not there. */
static const int slot_of_role[3][N_ROLES] = {{0, 1, 2, 3}, {2, 1, -1, 0}, {0, 2, 3, 1}};
static const int argument_of_role[3][N_ROLES] = {
    {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST},
    {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, 0, DNNL_ARG_DIFF_DST},
    {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_BIAS, DNNL_ARG_DIFF_DST},
};
static const bool role_is_output[3][N_ROLES] = {
    {false, false, false, true}, {true, false, false, false}, {false, true, true, false}};

/* One pass while it is being planned. */
typedef struct plan {
    dl_cpu_device *device;
    const dl_op_desc *desc;
    pass pass;
    dl_shim_product shim;
    const dl_layout *asked[N_ROLES]; /* NULL: the role is absent */
    const dl_layout *plain[N_ROLES];
    const dl_layout *any[N_ROLES];
    const dl_layout *hint_w; /* weights of the forward pass that backward passes take as a hint */
    dnnl_primitive_desc_t pd;
    bool activation_apart; /* not fused: a primitive of its own follows */
    const dl_layout *chosen[N_ROLES];
} plan;

static pass pass_of(dl_op_kind kind) {
    switch (kind) {
    case DL_OP_CONV2D_FORWARD:
    case DL_OP_DENSE_FORWARD:
        return PASS_FORWARD;
    case DL_OP_CONV2D_BACKWARD_DATA:
    case DL_OP_DENSE_BACKWARD_DATA:
        return PASS_DATA;
    default:
        return PASS_WEIGHTS;
    }
}

static bool is_product(dl_op_kind kind) {
    return dl_op_is_convolution(kind) || kind == DL_OP_DENSE_FORWARD || kind == DL_OP_DENSE_BACKWARD_DATA ||
           kind == DL_OP_DENSE_BACKWARD_WEIGHTS;
}

static dnnl_alg_kind_t eltwise_of(dl_activation activation) {
    switch (activation) {
    case DL_ACT_RELU:
        return dnnl_eltwise_relu;
    case DL_ACT_TANH:
        return dnnl_eltwise_tanh;
    case DL_ACT_SIGMOID:
        return dnnl_eltwise_logistic;
    default:
        return dnnl_alg_kind_undef;
    }
}

static bool takes_bfloat16(const dl_device *device, const dl_op_desc *desc);

bool dl_cpu_product_takes(const dl_device *device, const dl_op_desc *desc) {
    (void)device;
    if (!is_product(desc->kind) || desc->algorithm > 1) {
        return false;
    }
    return !dl_op_has_half(desc) || takes_bfloat16(device, desc);
}

/* The tensor's descriptor in one of three forms: as asked, plain, any. */
static dl_status describe(const plan *p, role r, const dl_layout *wish, const dl_layout **out) {
    dl_tensor_desc tensor = p->desc->slot[slot_of_role[p->pass][r]];
    tensor.layout = wish;
    if (r == ROLE_B) {
        return dl_cpu_md_vector(&tensor, out);
    }
    if (!p->shim.convolution && r != ROLE_W) { /* a row for each position of each sample */
        const int64_t row = tensor.shape.dim[tensor.shape.n_dims - 1];
        tensor.shape = DL_SHAPE(dl_dense_sizes_of(p->desc).n, row);
    }
    if (r == ROLE_W) {
        const int64_t groups = p->shim.convolution ? p->desc->attr.u.conv.groups : 1;
        return dl_cpu_md_weights(&tensor, groups, out);
    }
    return dl_cpu_md_activation(&tensor, out);
}

/* Gradients of weights are float32 where weights and activations are bfloat16. */
static dl_status describe_hint(plan *p) {
    dl_tensor_desc w = p->desc->slot[slot_of_role[p->pass][ROLE_W]];
    w.dtype = p->desc->slot[slot_of_role[p->pass][ROLE_X]].dtype;
    w.layout = &dl_layout_any;
    return dl_cpu_md_weights(&w, p->shim.convolution ? p->desc->attr.u.conv.groups : 1, &p->hint_w);
}

static dl_status plan_init(plan *p, const dl_device *device, const dl_op_desc *desc) {
    *p = (plan){.desc = desc, .pass = pass_of(desc->kind)};
    p->device = (dl_cpu_device *)(uintptr_t)device;
    p->shim.convolution = dl_op_is_convolution(desc->kind);
    p->shim.training = true; /* inference would take other weight layouts for Winograd */
    p->shim.algorithm = desc->algorithm == 1 ? dnnl_convolution_winograd : dnnl_convolution_direct;
    if (p->shim.convolution) {
        const dl_conv_attr *conv = &desc->attr.u.conv;
        for (int i = 0; i < 2; i++) {
            p->shim.strides[i] = conv->stride[i];
            p->shim.padding_before[i] = conv->padding[2 * i];
            p->shim.padding_after[i] = conv->padding[2 * i + 1];
        }
    }
    for (role r = ROLE_X; r < N_ROLES; r++) {
        const int slot = slot_of_role[p->pass][r];
        if (slot >= 0 && desc->slot[slot].present) {
            DL_RETURN_IF_ERROR(describe(p, r, desc->slot[slot].layout, &p->asked[r]));
            DL_RETURN_IF_ERROR(describe(p, r, NULL, &p->plain[r]));
            DL_RETURN_IF_ERROR(describe(p, r, r == ROLE_B ? NULL : &dl_layout_any, &p->any[r]));
        }
    }
    return describe_hint(p);
}

static dl_status attr_with_activation(dl_activation activation, dnnl_primitive_attr_t *out) {
    DL_RETURN_IF_ERROR(dl_cpu_attr_create(out));
    if (activation == DL_ACT_NONE) {
        return DL_OK;
    }
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t status = dnnl_post_ops_create(&ops);
    if (status == dnnl_success) {
        status = dl_shim_append_eltwise(ops, eltwise_of(activation));
    }
    if (status == dnnl_success) {
        status = dnnl_primitive_attr_set_post_ops(*out, ops);
    }
    (void)dnnl_post_ops_destroy(ops);
    if (status != dnnl_success) {
        (void)dnnl_primitive_attr_destroy(*out);
        *out = NULL;
    }
    DL_RETURN_IF_DNNL(status);
    return DL_OK;
}

static dl_md md_or_null(const dl_layout *layout) {
    return layout != NULL ? dl_onednn_md(layout) : NULL;
}

/* Backward descriptors need a forward one as hint; with every layout free it always exists where they do. */
static dnnl_status_t create_hint(const plan *p, dnnl_primitive_desc_t *hint) {
    return dl_shim_product_forward(hint, p->device->engine, &p->shim, md_or_null(p->any[ROLE_X]),
                                   md_or_null(p->hint_w), NULL, md_or_null(p->any[ROLE_Y]), NULL);
}

static dnnl_status_t create_pd(const plan *p, const dl_layout *const wish[N_ROLES],
                               const_dnnl_primitive_attr_t attr, dnnl_primitive_desc_t *pd) {
    const dl_md x = md_or_null(wish[ROLE_X]);
    const dl_md w = md_or_null(wish[ROLE_W]);
    const dl_md b = md_or_null(wish[ROLE_B]);
    const dl_md y = md_or_null(wish[ROLE_Y]);
    omp_set_num_threads(p->device->base.n_threads);
    if (p->pass == PASS_FORWARD) {
        return dl_shim_product_forward(pd, p->device->engine, &p->shim, x, w, b, y, attr);
    }
    dnnl_primitive_desc_t hint = NULL;
    dnnl_status_t status = create_hint(p, &hint);
    if (status == dnnl_success && p->pass == PASS_DATA) {
        status = dl_shim_product_backward_data(pd, p->device->engine, &p->shim, x, w, y, hint, attr);
    } else if (status == dnnl_success) {
        status = dl_shim_product_backward_weights(pd, p->device->engine, &p->shim, x, w, b, y, hint, attr);
    }
    (void)dnnl_primitive_desc_destroy(hint);
    return status;
}

/* Keeps a descriptor when it is the first or the first that is not reference code. */
static bool keep_if_better(plan *p, dnnl_primitive_desc_t pd, bool activation_apart) {
    const bool reference = dl_onednn_is_reference(dl_onednn_implementation(pd));
    if (p->pd != NULL && reference) {
        (void)dnnl_primitive_desc_destroy(pd);
        return false;
    }
    (void)dnnl_primitive_desc_destroy(p->pd);
    p->pd = pd;
    p->activation_apart = activation_apart;
    return !reference;
}

/* Freedom 0: layouts as asked; 1: the weights free; 2: everything free. */
static dl_status try_freedom(plan *p, int freedom, bool *done) {
    const dl_layout *wish[N_ROLES];
    for (role r = ROLE_X; r < N_ROLES; r++) {
        const bool is_free = freedom == 2 || (freedom == 1 && r == ROLE_W);
        wish[r] = p->asked[r] != NULL && is_free ? p->any[r] : p->asked[r];
    }
    const bool fuses = p->pass == PASS_FORWARD && p->desc->attr.activation != DL_ACT_NONE;
    for (int apart = 0; apart <= (fuses ? 1 : 0) && !*done; apart++) {
        dnnl_primitive_attr_t attr = NULL;
        const dl_activation fused = fuses && apart == 0 ? p->desc->attr.activation : DL_ACT_NONE;
        DL_RETURN_IF_ERROR(attr_with_activation(fused, &attr));
        dnnl_primitive_desc_t pd = NULL;
        const dnnl_status_t status = create_pd(p, wish, attr, &pd);
        (void)dnnl_primitive_attr_destroy(attr);
        if (status == dnnl_success) {
            *done = keep_if_better(p, pd, apart == 1);
        } else if (status != dnnl_unimplemented && status != dnnl_invalid_arguments) {
            DL_RETURN_IF_DNNL(status);
        }
    }
    return DL_OK;
}

static void plan_release(plan *p) {
    (void)dnnl_primitive_desc_destroy(p->pd);
    p->pd = NULL;
}

/* Winograd moves no activations: where it needs other activation layouts it is not offered. */
static dl_status choose(plan *p) {
    bool done = false;
    const int most_freedom = p->desc->algorithm == 1 ? 1 : 2;
    for (int freedom = 0; freedom <= most_freedom && !done; freedom++) {
        DL_RETURN_IF_ERROR(try_freedom(p, freedom, &done));
    }
    DL_RETURN_ERROR_IF(p->pd == NULL, DL_ERR_INTERNAL,
                       "oneDNN has no %s for %s with these shapes and layouts",
                       p->desc->algorithm == 1 ? "Winograd algorithm" : "implementation",
                       dl_op_info_of(p->desc->kind)->name);
    static const char *const letters_activation[] = {"nc", "nchw"};
    static const char *const letters_weights[] = {"oi", "oihw", "goihw"};
    for (role r = ROLE_X; r < N_ROLES; r++) {
        if (p->asked[r] == NULL) {
            continue;
        }
        const dl_md md =
            dnnl_primitive_desc_query_md(p->pd, dnnl_query_exec_arg_md, argument_of_role[p->pass][r]);
        if (dnnl_memory_desc_equal(md, dl_onednn_md(p->asked[r]))) {
            p->chosen[r] = p->asked[r];
            continue;
        }
        const bool grouped = p->shim.convolution && p->desc->attr.u.conv.groups > 1;
        const char *letters = r == ROLE_B   ? "a"
                              : r == ROLE_W ? letters_weights[p->shim.convolution ? 1 + grouped : 0]
                                            : letters_activation[p->shim.convolution];
        DL_RETURN_IF_ERROR(dl_onednn_layout_md(md, letters, &p->chosen[r]));
    }
    return DL_OK;
}

/* The slot itself, or a place in the workspace when the slot's layout is not the primitive's. */
static void place_role(const plan *p, role r, dl_cpu_calls_op *op, dl_cpu_arg *slot_arg,
                       dl_cpu_arg *call_arg) {
    const int slot = slot_of_role[p->pass][r];
    const bool free_choice = p->desc->slot[slot].layout == &dl_layout_any;
    *call_arg =
        (dl_cpu_arg){.index = argument_of_role[p->pass][r], .md = dl_onednn_md(p->chosen[r]), .slot = slot};
    *slot_arg = *call_arg;
    const bool is_plain = dnnl_memory_desc_equal(call_arg->md, dl_onednn_md(p->plain[r]));
    if (free_choice) {
        op->base.layout[slot] = is_plain ? NULL : p->chosen[r];
    } else {
        op->base.layout[slot] = p->desc->slot[slot].layout;
        slot_arg->md = dl_onednn_md(p->asked[r]);
    }
    op->base.desc.slot[slot].layout = op->base.layout[slot];
    if (!free_choice && p->chosen[r] != p->asked[r]) {
        call_arg->slot = dl_op_info_of(p->desc->kind)->n_slots;
        dl_cpu_calls_stage(op, p->chosen[r]->n_bytes, &call_arg->offset);
    }
}

static dl_status add_activation(const plan *p, dl_cpu_calls_op *op, const dl_cpu_arg *y) {
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dl_cpu_arg args[2] = {*y, *y};
    args[0].index = DNNL_ARG_SRC;
    args[1].index = DNNL_ARG_DST;
    DL_RETURN_IF_ERROR(dl_cpu_attr_create(&attr));
    dl_status status = DL_OK;
    DL_GOTO_IF_DNNL(
        status, dl_shim_eltwise(&pd, p->device->engine, eltwise_of(p->desc->attr.activation), y->md, attr),
        done);
    DL_GOTO_IF_ERROR(status, dl_cpu_calls_add(op, pd, 2, args), done);
done:
    (void)dnnl_primitive_desc_destroy(pd);
    (void)dnnl_primitive_attr_destroy(attr);
    return status;
}

/* Reorders in, the product, the activation where it is not fused, reorders out. */
static dl_status add_calls(const plan *p, dl_cpu_calls_op *op) {
    dl_cpu_arg slot_args[N_ROLES];
    dl_cpu_arg call_args[N_ROLES];
    dl_cpu_arg args[N_ROLES];
    int n_args = 0;
    for (role r = ROLE_X; r < N_ROLES; r++) {
        if (p->asked[r] != NULL) {
            place_role(p, r, op, &slot_args[r], &call_args[r]);
            args[n_args++] = call_args[r];
        }
    }
    for (role r = ROLE_X; r < N_ROLES; r++) {
        if (p->asked[r] != NULL && !role_is_output[p->pass][r] && slot_args[r].slot != call_args[r].slot) {
            DL_RETURN_IF_ERROR(dl_cpu_calls_add_reorder(op, &slot_args[r], &call_args[r], false));
        }
    }
    DL_RETURN_IF_ERROR(dl_cpu_calls_add(op, p->pd, n_args, args));
    if (p->activation_apart) {
        DL_RETURN_IF_ERROR(add_activation(p, op, &call_args[ROLE_Y]));
    }
    for (role r = ROLE_X; r < N_ROLES; r++) {
        if (p->asked[r] != NULL && role_is_output[p->pass][r] && slot_args[r].slot != call_args[r].slot) {
            DL_RETURN_IF_ERROR(dl_cpu_calls_add_reorder(op, &call_args[r], &slot_args[r], false));
        }
    }
    return DL_OK;
}

/* oneDNN 2.6's 1x1 kernels for bfloat16 give wrong gradients of plain images whose channels are no multiple
 * of 16 (found by the conformance suite: 17 to 19 channels). */
static bool is_wrong(const dl_op_desc *desc, const char *implementation) {
    const dl_conv2d_sizes z =
        dl_op_is_convolution(desc->kind) ? dl_conv2d_sizes_of(desc) : (dl_conv2d_sizes){0};
    return strncmp(implementation, "jit_bf16_1x1", 12) == 0 && (z.c % 16 != 0 || z.k % 16 != 0);
}

bool dl_cpu_multiplies_bfloat16(void) {
    const int isa = (int)dnnl_get_effective_cpu_isa(), wanted = (int)dnnl_cpu_isa_avx512_core_bf16;
    return (isa & wanted) == wanted;
}

/* All activations and weights bfloat16, on a processor that multiplies them, and oneDNN has more than
 * reference code for it. Otherwise float32 is faster (kernels/widened.h). */
static bool takes_bfloat16(const dl_device *device, const dl_op_desc *desc) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    bool takes = dl_cpu_multiplies_bfloat16() && desc->algorithm == 0 && dl_op_samples(desc) > 0;
    for (int i = 0; i < info->n_slots && takes; i++) {
        const dl_dtype wanted = info->slots[i].half ? DL_BF16 : DL_F32;
        takes = !desc->slot[i].present || desc->slot[i].dtype == wanted;
    }
    plan p;
    takes = takes && plan_init(&p, device, desc) == DL_OK;
    if (takes) {
        const char *implementation = choose(&p) == DL_OK ? dl_onednn_implementation(p.pd) : "ref";
        takes = !dl_onednn_is_reference(implementation) && !is_wrong(desc, implementation);
        plan_release(&p);
    }
    return takes;
}

/* Said once: a program has many such operations or none. */
static void warn_of_reference(const dl_op_desc *desc, const char *implementation) {
    static atomic_flag said = ATOMIC_FLAG_INIT;
    if (dl_onednn_is_reference(implementation) && !atomic_flag_test_and_set(&said)) {
        char shape[DL_SHAPE_TEXT_BYTES];
        DL_WARN("oneDNN has only slow reference code (%s) for a %s whose first tensor is %s", implementation,
                dl_op_info_of(desc->kind)->name, dl_shape_text(&desc->slot[0].shape, shape));
    }
}

/* Rows keep their bits in a convolution whatever the batch; in a dense layer only in the kernels for packed
 * weights: plain ones go through other code below 16 rows; and on one thread: several ones divide the inputs
 * among them where there are few outputs, and add the parts. The conformance suite checks what is promised
 * here. */
static bool rows_keep_their_bits(const plan *p, const char *implementation) {
    if (p->pass == PASS_WEIGHTS || p->desc->algorithm != 0) {
        return false;
    }
    const bool packed = p->chosen[ROLE_W] != p->plain[ROLE_W] && strncmp(implementation, "brgemm", 6) == 0;
    return p->shim.convolution || (packed && p->device->base.n_threads == 1);
}

dl_status dl_cpu_prepare_product(dl_device *device, const dl_op_desc *desc, const dl_op *forward,
                                 dl_op **out) {
    (void)forward;
    plan p;
    dl_cpu_calls_op *op = NULL;
    DL_RETURN_IF_ERROR(plan_init(&p, device, desc));
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, choose(&p), done);
    DL_GOTO_IF_ERROR(status, dl_cpu_calls_create(device, desc, &op), done);
    (void)snprintf(op->base.implementation, sizeof op->base.implementation, "%s",
                   dl_onednn_implementation(p.pd));
    warn_of_reference(desc, op->base.implementation);
    op->base.batch_invariant = rows_keep_their_bits(&p, op->base.implementation);
    DL_GOTO_IF_ERROR(status, add_calls(&p, op), done);
    *out = &op->base;
done:
    plan_release(&p);
    if (status != DL_OK && op != NULL) {
        dl_cpu_calls_destroy(&op->base);
    }
    return status;
}

int dl_cpu_product_algorithms(const dl_device *device, const dl_op_desc *desc) {
    if (!dl_op_is_convolution(desc->kind) || !dl_cpu_product_takes(device, desc)) {
        return 1;
    }
    plan p;
    dl_op_desc winograd = *desc;
    winograd.algorithm = 1;
    bool done = false;
    if (plan_init(&p, device, &winograd) == DL_OK) {
        for (int freedom = 0; freedom <= 1 && !done; freedom++) {
            if (try_freedom(&p, freedom, &done) != DL_OK) {
                break;
            }
        }
    }
    plan_release(&p);
    return done ? 2 : 1;
}

const char *dl_cpu_product_algorithm_name(const dl_device *device, const dl_op_desc *desc, int algorithm) {
    if (algorithm > 0 && algorithm >= dl_cpu_product_algorithms(device, desc)) {
        return NULL;
    }
    if (!dl_op_is_convolution(desc->kind)) {
        return "default";
    }
    return algorithm == 1 ? "winograd" : "direct";
}
