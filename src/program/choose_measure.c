/* Which layouts and algorithms are the fastest: measured on the device. */
#include "program/choose_parts.h"

#include "base/log.h"
#include "base/mem.h"
#include "kernels/common/half.h"

#include <string.h>

/* --- which instructions have a layout of their own --- */

int dl_choice_pass(const dl_instruction *instruction) {
    if (instruction->type != DL_DO_OPERATION) {
        return DL_PASS_PLAIN;
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
        return DL_PASS_POOLING;
    case DL_OP_ACTIVATION_FORWARD:
    case DL_OP_ACTIVATION_BACKWARD:
    case DL_OP_ADD:
    case DL_OP_BATCH_NORM_SUMS:
    case DL_OP_BATCH_NORM_FORWARD:
    case DL_OP_BATCH_NORM_BACKWARD_SUMS:
    case DL_OP_BATCH_NORM_BACKWARD_DATA:
        return DL_PASS_ELEMENTWISE;
    default:
        return DL_PASS_PLAIN;
    }
}

bool dl_is_free_image(const dl_program *program, const dl_instruction *instruction, int s) {
    const dl_slot_info *info = &dl_op_info_of(instruction->kind)->slots[s];
    const dl_slot *slot = instruction->slot[s] >= 0 ? &program->slot[instruction->slot[s]] : NULL;
    return slot != NULL && info->layout_free && info->batched && slot->tensor.shape.n_dims == 4 &&
           (slot->tensor.dtype == DL_F32 || dl_dtype_is_half(slot->tensor.dtype));
}

const dl_layout *dl_own_layout(dl_device *device, const dl_slot *slot) {
    const dl_layout *layouts[DL_MAX_LAYOUTS];
    return dl_device_layouts(device, slot->tensor.dtype, &slot->tensor.shape, layouts) > 0 ? layouts[0]
                                                                                           : NULL;
}

dl_op_desc dl_candidate_desc(const dl_compile *c, const dl_instruction *instruction, bool blocked) {
    dl_device *device = c->plan->options.device;
    const dl_op_info *info = dl_op_info_of(instruction->kind);
    dl_op_desc desc = dl_precise_desc(c, instruction);
    for (int s = 0; s < info->n_slots; s++) {
        if (!desc.slot[s].present) {
            continue;
        }
        if (dl_is_free_image(c->program, instruction, s)) {
            desc.slot[s].layout =
                blocked ? dl_own_layout(device, &c->program->slot[instruction->slot[s]]) : NULL;
        } else if (info->slots[s].layout_free || info->slots[s].saved) {
            desc.slot[s].layout = &dl_layout_any;
        }
    }
    return desc;
}

/* Does the device offer a layout for any of the instruction's images? */
static bool has_own_layout(const dl_compile *c, const dl_instruction *instruction) {
    for (int s = 0; s < dl_op_info_of(instruction->kind)->n_slots; s++) {
        if (dl_is_free_image(c->program, instruction, s) &&
            dl_own_layout(c->plan->options.device, &c->program->slot[instruction->slot[s]]) != NULL) {
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

/* What is measured already: layers of one shape are measured once, and take the same algorithm. */
typedef struct measured {
    dl_op_desc desc;
    bool direct;
    double seconds;
    int algorithm;
} measured;

typedef struct measurements {
    measured *done; /* room for all that may come */
    int n;
} measurements;

/* Two equal descriptions whose padding differs are measured twice, which only costs time. */
static dl_status measure_once(dl_device *device, measurements *all, const dl_op_desc *desc, bool direct,
                              const measured **out) {
    for (int i = 0; i < all->n; i++) {
        if (all->done[i].direct == direct && memcmp(&all->done[i].desc, desc, sizeof *desc) == 0) {
            *out = &all->done[i];
            return DL_OK;
        }
    }
    measured *next = &all->done[all->n];
    *next = (measured){.direct = direct};
    memcpy(&next->desc, desc, sizeof *desc);
    DL_RETURN_IF_ERROR(dl_measure_operation(device, desc, direct, &next->seconds, &next->algorithm));
    all->n++;
    *out = next;
    return DL_OK;
}

/* Adds the time of an instruction to its layer's sums, plain and blocked, and keeps the fastest algorithms.
 * Poolings cost much the same in both. */
static dl_status measure_instruction(const dl_compile *c, const dl_instruction *instruction,
                                     measurements *all, double seconds[2]) {
    const int pass = dl_choice_pass(instruction);
    if (pass < 0 || pass >= DL_N_CHOICE_KINDS || instruction->layer < 0) {
        return DL_OK;
    }
    dl_layer_choice *choice = &c->plan->choices->layer[instruction->layer];
    const measured *found = NULL;
    for (int blocked = 0; blocked < 2; blocked++) {
        if (!blocked || has_own_layout(c, instruction)) { /* else the same again */
            const dl_op_desc desc = dl_candidate_desc(c, instruction, blocked);
            DL_RETURN_IF_ERROR(
                measure_once(c->plan->options.device, all, &desc, stays_direct(c, instruction), &found));
        }
        choice->algorithm[blocked][pass] = (int8_t)found->algorithm;
        seconds[blocked] += found->seconds;
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
        const dl_layout *layout = dl_own_layout(c->plan->options.device, &program->slot[source]);
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

static dl_status measure_instructions(const dl_compile *c, double seconds[2]) {
    measurements all = {0};
    DL_RETURN_IF_ERROR(dl_alloc((size_t)c->program->n_instructions * 2, sizeof *all.done, &all.done));
    dl_status status = DL_OK;
    for (int i = 0; i < c->program->n_instructions && status == DL_OK; i++) {
        if (c->program->instruction[i].micro <= 0) {
            status = measure_instruction(c, &c->program->instruction[i], &all, seconds);
        }
    }
    DL_DEBUG("%d operations were measured", all.n);
    dl_free(&all.done);
    return status;
}

dl_status dl_measure_program(const dl_compile *c) {
    double seconds[2] = {0.0, 0.0};
    DL_RETURN_IF_ERROR(measure_instructions(c, seconds));
    DL_RETURN_IF_ERROR(measure_borders(c, &seconds[1]));
    DL_DEBUG("convolutions: %.3f ms plain, %.3f ms in the device's layout", 1e3 * seconds[0],
             1e3 * seconds[1]);
    for (int layer = 0; layer < c->plan->choices->n_layers; layer++) {
        c->plan->choices->layer[layer].blocked = seconds[1] < seconds[0];
    }
    return DL_OK;
}
