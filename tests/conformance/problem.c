/* From a case to an operation with inputs. */
#include "conformance.h"

#include "base/mem.h"
#include "base/rng.h"
#include "fill.h"
#include "half.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

dlc_case *dlc_add(dlc_list *list, dl_op_kind kind, const char *name, int flags, dlc_fill fill) {
    if (dl_grow(&list->at, &list->capacity, list->n + 1, sizeof *list->at) != DL_OK) {
        (void)fprintf(stderr, "conformance: %s\n", dl_error_last()->message);
        exit(71);
    }
    dlc_case *test = &list->at[list->n++];
    *test = (dlc_case){.name = name, .flags = flags, .fill = fill, .desc = {.kind = kind}};
    return test;
}

void dlc_slot(dlc_case *test, const char *name, dl_dtype dtype, dl_shape shape) {
    const int i = dl_op_slot(dl_op_info_of(test->desc.kind), name);
    test->desc.slot[i] = (dl_tensor_desc){.present = true, .dtype = dtype, .shape = shape};
}

dl_status dlc_values_create(const dl_op_desc *desc, dlc_values *out) {
    *out = (dlc_values){0};
    for (int i = 0; i < dl_op_info_of(desc->kind)->n_slots; i++) {
        if (desc->slot[i].present) {
            out->n_bytes[i] = dl_tensor_plain_bytes(&desc->slot[i]);
            DL_RETURN_IF_ERROR(dl_alloc(out->n_bytes[i], 1, &out->slot[i]));
        }
    }
    return DL_OK;
}

void dlc_values_destroy(dlc_values *values) {
    for (int i = 0; i < DL_OP_MAX_SLOTS; i++) {
        dl_free(&values->slot[i]);
    }
}

/* Runs the operation on ref, from and into plain values: outputs of *values are filled. */
static dl_status run_on_ref(dl_device *ref, const dl_op_desc *desc, dlc_values *values) {
    dl_op *op = NULL;
    DL_RETURN_IF_ERROR(dl_op_prepare(ref, desc, NULL, &op));
    void *slots[DL_OP_MAX_SLOTS + 1] = {0}, *wide = NULL;
    const dl_op_info *info = dl_op_info_of(desc->kind);
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, dl_alloc(op->workspace_bytes, 1, &slots[info->n_slots]), done);
    for (int i = 0; i < info->n_slots; i++) {
        slots[i] = values->slot[i];
        if (op->layout[i] != NULL) { /* of no interest outside the device, but it must have room */
            DL_GOTO_IF_ERROR(status, dl_alloc(op->layout[i]->n_bytes, 1, &wide), done);
            slots[i] = wide;
        }
    }
    DL_GOTO_IF_ERROR(status, op->functions->run(op, slots, NULL), done);
done:
    dl_free(&slots[info->n_slots]);
    dl_free(&wide);
    dl_op_destroy(&op);
    return status;
}

/* The gradient kind's desc from the forward one: slot NAME is the forward slot, dNAME its gradient. */
static dl_op_desc gradient_desc(const dl_op_desc *forward, dlc_which which) {
    const dl_op_info *info = dl_op_info_of(forward->kind);
    dl_op_desc desc = {.kind = info->gradients[which.gradient].kind, .attr = forward->attr};
    const dl_op_info *own = dl_op_info_of(desc.kind);
    const bool is_activation = desc.kind == DL_OP_ACTIVATION_BACKWARD;
    desc.attr.activation = is_activation      ? forward->attr.activation
                           : which.fuses_relu ? DL_ACT_RELU
                                              : DL_ACT_NONE;
    for (int i = 0; i < own->n_slots; i++) {
        const char *name = own->slots[i].name;
        const int same = dl_op_slot(info, name), of = name[0] == 'd' ? dl_op_slot(info, name + 1) : -1;
        const int source = same >= 0 ? same : of;
        const bool only_fused = same >= 0 && own->slots[i].optional && own->fuses_activation;
        if (source >= 0 && forward->slot[source].present && !(only_fused && !which.fuses_relu)) {
            desc.slot[i] = same >= 0 ? forward->slot[same] : dl_op_gradient_tensor(forward, of);
        }
    }
    dlc_narrow(&desc, dlc_half_of_desc(forward));
    return desc;
}

int dlc_source_gradient(const dl_op_desc *desc, dl_op_kind forward_kind, int *slot) {
    const dl_op_info *info = dl_op_info_of(desc->kind), *forward = dl_op_info_of(forward_kind);
    for (*slot = 0; *slot < info->n_slots; ++*slot) {
        const char *name = info->slots[*slot].name;
        const int of = name[0] == 'd' ? dl_op_slot(forward, name + 1) : -1;
        if (info->slots[*slot].role != DL_SLOT_IN || of < 0 || forward->slots[of].role != DL_SLOT_IN) {
            continue;
        }
        for (int k = 0; k < forward->n_gradients; k++) {
            const dl_op_info *maker = dl_op_info_of(forward->gradients[k].kind);
            const int made = dl_op_slot(maker, name);
            if (made >= 0 && maker->slots[made].role == DL_SLOT_OUT) {
                return k;
            }
        }
    }
    return -1;
}

/* A gradient of an input that another gradient kind of the same operation writes: as ref computes it. */
static dl_status fill_from_source(dl_device *ref, const dlc_case *test, dlc_problem *problem,
                                  int64_t n_samples) {
    int slot = -1;
    const int k = dlc_source_gradient(&problem->desc, problem->forward.kind, &slot);
    if (k < 0) {
        return DL_OK;
    }
    dlc_problem source;
    dlc_values made;
    dlc_findings ignored;
    DL_RETURN_IF_ERROR(dlc_problem_create(ref, test, (dlc_which){k, false}, n_samples, &source));
    DL_RETURN_IF_ERROR(dlc_values_create(&source.desc, &made));
    const dl_status status = dlc_execute(ref, &source, (dlc_way){.once = true}, &made, &ignored);
    const int of =
        dl_op_slot(dl_op_info_of(source.desc.kind), dl_op_info_of(problem->desc.kind)->slots[slot].name);
    memcpy(problem->in.slot[slot], made.slot[of], made.n_bytes[of]);
    dlc_values_destroy(&made);
    dlc_problem_destroy(&source);
    return status;
}

/* Copies what the forward operation knows into the gradient's inputs; gradients themselves are random. */
static dl_status fill_gradient(const dlc_case *test, dlc_problem *problem) {
    const dl_op_info *info = dl_op_info_of(problem->desc.kind),
                     *forward = dl_op_info_of(problem->forward.kind);
    DL_RETURN_IF_ERROR(dlc_values_create(&problem->desc, &problem->in));
    for (int i = 0; i < info->n_slots; i++) {
        const int same = dl_op_slot(forward, info->slots[i].name);
        if (!problem->desc.slot[i].present || info->slots[i].saved) {
            continue;
        }
        if (same >= 0) {
            memcpy(problem->in.slot[i], problem->forward_in.slot[same], problem->in.n_bytes[i]);
        } else if (info->slots[i].role == DL_SLOT_IN) {
            dlc_fill_slot(&problem->desc, i, DLC_UNIFORM, test->flags, problem->in.slot[i]);
        }
    }
    return DL_OK;
}

static dl_status fill_inputs(const dlc_case *test, const dl_op_desc *desc, dlc_values *out) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    DL_RETURN_IF_ERROR(dlc_values_create(desc, out));
    for (int i = 0; i < info->n_slots; i++) {
        if (desc->slot[i].present && (info->slots[i].role != DL_SLOT_OUT || desc->attr.accumulate)) {
            dlc_fill_slot(desc, i, test->fill, test->flags, out->slot[i]);
        }
    }
    return DL_OK;
}

dl_status dlc_problem_create(dl_device *ref, const dlc_case *test, dlc_which which, int64_t n_samples,
                             dlc_problem *out) {
    const dl_op_desc desc = n_samples < 0 ? test->desc : dl_op_with_samples(&test->desc, n_samples);
    *out = (dlc_problem){.name = test->name, .desc = desc};
    if (which.gradient < 0) {
        DL_RETURN_IF_ERROR(fill_inputs(test, &desc, &out->in));
        return DL_OK;
    }
    out->has_forward = true;
    out->forward = desc;
    DL_RETURN_IF_ERROR(fill_inputs(test, &desc, &out->forward_in));
    DL_RETURN_IF_ERROR(run_on_ref(ref, &desc, &out->forward_in));
    out->desc = gradient_desc(&desc, which);
    DL_RETURN_IF_ERROR(fill_gradient(test, out));
    return fill_from_source(ref, test, out, n_samples);
}

static dl_status slice_values(const dl_op_desc *whole, const dlc_values *values, int64_t begin, int64_t n,
                              dl_op_desc *desc, dlc_values *out) {
    const dl_op_info *info = dl_op_info_of(whole->kind);
    *desc = dl_op_with_samples(whole, n);
    DL_RETURN_IF_ERROR(dlc_values_create(desc, out));
    for (int i = 0; i < info->n_slots; i++) {
        if (whole->slot[i].present) {
            const int64_t samples = whole->slot[i].shape.dim[0];
            const size_t skip = info->slots[i].batched && samples > 0
                                    ? values->n_bytes[i] / (size_t)samples * (size_t)begin
                                    : 0;
            memcpy(out->slot[i], (const char *)values->slot[i] + skip, out->n_bytes[i]);
        }
    }
    return DL_OK;
}

dl_status dlc_problem_slice(const dlc_problem *problem, int64_t begin, int64_t n, dlc_problem *out) {
    *out = (dlc_problem){.name = problem->name, .has_forward = problem->has_forward};
    DL_RETURN_IF_ERROR(slice_values(&problem->desc, &problem->in, begin, n, &out->desc, &out->in));
    if (problem->has_forward) {
        DL_RETURN_IF_ERROR(
            slice_values(&problem->forward, &problem->forward_in, begin, n, &out->forward, &out->forward_in));
    }
    return DL_OK;
}

void dlc_problem_destroy(dlc_problem *problem) {
    dlc_values_destroy(&problem->in);
    dlc_values_destroy(&problem->forward_in);
}
