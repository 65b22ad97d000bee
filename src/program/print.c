/* A program for a person to read. */
#include "program/plan.h"

#include <stdio.h>

const dl_op *dl_instruction_op(const dl_instruction *instruction) {
    return instruction->n_parts > 0 ? instruction->part[0].op : instruction->op;
}

const char *dl_instruction_name(const dl_instruction *instruction, char out[64]) {
    static const char *const activations[] = {"", "+relu", "+tanh", "+sigmoid"};
    switch (instruction->type) {
    case DL_DO_LOAD:
        (void)snprintf(out, 64, "load");
        break;
    case DL_DO_ALL_REDUCE:
        (void)snprintf(out, 64, "all_reduce");
        break;
    default: {
        const dl_op_info *info = dl_op_info_of(instruction->kind);
        (void)snprintf(out, 64, "%s%s", info->name, activations[instruction->attr.activation]);
    }
    }
    return out;
}

static dl_status append_numbers(const char *name, const int64_t *number, int n, dl_text *out) {
    DL_RETURN_IF_ERROR(dl_text_append(out, " %s", name));
    for (int i = 0; i < n; i++) {
        DL_RETURN_IF_ERROR(dl_text_append(out, "%s%lld", i == 0 ? " " : ",", (long long)number[i]));
    }
    return DL_OK;
}

dl_status dl_instruction_work(const dl_program *program, const dl_instruction *instruction, dl_text *out) {
    const dl_op_info *info = dl_op_info_of(instruction->kind);
    const dl_conv_attr *conv = &instruction->attr.u.conv;
    char name[64], shape[DL_SHAPE_TEXT_BYTES];
    DL_RETURN_IF_ERROR(dl_text_append(out, "%s", dl_instruction_name(instruction, name)));
    for (int s = 0; s < info->n_slots; s++) {
        if (instruction->slot[s] < 0) {
            continue;
        }
        const dl_tensor_desc *tensor = &program->slot[instruction->slot[s]].tensor;
        DL_RETURN_IF_ERROR(dl_text_append(
            out, " %s%s%s%s", info->slots[s].name, dl_shape_text(&tensor->shape, shape),
            tensor->dtype == DL_F32 ? "" : " ", tensor->dtype == DL_F32 ? "" : dl_dtype_name(tensor->dtype)));
    }
    if (!dl_op_is_convolution(instruction->kind)) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(append_numbers("stride", conv->stride, 2, out));
    DL_RETURN_IF_ERROR(append_numbers("padding", conv->padding, 4, out));
    return append_numbers("groups", &conv->groups, 1, out);
}

static dl_status print_slot(const dl_program *program, const char *role, int number, dl_text *out) {
    const dl_slot *slot = &program->slot[number];
    char shape[DL_SHAPE_TEXT_BYTES];
    return dl_text_append(out, " %s=%s%s%s%s%s", role, slot->name, dl_shape_text(&slot->tensor.shape, shape),
                          slot->tensor.layout == NULL ? "" : "<",
                          slot->tensor.layout == NULL ? "" : slot->tensor.layout->name,
                          slot->tensor.layout == NULL ? "" : ">");
}

static dl_status print_instruction(const dl_plan *plan, const dl_program *program, int at, dl_text *out) {
    const dl_instruction *instruction = &program->instruction[at];
    const dl_op *op = dl_instruction_op(instruction);
    char name[64];
    DL_RETURN_IF_ERROR(dl_text_append(out, "%4d %-7s %-8s %-34s", at, dl_lane_name(instruction->lane),
                                      dl_phase_name(instruction->phase),
                                      dl_instruction_name(instruction, name)));
    if (instruction->layer >= 0) {
        DL_RETURN_IF_ERROR(
            dl_text_append(out, " layer=%s", plan->options.model->layer[instruction->layer].name));
    }
    if (instruction->micro >= 0 && plan->options.accumulate > 1) {
        DL_RETURN_IF_ERROR(dl_text_append(out, " micro=%d", instruction->micro));
    }
    const bool operation = instruction->type == DL_DO_OPERATION;
    for (int s = 0; s < DL_OP_MAX_SLOTS; s++) {
        if (instruction->slot[s] >= 0) {
            const char *role = operation ? dl_op_info_of(instruction->kind)->slots[s].name : "buffer";
            DL_RETURN_IF_ERROR(print_slot(program, role, instruction->slot[s], out));
        }
    }
    if (op != NULL) {
        DL_RETURN_IF_ERROR(
            dl_text_append(out, " [%s%s]", op->implementation, instruction->n_parts > 0 ? ", pieces" : ""));
    }
    for (int w = 0; w < instruction->n_waits; w++) {
        DL_RETURN_IF_ERROR(dl_text_append(out, " waits=%d", instruction->waits[w]));
    }
    if (instruction->records >= 0) {
        DL_RETURN_IF_ERROR(dl_text_append(out, " records=%d", instruction->records));
    }
    return dl_text_append(out, "\n");
}

dl_status dl_program_print(const dl_plan *plan, const dl_program *program, dl_text *out) {
    DL_RETURN_IF_ERROR(dl_text_append(out, "program %s, %lld samples (%lld on this rank), %d instructions\n",
                                      dl_program_kind_name(program->kind), (long long)program->global_samples,
                                      (long long)program->local_samples, program->n_instructions));
    for (int i = 0; i < program->n_instructions; i++) {
        DL_RETURN_IF_ERROR(print_instruction(plan, program, i, out));
    }
    return DL_OK;
}
