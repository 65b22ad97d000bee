/* Gradients by central differences along random directions.
 *
 * The scalar is L = sum of u y over the outputs y whose gradients the gradient kind reads, with u what it is
 * given as their gradients; where it reads none (losses), L = scale times the sum of the outputs. y comes
 * from ref, the sum is made in double. */
#include "conformance.h"

#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double allowed = 1e-3;
enum { DIRECTIONS = 3 };

/* Steps are powers of two. The one for pooling changes no order of DLC_DISTINCT values; the other balances
 * the rounding of y against the third derivative of the smooth kinds. */
static double step_of(dlc_fill fill) {
    return fill == DLC_DISTINCT ? 0x1p-12 : 0x1p-7;
}

/* The gradient's kind and values, the inputs of the forward kind. */
typedef struct gradient {
    const dlc_problem *problem; /* of the gradient kind; for a fused kind of the kind itself */
    const dlc_problem *weights; /* the one that reads the gradients of the outputs: mostly `problem` */
    const dl_op_desc *forward;
    dlc_values x; /* inputs of the forward kind */
    const dlc_values *result;
    double step;
} gradient;

static dl_status loss(dl_device *ref, const gradient *g, double *out) {
    dlc_problem forward = {.name = g->problem->name, .desc = *g->forward, .in = g->x};
    dlc_values y;
    dlc_findings ignored;
    const dl_op_info *info = dl_op_info_of(g->forward->kind), *own = dl_op_info_of(g->weights->desc.kind);
    DL_RETURN_IF_ERROR(dlc_values_create(g->forward, &y));
    DL_RETURN_IF_ERROR(dlc_execute(ref, &forward, (dlc_way){.once = true}, &y, &ignored));
    *out = 0;
    bool has_weights = false;
    for (int pass = 0; pass < 2 && !has_weights; pass++) {
        for (int i = 0; i < info->n_slots; i++) {
            char name[32];
            (void)snprintf(name, sizeof name, "d%s", info->slots[i].name);
            const int u = dl_op_slot(own, name);
            const bool weighted = u >= 0 && own->slots[u].role == DL_SLOT_IN;
            const bool is_loss = pass == 1 && strcmp(info->slots[i].name, "loss") == 0;
            if (!dlc_is_result(g->forward, i) || !(weighted || is_loss)) {
                continue;
            }
            has_weights = true;
            for (int64_t k = 0; k < dl_shape_elements(&g->forward->slot[i].shape); k++) {
                const double weight =
                    weighted ? (double)((float *)g->weights->in.slot[u])[k] : g->forward->attr.u.loss.scale;
                *out += weight * (double)((float *)y.slot[i])[k];
            }
        }
    }
    dlc_values_destroy(&y);
    return DL_OK;
}

/* L with slot i moved by `step` along a direction of +1 and -1. */
static dl_status moved_loss(dl_device *ref, gradient *g, int i, int direction, double step, double *out) {
    float *x = g->x.slot[i];
    void *kept = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(g->x.n_bytes[i], 1, &kept));
    memcpy(kept, x, g->x.n_bytes[i]);
    for (int64_t k = 0; k < dl_shape_elements(&g->forward->slot[i].shape); k++) {
        const double u = dl_rng_uniform((uint64_t)direction, DL_RNG_TEST, 77, (uint64_t)k) < 0.5 ? -1 : 1;
        x[k] = (float)((double)x[k] + step * u);
    }
    const dl_status status = loss(ref, g, out);
    memcpy(x, kept, g->x.n_bytes[i]);
    dl_free(&kept);
    return status;
}

/* Compares the slope of L along a direction with the gradient's component; relative to the gradient's norm,
 * which is what that component is on average. */
static dl_status slope_error(dl_device *ref, gradient *g, int i, int slot, int direction, double *out) {
    double above = 0, below = 0, along = 0, norm = 0;
    DL_RETURN_IF_ERROR(moved_loss(ref, g, i, direction, g->step, &above));
    DL_RETURN_IF_ERROR(moved_loss(ref, g, i, direction, -g->step, &below));
    const float *values = g->result->slot[slot];
    for (int64_t k = 0; k < dl_shape_elements(&g->forward->slot[i].shape); k++) {
        const double u = dl_rng_uniform((uint64_t)direction, DL_RNG_TEST, 77, (uint64_t)k) < 0.5 ? -1 : 1;
        along += u * (double)values[k];
        norm += (double)values[k] * (double)values[k];
    }
    const double slope = (above - below) / (2 * g->step);
    *out = fabs(slope - along) / fmax(fmax(sqrt(norm), fabs(slope)), 1e-30);
    return DL_OK;
}

/* All gradients that the problem's kind writes. */
static dl_status check_problem(dlc_suite *suite, const dlc_case *test, const dlc_problem *problem,
                               const dlc_problem *weights) {
    const dl_op_info *own = dl_op_info_of(problem->desc.kind);
    if (!dlc_is_taken(suite, problem)) {
        return DL_OK;
    }
    gradient g = {.problem = problem, .weights = weights, .step = step_of(test->fill)};
    g.forward = problem->has_forward ? &problem->forward : &problem->desc;
    g.x = problem->has_forward ? problem->forward_in : problem->in;
    dlc_values result;
    dlc_findings findings;
    char label[DLC_LABEL_BYTES];
    (void)dlc_label(problem, (dlc_way){.once = true}, label);
    DL_RETURN_IF_ERROR(dlc_values_create(&problem->desc, &result));
    g.result = &result;
    DL_RETURN_IF_ERROR(dlc_execute(suite->device, problem, (dlc_way){.once = true}, &result, &findings));
    for (int slot = 0; slot < own->n_slots; slot++) {
        const char *name = own->slots[slot].name;
        const int i = dl_op_slot(dl_op_info_of(g.forward->kind), name + 1);
        if (name[0] != 'd' || i < 0 || !dlc_is_result(&problem->desc, slot)) {
            continue;
        }
        for (int direction = 1; direction <= DIRECTIONS; direction++) {
            double error = 0;
            DL_RETURN_IF_ERROR(slope_error(suite->ref, &g, i, slot, direction, &error));
            if (error <= allowed) {
                dlc_pass(suite);
            } else {
                dlc_fail(suite, label, "gradient '%s' differs from the slope by %.3g of its norm", name,
                         error);
            }
            if (suite->verbose) {
                (void)printf("%s: gradient '%s' %.3g\n", label, name, error);
            }
        }
        suite->gradient_checks[problem->desc.kind]++;
    }
    dlc_values_destroy(&result);
    return DL_OK;
}

/* Where the kind reads what another gradient kind made, that one has the gradients of the outputs. */
static dl_status check_chain(dlc_suite *suite, const dlc_case *test, const dlc_problem *problem) {
    int slot = -1;
    const int k =
        problem->has_forward ? dlc_source_gradient(&problem->desc, problem->forward.kind, &slot) : -1;
    if (k < 0) {
        return check_problem(suite, test, problem, problem);
    }
    dlc_problem source;
    DL_RETURN_IF_ERROR(dlc_problem_create(suite->ref, test, (dlc_which){k, false}, -1, &source));
    const dl_status status = check_problem(suite, test, problem, &source);
    dlc_problem_destroy(&source);
    return status;
}

void dlc_check_gradients(dlc_suite *suite, const dlc_case *test) {
    const dl_op_info *info = dl_op_info_of(test->desc.kind);
    const bool is_activation = test->desc.kind == DL_OP_ACTIVATION_FORWARD;
    if ((test->flags & (DLC_KINKS | DLC_FORWARD_ONLY)) != 0 || dl_op_samples(&test->desc) == 0 ||
        (test->desc.attr.activation != DL_ACT_NONE && !is_activation)) {
        return;
    }
    /* A kind without gradient kinds may write the gradient itself. */
    for (int k = info->n_gradients > 0 ? 0 : -1; k < info->n_gradients; k++) {
        dlc_problem problem;
        dl_status status = dlc_problem_create(suite->ref, test, (dlc_which){k, false}, -1, &problem);
        if (status == DL_OK) {
            status = check_chain(suite, test, &problem);
        }
        if (status != DL_OK) {
            dlc_fail(suite, test->name, "%s, gradient: %s", info->name, dl_error_last()->message);
        }
        dlc_problem_destroy(&problem);
    }
}
