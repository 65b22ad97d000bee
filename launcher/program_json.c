#include "launcher/program_json.h"

/* Bytes of each slot, the workspace among them. */
static json_t *json_of_slots(const dl_program *program, const dl_instruction *instruction) {
    const dl_op_info *info = instruction->type == DL_DO_OPERATION ? dl_op_info_of(instruction->kind) : NULL;
    json_t *memory = json_object();
    for (int s = 0; s <= DL_OP_MAX_SLOTS; s++) {
        if (instruction->slot[s] >= 0) {
            const char *name = s == DL_OP_MAX_SLOTS ? "workspace"
                               : info != NULL       ? info->slots[s].name
                                                    : "buffer";
            (void)json_object_set_new(memory, name,
                                      json_integer((json_int_t)program->slot[instruction->slot[s]].n_bytes));
        }
    }
    return memory;
}

static json_t *json_of_instruction(const dl_plan *plan, const dl_program *program, int at) {
    const dl_instruction *instruction = &program->instruction[at];
    const dl_op *op = dl_instruction_op(instruction);
    char name[64];
    json_t *object = json_pack("{s:s, s:s, s:s, s:o}", "name", dl_instruction_name(instruction, name), "lane",
                               dl_lane_name(instruction->lane), "phase", dl_phase_name(instruction->phase),
                               "memory", json_of_slots(program, instruction));
    if (instruction->layer >= 0) {
        (void)json_object_set_new(object, "layer",
                                  json_string(plan->options.model->layer[instruction->layer].name));
    }
    dl_text work = {0};
    if (instruction->type == DL_DO_OPERATION && dl_instruction_work(program, instruction, &work) == DL_OK) {
        (void)json_object_set_new(object, "work", json_string(work.data));
    }
    dl_text_free(&work);
    if (op != NULL) {
        (void)json_object_set_new(object, "implementation", json_string(op->implementation));
    }
    return object;
}

json_t *dl_programs_json(const dl_plan *plan) {
    json_t *programs = json_array();
    for (int p = 0; p < plan->n_programs; p++) {
        const dl_program *program = plan->program[p];
        json_t *list = json_array();
        for (int i = 0; i < program->n_instructions; i++) {
            (void)json_array_append_new(list, json_of_instruction(plan, program, i));
        }
        (void)json_array_append_new(
            programs, json_pack("{s:s, s:I, s:I, s:o}", "kind", dl_program_kind_name(program->kind),
                                "samples", (json_int_t)program->global_samples, "local_samples",
                                (json_int_t)program->local_samples, "instructions", list));
    }
    return programs;
}
