#define _GNU_SOURCE
#include "program/choose.h"

#include "base/log.h"
#include "kernels/common/half.h"
#include "program/choice_cache.h"
#include "program/compile.h"

#include <limits.h>

void dl_choices_destroy(dl_choices **choices) {
    if (*choices != NULL) {
        dl_free(&(*choices)->layer);
        dl_free(choices);
    }
}

/* --- which instructions have a layout of their own --- */

/* 0..2 for the passes of convolutions, 3 for poolings, 4 for element by element, -1: plain slots only. */
enum { PASS_POOLING = DL_N_CHOICE_KINDS, PASS_ELEMENTWISE, PASS_PLAIN = -1 };

static int pass_of(const dl_instruction *instruction) {
    if (instruction->type != DL_DO_OPERATION) {
        return PASS_PLAIN;
    }
    switch (instruction->kind) {
    case DL_OP_CONV2D_FORWARD:
        return 0;
    case DL_OP_CONV2D_BACKWARD_DATA:
        return 1;
    case DL_OP_CONV2D_BACKWARD_WEIGHTS:
        return 2;
    case DL_OP_MAX_POOLING2D_FORWARD:
    case DL_OP_MAX_POOLING2D_BACKWARD:
    case DL_OP_AVERAGE_POOLING2D_FORWARD:
    case DL_OP_AVERAGE_POOLING2D_BACKWARD:
        return PASS_POOLING;
    case DL_OP_ACTIVATION_FORWARD:
    case DL_OP_ACTIVATION_BACKWARD:
    case DL_OP_ADD:
    case DL_OP_BATCH_NORM_SUMS:
    case DL_OP_BATCH_NORM_FORWARD:
    case DL_OP_BATCH_NORM_BACKWARD_SUMS:
    case DL_OP_BATCH_NORM_BACKWARD_DATA:
        return PASS_ELEMENTWISE;
    default:
        return PASS_PLAIN;
    }
}

/* Is this slot an image whose layout the instruction leaves free? */
static bool is_free_image(const dl_program *program, const dl_instruction *instruction, int s) {
    const dl_slot_info *info = &dl_op_info_of(instruction->kind)->slots[s];
    const dl_slot *slot = instruction->slot[s] >= 0 ? &program->slot[instruction->slot[s]] : NULL;
    return slot != NULL && info->layout_free && info->batched && slot->tensor.shape.n_dims == 4 &&
           (slot->tensor.dtype == DL_F32 || dl_dtype_is_half(slot->tensor.dtype));
}

/* The device's own layout for a slot's shape; NULL when it offers none. */
static const dl_layout *own_layout(dl_device *device, const dl_slot *slot) {
    const dl_layout *layouts[DL_MAX_LAYOUTS];
    return dl_device_layouts(device, slot->tensor.dtype, &slot->tensor.shape, layouts) > 0 ? layouts[0]
                                                                                           : NULL;
}

/* --- measuring --- */

static dl_op_desc candidate_desc(const dl_compile *c, const dl_instruction *instruction, bool blocked) {
    dl_device *device = c->plan->options.device;
    const dl_op_info *info = dl_op_info_of(instruction->kind);
    dl_op_desc desc = dl_precise_desc(c, instruction);
    for (int s = 0; s < info->n_slots; s++) {
        if (!desc.slot[s].present) {
            continue;
        }
        if (is_free_image(c->program, instruction, s)) {
            desc.slot[s].layout =
                blocked ? own_layout(device, &c->program->slot[instruction->slot[s]]) : NULL;
        } else if (info->slots[s].layout_free || info->slots[s].saved) {
            desc.slot[s].layout = &dl_layout_any;
        }
    }
    return desc;
}

/* Does the device offer a layout for any of the instruction's images? */
static bool has_own_layout(const dl_compile *c, const dl_instruction *instruction) {
    for (int s = 0; s < dl_op_info_of(instruction->kind)->n_slots; s++) {
        if (is_free_image(c->program, instruction, s) &&
            own_layout(c->plan->options.device, &c->program->slot[instruction->slot[s]]) != NULL) {
            return true;
        }
    }
    return false;
}

/* Do batch normalizations alone read this slot? */
static bool is_normalized(const dl_program *program, int slot) {
    int n = 0;
    for (int i = 0; i < program->n_instructions; i++) {
        const dl_instruction *reader = &program->instruction[i];
        for (int s = 0; s < DL_OP_MAX_SLOTS && reader->type == DL_DO_OPERATION; s++) {
            if (reader->slot[s] != slot || dl_op_info_of(reader->kind)->slots[s].role != DL_SLOT_IN) {
                continue;
            }
            switch (reader->kind) {
            case DL_OP_BATCH_NORM_SUMS:
            case DL_OP_BATCH_NORM_FORWARD:
            case DL_OP_BATCH_NORM_BACKWARD_SUMS:
            case DL_OP_BATCH_NORM_BACKWARD_DATA:
                n++;
                break;
            default:
                return false;
            }
        }
    }
    return n > 0;
}

/* Forward convolutions stay direct, unless they are normalized. A transform (Winograd) leaves rounding noise
 * where a patch of zeros must give exactly the bias: relu and max pooling, which look at the sign and at
 * ties, then let gradients through on the background of an image, and the same batch in other pieces trains
 * another network. Batch normalization moves the background away from zero. Gradients have no such kinks. */
static bool stays_direct(const dl_compile *c, const dl_instruction *instruction) {
    const int y = dl_op_slot(dl_op_info_of(instruction->kind), "y");
    return instruction->kind == DL_OP_CONV2D_FORWARD && !is_normalized(c->program, instruction->slot[y]);
}

/* Adds the time of an instruction to its layer's sums, plain and blocked, and keeps the fastest algorithms.
 * Poolings cost much the same in both. */
static dl_status measure_instruction(const dl_compile *c, const dl_instruction *instruction,
                                     double seconds[2]) {
    const int pass = pass_of(instruction);
    if (pass < 0 || pass >= DL_N_CHOICE_KINDS || instruction->layer < 0) {
        return DL_OK;
    }
    dl_layer_choice *choice = &c->plan->choices->layer[instruction->layer];
    double taken = 0.0;
    for (int blocked = 0; blocked < 2; blocked++) {
        const dl_op_desc desc = candidate_desc(c, instruction, blocked);
        int algorithm = choice->algorithm[0][pass];
        if (blocked && !has_own_layout(c, instruction)) { /* the same again */
            choice->algorithm[1][pass] = (int8_t)algorithm;
            seconds[1] += taken;
            continue;
        }
        DL_RETURN_IF_ERROR(dl_measure_operation(c->plan->options.device, &desc, stays_direct(c, instruction),
                                                &taken, &algorithm));
        choice->algorithm[blocked][pass] = (int8_t)algorithm;
        seconds[blocked] += taken;
    }
    return DL_OK;
}

/* Time of the reorders that a blocked chain needs at its ends: where its images are plain on the other side.
 */
static dl_status measure_borders(const dl_compile *c, double *seconds) {
    const dl_program *program = c->program;
    for (int s = 0; s < program->n_slots; s++) {
        const int source = program->slot[s].view_of;
        if (source < 0 || program->slot[source].tensor.shape.n_dims != 4 || program->slot[s].micro > 0) {
            continue;
        }
        const dl_layout *layout = own_layout(c->plan->options.device, &program->slot[source]);
        if (layout == NULL) {
            continue;
        }
        dl_op_desc desc = {.kind = DL_OP_REORDER};
        desc.slot[0] = desc.slot[1] = program->slot[source].tensor;
        desc.slot[0].layout = layout;
        double taken = 0.0;
        int ignored = 0;
        DL_RETURN_IF_ERROR(dl_measure_operation(c->plan->options.device, &desc, true, &taken, &ignored));
        *seconds += 2.0 * taken; /* there, and back for the gradient */
    }
    return DL_OK;
}

static dl_status measure_program(const dl_compile *c) {
    double seconds[2] = {0.0, 0.0};
    for (int i = 0; i < c->program->n_instructions; i++) {
        if (c->program->instruction[i].micro <= 0) {
            DL_RETURN_IF_ERROR(measure_instruction(c, &c->program->instruction[i], seconds));
        }
    }
    DL_RETURN_IF_ERROR(measure_borders(c, &seconds[1]));
    DL_DEBUG("convolutions: %.3f ms plain, %.3f ms in the device's layout", 1e3 * seconds[0],
             1e3 * seconds[1]);
    for (int layer = 0; layer < c->plan->choices->n_layers; layer++) {
        c->plan->choices->layer[layer].blocked = seconds[1] < seconds[0];
    }
    return DL_OK;
}

/* Takes the choices of the run that goes on, or of an earlier one, or measures and keeps them. */
static dl_status find_choices(const dl_compile *c) {
    char key[DL_DIGEST_TEXT_BYTES], path[PATH_MAX];
    dl_choices *choices = c->plan->choices;
    DL_RETURN_IF_ERROR(dl_choice_key(c->plan, c->program, key));
    dl_choice_cache_path(key, path, sizeof path);
    if (dl_choice_parse(c->plan->options.choices, key, choices)) {
        DL_DEBUG("layouts and algorithms as in the checkpoint");
    } else if (dl_choice_cache_read(path, choices)) {
        DL_DEBUG("layouts and algorithms as measured before: %s", path);
    } else {
        DL_RETURN_IF_ERROR(measure_program(c));
        dl_choice_cache_write(path, choices);
    }
    return dl_choice_print(c->plan->pool, key, choices);
}

const char *dl_plan_choices(const dl_plan *plan) {
    return plan->choices == NULL ? NULL : plan->choices->text;
}

/* What measurement mostly finds: the device's layout, and its last algorithm (the one with the larger
 * workspace). */
static void guess(dl_choices *choices) {
    for (int layer = 0; layer < choices->n_layers; layer++) {
        choices->layer[layer].blocked = 1;
        for (int pass = 1; pass < DL_N_CHOICE_KINDS; pass++) { /* the forward pass mostly stays direct */
            choices->layer[layer].algorithm[1][pass] = 1;
        }
    }
}

/* Rank 0 finds them, all follow. A dry plan takes what an earlier run measured, else it guesses. */
static dl_status make_choices(const dl_compile *c) {
    dl_plan *plan = c->plan;
    const size_t n_layers = (size_t)c->model->n_layers;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *plan->choices, &plan->choices));
    DL_RETURN_IF_ERROR(dl_alloc(n_layers, sizeof *plan->choices->layer, &plan->choices->layer));
    plan->choices->n_layers = c->model->n_layers;
    plan->choices->made = plan->options.measure;
    if (!plan->options.measure) {
        return DL_OK;
    }
    if (plan->options.grid == NULL) {
        char key[DL_DIGEST_TEXT_BYTES], path[PATH_MAX];
        DL_RETURN_IF_ERROR(dl_choice_key(plan, c->program, key));
        dl_choice_cache_path(key, path, sizeof path);
        if (!dl_choice_cache_read(path, plan->choices)) {
            guess(plan->choices);
        }
        return DL_OK;
    }
    dl_comm *comm = plan->options.grid->world;
    const dl_status status = comm->rank == 0 ? find_choices(c) : DL_OK;
    DL_RETURN_IF_ERROR(dl_comm_agree(comm, status, NULL));
    return comm->functions->broadcast(comm, plan->choices->layer, n_layers * sizeof *plan->choices->layer, 0);
}

/* --- applying --- */

/* The list while layouts are being put in: for each slot, its twin in another layout, -1: none yet. */
typedef struct rewriter {
    dl_compile *c;
    int *twin;
    int64_t capacity;
} rewriter;

/* The slot that holds the value of `slot` in `layout`: itself, or a reordered twin made here. */
static dl_status slot_in_layout(rewriter *r, int slot, const dl_layout *layout, const dl_instruction *reader,
                                int *out) {
    dl_program *program = r->c->program;
    *out = slot;
    if (program->slot[slot].tensor.layout == layout) {
        return DL_OK;
    }
    if (slot < r->capacity && r->twin[slot] >= 0 && program->slot[r->twin[slot]].tensor.layout == layout) {
        *out = r->twin[slot];
        return DL_OK;
    }
    const dl_slot source = program->slot[slot];
    DL_RETURN_IF_ERROR(dl_add_slot(program, source.name, source.layer, source.micro, DL_STORE_ACTIVATION,
                                   source.tensor.dtype, &source.tensor.shape, out));
    program->slot[*out].tensor.layout = layout;
    if (layout != NULL) {
        program->slot[*out].n_bytes = layout->n_bytes;
    }
    if (slot < r->capacity) {
        r->twin[slot] = *out;
    }
    const int slots[] = {slot, *out};
    return dl_add_operation(program, DL_OP_REORDER, &(dl_op_attr){0}, reader->phase, reader->layer,
                            reader->micro, slots, 2, NULL);
}

/* The slot to read for `slot` when plain bytes are wanted: views look through to a plain twin of what they
 * view. */
static dl_status plain_slot(rewriter *r, int slot, const dl_instruction *reader, int *out) {
    dl_program *program = r->c->program;
    const int source = program->slot[slot].view_of;
    if (source < 0) {
        return slot_in_layout(r, slot, NULL, reader, out);
    }
    int plain = -1;
    DL_RETURN_IF_ERROR(plain_slot(r, source, reader, &plain));
    program->slot[slot].view_of = plain;
    *out = slot;
    return DL_OK;
}

/* What works element by element takes the layout its inputs come in: gradients pass through in theirs. Where
 * one comes plain and another not, as at the sum behind a shortcut that was padded, the plain one is
 * reordered: else all that follows would be plain, with a reorder before each convolution. */
static const dl_layout *inputs_layout(const dl_program *program, const dl_instruction *instruction) {
    const dl_op_info *info = dl_op_info_of(instruction->kind);
    const dl_layout *found = NULL;
    for (int i = 0; i < info->n_slots; i++) {
        if (info->slots[i].role == DL_SLOT_IN && is_free_image(program, instruction, i)) {
            const dl_layout *layout = program->slot[instruction->slot[i]].tensor.layout;
            found = layout != NULL ? layout : found;
        }
    }
    return found;
}

/* Layout in which an instruction wants its slot s. */
static const dl_layout *wanted_layout(const rewriter *r, const dl_instruction *instruction, int s) {
    const dl_program *program = r->c->program;
    const int pass = pass_of(instruction);
    if (!is_free_image(program, instruction, s) || instruction->layer < 0) {
        return NULL;
    }
    if (pass == PASS_ELEMENTWISE) {
        return inputs_layout(program, instruction);
    }
    const bool blocked = r->c->plan->choices->layer[instruction->layer].blocked;
    return blocked ? own_layout(r->c->plan->options.device, &program->slot[instruction->slot[s]]) : NULL;
}

static void set_layout(dl_slot *slot, const dl_layout *layout) {
    slot->tensor.layout = layout;
    if (layout != NULL) {
        slot->n_bytes = layout->n_bytes;
    }
}

static dl_status rewrite(rewriter *r, dl_instruction instruction) {
    dl_program *program = r->c->program;
    if (instruction.type != DL_DO_OPERATION) {
        return dl_add_instruction(program, &instruction);
    }
    const dl_op_info *info = dl_op_info_of(instruction.kind);
    const int pass = pass_of(&instruction);
    const dl_layout *wanted[DL_OP_MAX_SLOTS] = {0};
    for (int s = 0; s < info->n_slots; s++) {
        wanted[s] = instruction.slot[s] >= 0 && pass >= 0 ? wanted_layout(r, &instruction, s) : NULL;
    }
    for (int s = 0; s < info->n_slots; s++) {
        if (instruction.slot[s] < 0 || program->slot[instruction.slot[s]].storage != DL_STORE_ACTIVATION) {
            continue;
        }
        if (info->slots[s].role != DL_SLOT_IN) {
            set_layout(&program->slot[instruction.slot[s]], wanted[s]);
        } else if (info->slots[s].saved) {
            continue;
        } else if (wanted[s] == NULL) {
            DL_RETURN_IF_ERROR(plain_slot(r, instruction.slot[s], &instruction, &instruction.slot[s]));
        } else {
            DL_RETURN_IF_ERROR(
                slot_in_layout(r, instruction.slot[s], wanted[s], &instruction, &instruction.slot[s]));
        }
    }
    if (pass >= 0 && pass < DL_N_CHOICE_KINDS && instruction.layer >= 0) {
        const dl_layer_choice *choice = &r->c->plan->choices->layer[instruction.layer];
        const dl_op_desc desc = dl_precise_desc(r->c, &instruction);
        instruction.algorithm = choice->algorithm[choice->blocked][pass];
        if (instruction.algorithm < 0 ||
            instruction.algorithm >= dl_device_n_algorithms(r->c->plan->options.device, &desc)) {
            instruction.algorithm = 0; /* not offered for this number of samples */
        }
    }
    return dl_add_instruction(program, &instruction);
}

static dl_status apply(dl_compile *c) {
    dl_program *program = c->program;
    dl_instruction *before = program->instruction;
    const int n = program->n_instructions;
    int *moved = NULL;
    rewriter r = {.c = c, .capacity = program->n_slots};
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n, sizeof *moved, &moved));
    dl_status status = dl_alloc((size_t)program->n_slots, sizeof *r.twin, &r.twin);
    for (int s = 0; s < program->n_slots && status == DL_OK; s++) {
        r.twin[s] = -1;
    }
    program->instruction = NULL;
    program->n_instructions = 0;
    program->capacity_instructions = 0;
    for (int i = 0; i < n && status == DL_OK; i++) {
        before[i].forward = before[i].forward >= 0 ? moved[before[i].forward] : -1;
        status = rewrite(&r, before[i]);
        moved[i] = program->n_instructions - 1;
    }
    dl_free(&before);
    dl_free(&moved);
    dl_free(&r.twin);
    return status;
}

dl_status dl_choose_layouts(dl_compile *c) {
    if (c->program->kind != DL_PROGRAM_TRAIN) {
        return DL_OK;
    }
    if (c->plan->choices == NULL) {
        DL_RETURN_IF_ERROR(make_choices(c));
    }
    return c->plan->choices->made ? apply(c) : DL_OK;
}
