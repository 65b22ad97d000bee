#include "optim/optim.h"

#include "kernels/common/blocks.h"
#include "optim/tables.h"

#include <string.h>

static const dl_optimizer *const optimizers[] = {
#define DL_OPTIMIZER(name) &dl_optimizer_##name,
#include "optim/optimizers.def"
#undef DL_OPTIMIZER
};
enum { N_OPTIMIZERS = sizeof optimizers / sizeof optimizers[0] };

const dl_variant_kind *const *dl_optimizer_kinds(void) {
    static const dl_variant_kind *const kinds[] = {
#define DL_OPTIMIZER(name) &dl_optimizer_##name.kind,
#include "optim/optimizers.def"
#undef DL_OPTIMIZER
        NULL,
    };
    return kinds;
}

const dl_optimizer *dl_optimizer_find(const char *name) {
    for (int i = 0; i < N_OPTIMIZERS; i++) {
        if (strcmp(optimizers[i]->kind.name, name) == 0) {
            return optimizers[i];
        }
    }
    return NULL;
}

const dl_optimizer *dl_optimizer_of(const dl_variant *chosen) {
    return dl_optimizer_find(chosen->kind->name);
}

dl_status dl_optimizer_check(const dl_variant *chosen, dl_diagnostics *diagnostics) {
    const dl_optimizer *optimizer = dl_optimizer_of(chosen);
    const char *mistake = optimizer->mistake != NULL ? optimizer->mistake(chosen->values) : NULL;
    if (mistake != NULL) {
        DL_RETURN_IF_ERROR(dl_diagnose(diagnostics, chosen->place, "%s", mistake));
    }
    return DL_OK;
}

/* Number of the i-th slot that is needed; with i at or above their count, DL_OPTIMIZER_MAX_SLOTS. *n counts
 * them. */
static int slot_number(const dl_variant *chosen, int i, int *n) {
    const dl_optimizer *optimizer = dl_optimizer_of(chosen);
    int number = DL_OPTIMIZER_MAX_SLOTS;
    *n = 0;
    for (int s = 0; s < DL_OPTIMIZER_MAX_SLOTS; s++) {
        if (optimizer->slot[s].name != NULL && optimizer->needs_slot(chosen->values, s)) {
            number = *n == i ? s : number;
            (*n)++;
        }
    }
    return number;
}

int dl_optimizer_slots(const dl_variant *chosen) {
    int n = 0;
    (void)slot_number(chosen, 0, &n);
    return n;
}

const dl_optimizer_slot *dl_optimizer_slot_at(const dl_variant *chosen, int i) {
    int n = 0;
    return &dl_optimizer_of(chosen)->slot[slot_number(chosen, i, &n)];
}

double dl_optimizer_base_rate(const dl_variant *chosen) {
    return dl_optimizer_of(chosen)->learning_rate(chosen->values);
}

static dl_status bind(const char *name, dl_dtype dtype, int64_t n_elements, dl_op_desc *out) {
    const dl_op_info *info = dl_op_info_of(out->kind);
    const int slot = dl_op_slot(info, name);
    DL_RETURN_ERROR_IF(slot < 0, DL_ERR_INTERNAL, "operation %s has no slot '%s'", info->name, name);
    out->slot[slot] = (dl_tensor_desc){.present = true, .dtype = dtype, .shape = DL_SHAPE(n_elements)};
    return DL_OK;
}

dl_status dl_optimizer_describe(const dl_variant *chosen, double capacity, int64_t n_elements,
                                dl_op_desc *out) {
    const dl_optimizer *optimizer = dl_optimizer_of(chosen);
    *out = (dl_op_desc){.kind = optimizer->update};
    optimizer->attributes(chosen->values, capacity, &out->attr);
    DL_RETURN_IF_ERROR(bind("w", DL_F32, n_elements, out));
    DL_RETURN_IF_ERROR(bind("g", DL_F32, n_elements, out));
    for (int i = 0; i < dl_optimizer_slots(chosen); i++) {
        DL_RETURN_IF_ERROR(bind(dl_optimizer_slot_at(chosen, i)->op_slot, DL_F32, n_elements, out));
    }
    DL_RETURN_IF_ERROR(bind("step", DL_U8, (int64_t)sizeof(dl_step_block), out));
    DL_RETURN_IF_ERROR(bind("totals", DL_F64, DL_N_TOTALS, out));
    DL_RETURN_IF_ERROR(bind("control", DL_I32, DL_N_CONTROLS, out));
    return DL_OK;
}
