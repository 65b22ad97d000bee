/* Running one operation in guarded memory and watching what it touches. */
#include "buffer.h"
#include "half.h"

#include "base/mem.h"
#include "kernels/common/half.h"
#include "kernels/ref/strict.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A prepared operation with a buffer for every slot and the workspace. */
typedef struct setup {
    dl_device *device;
    const dl_op_info *info;
    dl_op *op;
    dlc_buffer slot[DL_OP_MAX_SLOTS + 1]; /* [n_slots]: the workspace */
    dlc_buffer before[DL_OP_MAX_SLOTS];   /* the slots' contents before a run, in the operation's layouts */
} setup;

bool dlc_is_result(const dl_op_desc *desc, int i) {
    const dl_slot_info *slot = &dl_op_info_of(desc->kind)->slots[i];
    return desc->slot[i].present && slot->role != DL_SLOT_IN && !slot->saved;
}

bool dlc_apply_variant(dl_device *device, dl_op_desc *desc, int variant) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    bool found = variant == 0;
    for (int i = 0; i < info->n_slots; i++) {
        dl_tensor_desc *tensor = &desc->slot[i];
        if (info->slots[i].saved && info->slots[i].role == DL_SLOT_OUT) {
            tensor->layout = &dl_layout_any;
        }
        if (!info->slots[i].layout_free || !tensor->present || variant == 0) {
            continue;
        }
        if (desc->kind == DL_OP_REORDER && i == 0) {
            continue; /* from plain to each layout; the way back is how results are fetched */
        }
        tensor->layout = &dl_layout_any;
        found = found || variant == 1;
        if (variant >= 2 && info->slots[i].batched) {
            const dl_layout *layouts[DL_MAX_LAYOUTS];
            const int n = dl_device_layouts(device, tensor->dtype, &tensor->shape, layouts);
            tensor->layout = variant - 2 < n ? layouts[variant - 2] : &dl_layout_any;
            found = found || variant - 2 < n;
        }
    }
    /* "any" says nothing to a kind that changes layouts; packs run wherever weights want a layout. */
    const bool packs = desc->kind == DL_OP_PACK || desc->kind == DL_OP_UNPACK;
    return found && !(packs && variant > 0) && !(desc->kind == DL_OP_REORDER && variant == 1);
}

static void setup_destroy(setup *s) {
    for (int i = 0; i < DL_OP_MAX_SLOTS; i++) {
        dlc_buffer_destroy(&s->slot[i]);
        dlc_buffer_destroy(&s->before[i]);
    }
    dlc_buffer_destroy(&s->slot[DL_OP_MAX_SLOTS]);
    dl_op_destroy(&s->op);
}

/* Fills `before` of slot i: the value in the layout that the operation wants, or poison. */
static dl_status prepare_slot(setup *s, int i, const void *value) {
    const dl_layout *layout = s->op->layout[i];
    DL_RETURN_IF_ERROR(dlc_buffer_create(s->device, dl_op_slot_bytes(s->op, i), &s->before[i]));
    DL_RETURN_IF_ERROR(dlc_buffer_create(s->device, dl_op_slot_bytes(s->op, i), &s->slot[i]));
    if (value == NULL) {
        return DL_OK;
    }
    if (layout == NULL) {
        DL_RETURN_IF_ERROR(dlc_buffer_put(&s->before[i], value));
        return DL_OK;
    }
    const dl_tensor_desc *tensor = &s->op->desc.slot[i];
    const bool batched = s->info->slots[i].batched, narrows = !batched && dl_dtype_is_half(tensor->dtype);
    const int64_t n = dl_shape_elements(&tensor->shape);
    float *wide = NULL; /* weights are packed from float32 */
    dlc_buffer plain;
    if (narrows) {
        DL_RETURN_IF_ERROR(dl_alloc((size_t)n, sizeof *wide, &wide));
        dlc_widen_halves(tensor->dtype, n, value, wide);
    }
    const size_t n_bytes = narrows ? (size_t)n * sizeof *wide : dl_tensor_plain_bytes(tensor);
    DL_RETURN_IF_ERROR(dlc_buffer_create(s->device, n_bytes, &plain));
    DL_RETURN_IF_ERROR(dlc_buffer_put(&plain, narrows ? wide : value));
    dl_free(&wide);
    const dlc_conversion pack = {tensor, batched, false, NULL, layout};
    DL_RETURN_IF_ERROR(dlc_convert(&pack, &plain, &s->before[i]));
    dlc_buffer_destroy(&plain);
    bool intact = false;
    DL_RETURN_IF_ERROR(dlc_buffer_get(&s->before[i], &intact));
    DL_RETURN_ERROR_IF(!intact, DL_ERR_INTERNAL, "the conversion to %s writes outside", layout->name);
    return DL_OK;
}

/* `saved` is the forward operation's setup, whose saved slots are inputs here; or NULL. */
static dl_status setup_create(dl_device *device, const dl_op_desc *desc, const dlc_values *in,
                              const setup *forward, setup *s) {
    *s = (setup){.device = device, .info = dl_op_info_of(desc->kind)};
    dl_op_desc asked = *desc;
    for (int i = 0; i < s->info->n_slots; i++) {
        if (s->info->slots[i].saved && s->info->slots[i].role == DL_SLOT_IN && forward != NULL) {
            asked.slot[i].layout = forward->op->layout[dl_op_slot(forward->info, s->info->slots[i].name)];
        }
    }
    DL_RETURN_IF_ERROR(dl_op_prepare(device, &asked, forward == NULL ? NULL : forward->op, &s->op));
    for (int i = 0; i < s->info->n_slots; i++) {
        if (!desc->slot[i].present) {
            continue;
        }
        const bool is_read = s->info->slots[i].role != DL_SLOT_OUT || desc->attr.accumulate;
        DL_RETURN_ERROR_IF(asked.slot[i].layout == NULL && s->op->layout[i] != NULL &&
                               !s->info->slots[i].saved,
                           DL_ERR_INTERNAL, "slot '%s' was asked plain and became %s", s->info->slots[i].name,
                           s->op->layout[i]->name);
        const bool from_forward =
            s->info->slots[i].saved && s->info->slots[i].role == DL_SLOT_IN && forward != NULL;
        DL_RETURN_IF_ERROR(prepare_slot(s, i, is_read && !from_forward ? in->slot[i] : NULL));
        if (from_forward) {
            const int k = dl_op_slot(forward->info, s->info->slots[i].name);
            DL_RETURN_IF_ERROR(dlc_buffer_put(&s->before[i], forward->slot[k].bytes));
        }
    }
    DL_RETURN_IF_ERROR(dlc_buffer_create(device, s->op->workspace_bytes, &s->slot[s->info->n_slots]));
    return DL_OK;
}

/* On a strict backend inputs are made read-only while the operation runs: a write to one crashes. */
static dl_status fence(const setup *s, dl_strict_access access) {
    for (int i = 0; i < s->info->n_slots && s->device->backend->strict; i++) {
        if (s->info->slots[i].role == DL_SLOT_IN && s->slot[i].base != NULL) {
            const dl_strict_range range = {s->slot[i].base, s->slot[i].total, access};
            DL_RETURN_IF_ERROR(dl_strict_protect(&range, 1));
        }
    }
    return DL_OK;
}

/* One run from the `before` contents. in_place: the OUT slot that takes its source's memory, or -1. */
static dl_status run_once(setup *s, int in_place, dlc_findings *findings) {
    void *address[DL_OP_MAX_SLOTS + 1] = {0};
    for (int i = 0; i < s->info->n_slots; i++) {
        if (s->slot[i].base != NULL) {
            DL_RETURN_IF_ERROR(dlc_buffer_put(&s->slot[i], s->before[i].bytes));
            address[i] = s->slot[i].data;
        }
    }
    dlc_buffer *workspace = &s->slot[s->info->n_slots];
    DL_RETURN_IF_ERROR(dlc_buffer_put(workspace, NULL));
    address[s->info->n_slots] = workspace->n_bytes > 0 ? workspace->data : NULL;
    const int source = in_place < 0 ? -1 : s->info->slots[in_place].in_place_of;
    if (in_place >= 0) {
        address[in_place] = address[source];
    } else {
        DL_RETURN_IF_ERROR(fence(s, DL_STRICT_READ));
    }
    DL_RETURN_IF_ERROR(s->op->functions->run(s->op, address, NULL));
    DL_RETURN_IF_ERROR(fence(s, DL_STRICT_WRITE));
    for (int i = 0; i <= s->info->n_slots; i++) {
        bool intact = true;
        if (s->slot[i].base != NULL) {
            DL_RETURN_IF_ERROR(dlc_buffer_get(&s->slot[i], &intact));
        }
        const bool input = i < s->info->n_slots && s->slot[i].base != NULL && i != source &&
                           s->info->slots[i].role == DL_SLOT_IN;
        const bool changed = input && memcmp(s->slot[i].bytes, s->before[i].bytes, s->slot[i].n_bytes) != 0;
        if (!intact || changed) {
            findings->broken = changed ? "an input was changed" : "memory outside was written";
            (void)snprintf(findings->slot, sizeof findings->slot, "%s",
                           i < s->info->n_slots ? s->info->slots[i].name : "workspace");
        }
    }
    return DL_OK;
}

/* Result i from the operation's own layout to the plain one. Weights are unpacked twice, the second time
 * added to the first: exactly double. */
static dl_status unpack_result(setup *s, int i, float *out) {
    dlc_buffer plain;
    bool intact = false;
    dlc_conversion unpack = {&s->op->desc.slot[i], s->info->slots[i].batched, false, s->op->layout[i], NULL};
    const size_t n_bytes = dl_tensor_plain_bytes(unpack.tensor);
    DL_RETURN_IF_ERROR(dlc_buffer_create(s->device, n_bytes, &plain));
    DL_RETURN_IF_ERROR(dlc_convert(&unpack, &s->slot[i], &plain));
    DL_RETURN_IF_ERROR(dlc_buffer_get(&plain, &intact));
    memcpy(out, plain.bytes, n_bytes);
    DL_RETURN_ERROR_IF(!intact, DL_ERR_INTERNAL, "the conversion from %s writes outside", unpack.from->name);
    if (!unpack.batched) {
        unpack.add = true;
        DL_RETURN_IF_ERROR(dlc_convert(&unpack, &s->slot[i], &plain));
        DL_RETURN_IF_ERROR(dlc_buffer_get(&plain, &intact));
        for (size_t k = 0; k < n_bytes / sizeof *out; k++) {
            const float twice = ((const float *)(const void *)plain.bytes)[k];
            DL_RETURN_ERROR_IF(twice != out[k] + out[k] && !isnan(out[k]), DL_ERR_INTERNAL,
                               "unpack from %s with accumulate does not add", unpack.from->name);
        }
    }
    dlc_buffer_destroy(&plain);
    return DL_OK;
}

/* Results in the plain layout. */
static dl_status fetch(setup *s, dlc_values *out) {
    for (int i = 0; i < s->info->n_slots; i++) {
        if (dlc_is_result(&s->op->desc, i) && s->op->layout[i] == NULL) {
            memcpy(out->slot[i], s->slot[i].bytes, out->n_bytes[i]);
        } else if (dlc_is_result(&s->op->desc, i)) {
            DL_RETURN_IF_ERROR(unpack_result(s, i, out->slot[i]));
        }
    }
    return DL_OK;
}

/* Whether the results now equal `first`, bit for bit; otherwise says which differs. */
static dl_status compare_again(setup *s, const dlc_values *first, const char *otherwise, int in_place,
                               dlc_findings *findings) {
    dlc_values again;
    DL_RETURN_IF_ERROR(dlc_values_create(&s->op->desc, &again));
    if (in_place >= 0) {
        const int source = s->info->slots[in_place].in_place_of;
        memcpy(s->slot[in_place].bytes, s->slot[source].bytes, s->slot[in_place].n_bytes);
        DL_RETURN_IF_ERROR(dlc_buffer_put(&s->slot[in_place], s->slot[source].bytes));
        bool intact = false;
        DL_RETURN_IF_ERROR(dlc_buffer_get(&s->slot[in_place], &intact));
    }
    DL_RETURN_IF_ERROR(fetch(s, &again));
    for (int i = 0; i < s->info->n_slots; i++) {
        if (dlc_is_result(&s->op->desc, i) && memcmp(first->slot[i], again.slot[i], again.n_bytes[i]) != 0) {
            findings->broken = otherwise;
            (void)snprintf(findings->slot, sizeof findings->slot, "%s", s->info->slots[i].name);
        }
    }
    dlc_values_destroy(&again);
    return DL_OK;
}

/* What outputs hold before the next run: whoever reads them gets other results. */
static void change_poison(setup *s) {
    for (int i = 0; i < s->info->n_slots; i++) {
        if (s->info->slots[i].role == DL_SLOT_OUT && !s->op->desc.attr.accumulate &&
            s->before[i].base != NULL) {
            memset(s->before[i].bytes, 0x11, s->before[i].n_bytes);
        }
    }
}

static dl_status run_all(setup *s, dlc_values *out, dlc_findings *findings) {
    DL_RETURN_IF_ERROR(run_once(s, -1, findings));
    DL_RETURN_IF_ERROR(fetch(s, out));
    change_poison(s);
    DL_RETURN_IF_ERROR(run_once(s, -1, findings));
    DL_RETURN_IF_ERROR(compare_again(s, out, "a second run gives other bits", -1, findings));
    for (int i = 0; i < s->info->n_slots; i++) {
        const int source = s->info->slots[i].in_place_of;
        if (source >= 0 && s->op->desc.slot[i].present && s->op->layout[i] == s->op->layout[source]) {
            DL_RETURN_IF_ERROR(run_once(s, i, findings));
            DL_RETURN_IF_ERROR(compare_again(s, out, "running in place gives other bits", i, findings));
        }
    }
    return DL_OK;
}

dl_status dlc_execute(dl_device *device, const dlc_problem *problem, dlc_way way, dlc_values *out,
                      dlc_findings *findings) {
    *findings = (dlc_findings){0};
    setup forward = {0}, s = {0};
    dl_status status = DL_OK;
    if (problem->has_forward) {
        dl_op_desc desc = problem->forward;
        (void)dlc_apply_variant(device, &desc, way.variant);
        desc.algorithm = way.algorithm < dl_device_n_algorithms(device, &desc) ? way.algorithm : 0;
        DL_GOTO_IF_ERROR(status, setup_create(device, &desc, &problem->forward_in, NULL, &forward), done);
        DL_GOTO_IF_ERROR(status, run_once(&forward, -1, findings), done);
    }
    dl_op_desc desc = problem->desc;
    desc.algorithm = way.algorithm;
    (void)dlc_apply_variant(device, &desc, way.variant);
    DL_GOTO_IF_ERROR(
        status, setup_create(device, &desc, &problem->in, problem->has_forward ? &forward : NULL, &s), done);
    (void)snprintf(findings->implementation, sizeof findings->implementation, "%s", s.op->implementation);
    findings->batch_invariant = s.op->batch_invariant;
    findings->rounds_sums = s.op->rounds_sums;
    if (way.once) {
        DL_GOTO_IF_ERROR(status, run_once(&s, -1, findings), done);
        DL_GOTO_IF_ERROR(status, fetch(&s, out), done);
    } else {
        DL_GOTO_IF_ERROR(status, run_all(&s, out, findings), done);
    }
done:
    setup_destroy(&s);
    setup_destroy(&forward);
    return status;
}
