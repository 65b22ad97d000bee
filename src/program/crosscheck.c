/* The walk: what an instruction reads is fetched before it runs, its results are compared after it. */
#include "program/crosscheck.h"

#include "base/mem.h"
#include "program/crosscheck_parts.h"

#include <stdio.h>
#include <string.h>

/* --- preparing --- */

static const dl_instruction *instruction_at(const dl_crosscheck *c, int at) {
    return &c->plan->program[c->number]->instruction[at];
}

/* Copies are each device's own: what packs them is compared where they are read. */
static bool is_compared(const dl_instruction *instruction) {
    return instruction->type == DL_DO_OPERATION && instruction->kind != DL_OP_PACK;
}

/* The same operation, plain; what is saved in the layout that the forward kind chose on the other device. */
static dl_status prepare_other(dl_crosscheck *c, const dl_instruction *instruction, int part, dl_pair *pair) {
    const dl_op_info *info = dl_op_info_of(instruction->kind);
    const dl_twin *twin = instruction->forward >= 0 ? c->twin[instruction->forward] : NULL;
    const dl_op *forward = twin != NULL && part < twin->n ? twin->pair[part].other : NULL;
    dl_op_desc desc = pair->op->desc;
    desc.algorithm = 0;
    for (int i = 0; i < info->n_slots; i++) {
        desc.slot[i].layout = NULL;
        if (info->slots[i].saved && info->slots[i].role == DL_SLOT_OUT) {
            desc.slot[i].layout = &dl_layout_any;
        } else if (info->slots[i].saved && forward != NULL) {
            const int saved = dl_op_slot(dl_op_info_of(forward->desc.kind), info->slots[i].name);
            desc.slot[i].layout = saved >= 0 ? forward->layout[saved] : NULL;
        }
    }
    DL_RETURN_IF_ERROR(dl_op_prepare(c->other, &desc, forward, &pair->other));
    if (info->rounding == NULL || !info->rounding->of_terms) {
        return DL_OK;
    }
    if (info->fuses_activation && desc.attr.activation != DL_ACT_RELU) {
        desc.attr.activation = DL_ACT_NONE; /* relu leaves a sum of magnitudes as it is */
    }
    return dl_op_prepare(c->other, &desc, forward, &pair->positive);
}

/* Addresses of one part, as the executor gives them out: its samples of batched slots, its place among summed
 * outputs. */
static void address_part(const dl_crosscheck *c, const dl_instruction *instruction, int p, dl_pair *pair) {
    const dl_program *program = c->plan->program[c->number];
    const dl_op_info *info = dl_op_info_of(instruction->kind);
    for (int i = 0; i < info->n_slots; i++) {
        const dl_slot *slot = instruction->slot[i] >= 0 ? &program->slot[instruction->slot[i]] : NULL;
        if (slot == NULL) {
            continue;
        }
        size_t offset = 0;
        if (instruction->n_parts > 0 && info->slots[i].batched) {
            offset = slot->n_bytes / (size_t)slot->tensor.shape.dim[0] *
                     (size_t)instruction->part[p].samples.begin;
        } else if (instruction->n_parts > 0 && info->slots[i].role == DL_SLOT_OUT) {
            offset = slot->n_bytes / (size_t)instruction->n_parts * (size_t)p;
        }
        pair->address[i] = (char *)dl_slot_address(c->plan, program, instruction->slot[i]) + offset;
    }
}

static dl_status make_twin(dl_crosscheck *c, int at) {
    const dl_instruction *instruction = instruction_at(c, at);
    dl_twin *twin = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *twin, &twin));
    c->twin[at] = twin;
    const int n = instruction->n_parts > 0 ? instruction->n_parts : 1;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n, sizeof *twin->pair, &twin->pair));
    twin->n = n;
    for (int p = 0; p < n; p++) {
        dl_pair *pair = &twin->pair[p];
        pair->op = instruction->n_parts > 0 ? instruction->part[p].op : instruction->op;
        if (pair->op != NULL) {
            address_part(c, instruction, p, pair);
            DL_RETURN_IF_ERROR(prepare_other(c, instruction, p, pair));
        }
    }
    return DL_OK;
}

static void release_inputs(dl_pair *pair) {
    for (int i = 0; i < DL_OP_MAX_SLOTS; i++) {
        dl_free(&pair->in[i]);
    }
}

static void destroy_twin(dl_crosscheck *c, dl_twin **twin) {
    for (int p = 0; *twin != NULL && p < (*twin)->n; p++) {
        dl_pair *pair = &(*twin)->pair[p];
        release_inputs(pair);
        for (int i = 0; i < DL_OP_MAX_SLOTS; i++) {
            if (pair->saved[i] != NULL) {
                c->other->backend->memory_destroy(c->other, pair->saved[i], dl_op_slot_bytes(pair->other, i));
            }
        }
        dl_op_destroy(&pair->positive);
        dl_op_destroy(&pair->other);
    }
    if (*twin != NULL) {
        dl_free(&(*twin)->pair);
    }
    dl_free(twin);
}

/* --- one instruction --- */

static dl_status fetch_inputs(const dl_crosscheck *c, const dl_instruction *instruction, dl_pair *pair) {
    for (int i = 0; i < dl_op_info_of(instruction->kind)->n_slots; i++) {
        if (!dl_pair_reads(pair, i)) {
            continue;
        }
        DL_RETURN_IF_ERROR(dl_alloc(dl_tensor_plain_bytes(&pair->op->desc.slot[i]), 1, &pair->in[i]));
        DL_RETURN_IF_ERROR(dl_fetch_input(c, instruction, pair, i, pair->in[i]));
    }
    return DL_OK;
}

static dl_status before(void *context, int at) {
    dl_crosscheck *c = context;
    if (!is_compared(instruction_at(c, at))) {
        return DL_OK;
    }
    if (c->twin[at] == NULL) {
        DL_RETURN_IF_ERROR(make_twin(c, at));
    }
    for (int p = 0; p < c->twin[at]->n; p++) {
        if (c->twin[at]->pair[p].op != NULL) {
            DL_RETURN_IF_ERROR(fetch_inputs(c, instruction_at(c, at), &c->twin[at]->pair[p]));
        }
    }
    return DL_OK;
}

/* Keeps the worst of all steps: what is furthest beyond its bound. */
static void keep_worst(dl_crosscheck *c, int at, const dl_pair *pair, const dl_comparison *now) {
    dl_comparison *kept = &c->comparison[at];
    if (now->departs && c->first < 0) {
        c->first = at;
        c->first_step = c->steps;
    }
    const bool worse = now->departs != kept->departs ? now->departs
                                                     : now->error * (kept->bound > 0 ? kept->bound : 1) >
                                                           kept->error * (now->bound > 0 ? now->bound : 1);
    if (!kept->compared || worse) {
        *kept = *now;
        (void)snprintf(kept->implementation[0], sizeof kept->implementation[0], "%s",
                       pair->op->implementation);
        (void)snprintf(kept->implementation[1], sizeof kept->implementation[1], "%s",
                       pair->other->implementation);
    }
}

/* Host memory for the plain results of a pair: those of the first device, of the other one, their scales. */
typedef struct results {
    void *got[DL_OP_MAX_SLOTS], *expected[DL_OP_MAX_SLOTS], *scale[DL_OP_MAX_SLOTS];
} results;

static dl_status make_results(const dl_pair *pair, results *r) {
    for (int i = 0; i < dl_op_info_of(pair->op->desc.kind)->n_slots; i++) {
        const size_t n_bytes = dl_tensor_plain_bytes(&pair->op->desc.slot[i]);
        if (!dl_pair_writes(pair, i)) {
            continue;
        }
        DL_RETURN_IF_ERROR(dl_alloc(n_bytes, 1, &r->got[i]));
        DL_RETURN_IF_ERROR(dl_alloc(n_bytes, 1, &r->expected[i]));
        if (pair->positive != NULL) {
            DL_RETURN_IF_ERROR(dl_alloc(n_bytes, 1, &r->scale[i]));
        }
    }
    return DL_OK;
}

static void free_results(results *r) {
    for (int i = 0; i < DL_OP_MAX_SLOTS; i++) {
        dl_free(&r->got[i]);
        dl_free(&r->expected[i]);
        dl_free(&r->scale[i]);
    }
}

/* The scales last: they take the inputs' place. */
static dl_status compute(dl_crosscheck *c, int at, int part, const results *r) {
    const dl_instruction *instruction = instruction_at(c, at);
    dl_pair *pair = &c->twin[at]->pair[part];
    const int n = dl_op_info_of(instruction->kind)->n_slots;
    for (int i = 0; i < n; i++) {
        if (r->got[i] != NULL) {
            DL_RETURN_IF_ERROR(dl_fetch_slot(c, pair, i, r->got[i]));
        }
    }
    DL_RETURN_IF_ERROR(dl_run_other(c, instruction, part, pair->other, pair->in, r->expected));
    if (pair->positive == NULL) {
        return DL_OK;
    }
    for (int i = 0; i < n; i++) {
        if (pair->in[i] != NULL) {
            dl_make_positive(&pair->op->desc, i, pair->in[i]);
        }
    }
    return dl_run_other(c, instruction, part, pair->positive, pair->in, r->scale);
}

static dl_status compare_pair(dl_crosscheck *c, int at, int part) {
    dl_pair *pair = &c->twin[at]->pair[part];
    results r = {0};
    dl_status status = make_results(pair, &r);
    if (status == DL_OK) {
        status = compute(c, at, part, &r);
    }
    for (int i = 0; i < DL_OP_MAX_SLOTS && status == DL_OK; i++) {
        dl_comparison now;
        if (r.got[i] != NULL) {
            status = dl_compare_slot(&pair->op->desc, i, r.got[i], r.expected[i], r.scale[i],
                                     c->product_roundoff, &now);
            keep_worst(c, at, pair, &now);
        }
    }
    free_results(&r);
    release_inputs(pair);
    return status;
}

static dl_status after(void *context, int at) {
    dl_crosscheck *c = context;
    for (int p = 0; c->twin[at] != NULL && p < c->twin[at]->n; p++) {
        if (c->twin[at]->pair[p].op != NULL) {
            DL_RETURN_IF_ERROR(compare_pair(c, at, p));
        }
    }
    return DL_OK;
}

/* --- the whole --- */

dl_status dl_crosscheck_create(dl_plan *plan, int program, dl_device *other, dl_perturbation perturbation,
                               dl_crosscheck **out) {
    dl_crosscheck *c = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *c, &c));
    *out = c;
    *c = (dl_crosscheck){
        .plan = plan, .number = program, .other = other, .perturbation = perturbation, .first = -1};
    const size_t n = (size_t)plan->program[program]->n_instructions;
    DL_RETURN_IF_ERROR(dl_alloc(n, sizeof *c->comparison, &c->comparison));
    return dl_alloc(n, sizeof(dl_twin *), &c->twin);
}

void dl_crosscheck_destroy(dl_crosscheck **crosscheck) {
    dl_crosscheck *c = *crosscheck;
    if (c == NULL) {
        return;
    }
    for (int i = 0; c->twin != NULL && i < c->plan->program[c->number]->n_instructions; i++) {
        destroy_twin(c, &c->twin[i]);
    }
    dl_free(&c->twin);
    dl_free(&c->comparison);
    dl_free(crosscheck);
}

dl_status dl_crosscheck_step(dl_crosscheck *crosscheck, const dl_host_batch *batch) {
    const dl_observer observer = {.context = crosscheck, .before = before, .after = after};
    crosscheck->steps++;
    return dl_execute_observed(crosscheck->plan, crosscheck->number, batch, &observer);
}
