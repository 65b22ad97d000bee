/* Growing a program: slots, views, instructions. */
#include "program/compile.h"

#include <string.h>

static const char *const storage_names[] = {
#define DL_STORAGE_NAME(name, text) [name] = text,
    DL_STORAGE_LIST(DL_STORAGE_NAME)
#undef DL_STORAGE_NAME
};

const char *dl_storage_name(dl_storage storage) {
    return storage_names[storage];
}

const char *dl_program_kind_name(dl_program_kind kind) {
    static const char *const names[] = {"training", "evaluation", "refresh"};
    return names[kind];
}

const char *dl_phase_name(dl_phase phase) {
    static const char *const names[] = {"load", "forward", "backward", "reduce", "update", "pack"};
    return names[phase];
}

const char *dl_lane_name(dl_lane lane) {
    static const char *const names[] = {"compute", "comm", "copy"};
    return names[lane];
}

dl_status dl_program_create(dl_program_kind kind, dl_program **out) {
    dl_program *program = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *program, &program));
    program->kind = kind;
    program->totals = program->control = program->step = -1;
    program->moments = program->norm = program->result = program->loss_scale = -1;
    const dl_status status = dl_pool_create(&program->pool);
    if (status != DL_OK) {
        dl_free(&program);
        return status;
    }
    *out = program;
    return DL_OK;
}

void dl_program_destroy(dl_program **program) {
    if (*program == NULL) {
        return;
    }
    for (int i = 0; i < (*program)->n_instructions; i++) {
        dl_instruction *instruction = &(*program)->instruction[i];
        dl_op_destroy(&instruction->op);
        for (int p = 0; p < instruction->n_parts; p++) {
            dl_op_destroy(&instruction->part[p].op);
        }
    }
    dl_free(&(*program)->slot);
    dl_free(&(*program)->instruction);
    dl_free(&(*program)->pointer);
    dl_pool_destroy(&(*program)->pool);
    dl_free(program);
}

dl_status dl_add_slot(dl_program *program, const char *name, int layer, int micro, dl_storage storage,
                      dl_dtype dtype, const dl_shape *shape, int *slot) {
    char text[DL_SHAPE_TEXT_BYTES];
    DL_RETURN_ERROR_IF(
        dl_shape_check(shape) != DL_OK, DL_ERR_USAGE,
        "'%s' of a batch has shape %s, more than 2^48 numbers; make the batch or the sample smaller", name,
        dl_shape_text(shape, text));
    DL_RETURN_IF_ERROR(
        dl_grow(&program->slot, &program->capacity_slots, program->n_slots + 1, sizeof *program->slot));
    dl_slot *made = &program->slot[program->n_slots];
    *made = (dl_slot){.name = name,
                      .layer = layer,
                      .micro = micro,
                      .storage = storage,
                      .tensor = {.present = true, .dtype = dtype, .shape = *shape},
                      .view_of = -1,
                      .parameter = -1,
                      .exchange = -1,
                      .first = -1,
                      .last = -1};
    made->n_bytes = dl_tensor_plain_bytes(&made->tensor);
    *slot = program->n_slots++;
    return DL_OK;
}

dl_status dl_add_view(dl_program *program, const char *name, int of, size_t offset, dl_dtype dtype,
                      const dl_shape *shape, int *slot) {
    const dl_slot source = program->slot[of];
    DL_RETURN_IF_ERROR(
        dl_add_slot(program, name, source.layer, source.micro, source.storage, dtype, shape, slot));
    dl_slot *view = &program->slot[*slot];
    view->view_of = of;
    view->view_offset = offset;
    DL_RETURN_ERROR_IF(offset + view->n_bytes > source.n_bytes, DL_ERR_INTERNAL,
                       "view '%s' reaches beyond '%s'", name, source.name);
    return DL_OK;
}

dl_status dl_add_instruction(dl_program *program, const dl_instruction *instruction) {
    DL_RETURN_IF_ERROR(dl_grow(&program->instruction, &program->capacity_instructions,
                               program->n_instructions + 1, sizeof *program->instruction));
    program->instruction[program->n_instructions++] = *instruction;
    return DL_OK;
}

dl_status dl_add_operation(dl_program *program, dl_op_kind kind, const dl_op_attr *attr, dl_phase phase,
                           int layer, int micro, const int *slots, int n_slots, dl_instruction **out) {
    dl_instruction instruction = {.type = DL_DO_OPERATION,
                                  .kind = kind,
                                  .attr = *attr,
                                  .collective = -1,
                                  .lane = DL_LANE_COMPUTE,
                                  .phase = phase,
                                  .micro = micro,
                                  .layer = layer,
                                  .forward = -1,
                                  .records = -1};
    for (int i = 0; i <= DL_OP_MAX_SLOTS; i++) {
        instruction.slot[i] = i < n_slots ? slots[i] : -1;
    }
    DL_RETURN_IF_ERROR(dl_add_instruction(program, &instruction));
    if (out != NULL) {
        *out = &program->instruction[program->n_instructions - 1];
    }
    return DL_OK;
}

int dl_root_slot(const dl_program *program, int slot) {
    while (program->slot[slot].view_of >= 0) {
        slot = program->slot[slot].view_of;
    }
    return slot;
}

dl_op_desc dl_instruction_desc(const dl_program *program, const dl_instruction *instruction) {
    dl_op_desc desc = {
        .kind = instruction->kind, .attr = instruction->attr, .algorithm = instruction->algorithm};
    for (int i = 0; i < dl_op_info_of(instruction->kind)->n_slots; i++) {
        if (instruction->slot[i] >= 0) {
            desc.slot[i] = program->slot[instruction->slot[i]].tensor;
        }
    }
    return desc;
}

dl_status dl_drop_dead_instructions(dl_program *program) {
    int n = 0;
    int *moved = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)program->n_instructions, sizeof *moved, &moved));
    for (int i = 0; i < program->n_instructions; i++) {
        moved[i] = n;
        if (program->instruction[i].type != DL_DO_NOTHING) {
            program->instruction[n++] = program->instruction[i];
        }
    }
    program->n_instructions = n;
    for (int i = 0; i < n; i++) {
        if (program->instruction[i].forward >= 0) {
            program->instruction[i].forward = moved[program->instruction[i].forward];
        }
    }
    dl_free(&moved);
    return DL_OK;
}
