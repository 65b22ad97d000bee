/* The checker: it walks the list and keeps, for every byte, who wrote it last, as which value, and who read
 * it since. */
#include "program/verify.h"

#include <string.h>

/* --- reading --- */

static bool keeps_over_steps(dl_storage storage) {
    return storage == DL_STORE_PARAMETER || storage == DL_STORE_FROZEN || storage == DL_STORE_OPTIMIZER ||
           storage == DL_STORE_STATE || storage == DL_STORE_STATISTICS || storage == DL_STORE_COPY;
}

/* Storages whose slots are ranges of arenas: several slots name one byte, and the place is the meaning. */
static bool is_arena(dl_storage storage) {
    return keeps_over_steps(storage) || storage == DL_STORE_GRADIENT;
}

/* The gaps between tensors of the gradient arena are nobody's and stay zero. */
static bool is_gap(const dl_verifier *v, const dl_extent *extent) {
    const dl_program *program = v->program;
    for (int s = 0; s < program->n_slots; s++) {
        if (program->slot[s].storage == DL_STORE_GRADIENT && program->slot[s].parameter >= 0 &&
            v->location[s].begin < extent->end && extent->begin < v->location[s].end) {
            return false;
        }
    }
    return extent->end - extent->begin < DL_PARAMETER_ALIGN * sizeof(float);
}

/* Values that live from step to step are read old before the update, new after it. */
static dl_status check_age(const dl_verifier *v, int at, const dl_touch *touch, const dl_extent *extent) {
    const dl_program *program = v->program;
    const dl_instruction *instruction = &program->instruction[at];
    const bool written = extent->writer >= 0;
    if (written && instruction->phase < DL_PHASE_UPDATE) {
        return dl_verify_fault(program, at, touch->slot, "was written by instruction %d already",
                               extent->writer);
    }
    if (!written && instruction->phase == DL_PHASE_PACK && program->kind == DL_PROGRAM_TRAIN) {
        return dl_verify_fault(program, at, touch->slot, "has not been updated yet");
    }
    return DL_OK;
}

/* A part of a sum over the tensor axis is used after the sum. */
static dl_status check_partial(const dl_verifier *v, int at, const dl_touch *touch, const dl_extent *extent) {
    const dl_program *program = v->program;
    if (program->slot[v->location[touch->slot].value].partial &&
        program->instruction[at].type != DL_DO_ALL_REDUCE &&
        program->instruction[extent->writer].type != DL_DO_ALL_REDUCE) {
        return dl_verify_fault(program, at, touch->slot,
                               "holds this rank's part of a sum over the tensor axis: no exchange after "
                               "instruction %d wrote it",
                               extent->writer);
    }
    return DL_OK;
}

/* What is summed over ranks is used after the sum. */
static dl_status check_reduced(const dl_verifier *v, int at, const dl_touch *touch, const dl_extent *extent) {
    const dl_instruction *instruction = &v->program->instruction[at];
    const bool amid = v->program->slot[touch->slot].storage == DL_STORE_EXCHANGE;
    if ((instruction->phase != DL_PHASE_UPDATE && !amid) || touch->writes || extent->writer < 0 ||
        !v->reduced[v->program->slot[touch->slot].storage]) {
        return DL_OK;
    }
    const dl_instruction_type type = v->program->instruction[extent->writer].type;
    if (type == DL_DO_OPERATION) {
        return dl_verify_fault(v->program, at, touch->slot,
                               "holds this rank's part only: no exchange after instruction %d wrote it",
                               extent->writer);
    }
    return DL_OK;
}

static dl_status check_read(const dl_verifier *v, int at, const dl_touch *touch, const dl_extent *extent) {
    const dl_program *program = v->program;
    const dl_storage storage = program->slot[touch->slot].storage;
    char name[64];
    DL_RETURN_IF_ERROR(dl_verify_order(v, at, touch->slot, extent->writer));
    if (keeps_over_steps(storage)) {
        return check_age(v, at, touch, extent);
    }
    if (extent->writer < 0) {
        if ((storage == DL_STORE_GRADIENT && is_gap(v, extent)) ||
            (program->instruction[at].kind == DL_OP_BEGIN_CONTROL && touch->writes)) { /* the run before */
            return DL_OK;
        }
        return dl_verify_fault(program, at, touch->slot,
                               "reads bytes %zu..%zu of %s, which nobody has written", extent->begin,
                               extent->end, dl_storage_name(storage));
    }
    if (!is_arena(storage) && extent->value != v->location[touch->slot].value) {
        return dl_verify_fault(program, at, touch->slot,
                               "reads bytes %zu..%zu of %s, where instruction %d (%s) has written '%s'",
                               extent->begin, extent->end, dl_storage_name(storage), extent->writer,
                               dl_instruction_name(&program->instruction[extent->writer], name),
                               extent->value < 0 ? "workspace" : program->slot[extent->value].name);
    }
    DL_RETURN_IF_ERROR(check_partial(v, at, touch, extent));
    return check_reduced(v, at, touch, extent);
}

/* Does this instruction use up gradients: exchange them, or move parameters by them? */
static bool uses_gradients(const dl_program *program, const dl_instruction *instruction) {
    if (instruction->type == DL_DO_ALL_REDUCE) {
        return true;
    }
    for (int s = 0; s < DL_OP_MAX_SLOTS; s++) {
        if (instruction->slot[s] >= 0 && program->slot[instruction->slot[s]].storage == DL_STORE_PARAMETER &&
            dl_op_info_of(instruction->kind)->slots[s].role != DL_SLOT_IN) {
            return true;
        }
    }
    return false;
}

static dl_status read_bytes(dl_verifier *v, int at, const dl_touch *touch) {
    const dl_instruction *instruction = &v->program->instruction[at];
    dl_extents *extents = &v->extents[v->program->slot[touch->slot].storage];
    const bool uses = instruction->type != DL_DO_LOAD && uses_gradients(v->program, instruction);
    int first = 0, n = 0;
    DL_RETURN_IF_ERROR(dl_extents_find(extents, touch->begin, touch->end, &first, &n));
    for (int i = first; i < first + n; i++) {
        DL_RETURN_IF_ERROR(check_read(v, at, touch, &extents->extent[i]));
        extents->extent[i].reader[instruction->lane] = at;
        if (uses) {
            extents->extent[i].pending = false;
        }
    }
    return DL_OK;
}

/* --- writing --- */

/* Each storage has its writers. */
static bool may_write(const dl_program *program, const dl_instruction *instruction, dl_storage storage,
                      int slot) {
    const bool operation = instruction->type == DL_DO_OPERATION;
    switch (storage) {
    case DL_STORE_PARAMETER:
    case DL_STORE_OPTIMIZER:
        return operation && instruction->phase == DL_PHASE_UPDATE;
    case DL_STORE_FROZEN:
        return false;
    case DL_STORE_STATE:
        return operation && instruction->phase == DL_PHASE_UPDATE &&
               (instruction->kind == DL_OP_COMMIT || instruction->kind == DL_OP_COMMIT_LOSS_SCALE);
    case DL_STORE_STATISTICS:
        return operation && instruction->kind == DL_OP_BATCH_NORM_COMMIT &&
               instruction->phase == DL_PHASE_UPDATE;
    case DL_STORE_EXCHANGE:
        return instruction->type != DL_DO_LOAD;
    case DL_STORE_COPY:
        return operation && instruction->kind == DL_OP_PACK;
    case DL_STORE_INPUT:
        return instruction->type == DL_DO_LOAD;
    case DL_STORE_CONTROL:
        return (instruction->type == DL_DO_LOAD) == (slot == program->step);
    case DL_STORE_GRADIENT:
        return instruction->type != DL_DO_LOAD;
    case DL_STORE_ACTIVATION:
        return operation || (instruction->type == DL_DO_ALL_REDUCE && instruction->axis == DL_AXIS_TENSOR);
    case DL_STORE_RESULT:
        return operation;
    case DL_STORE_WORKSPACE:
    case DL_N_STORAGES:
        break;
    }
    return operation;
}

static dl_status check_write(const dl_verifier *v, int at, const dl_touch *touch, const dl_extent *extent) {
    DL_RETURN_IF_ERROR(dl_verify_order(v, at, touch->slot, extent->writer));
    for (int lane = 0; lane < DL_N_LANES; lane++) {
        DL_RETURN_IF_ERROR(dl_verify_order(v, at, touch->slot, extent->reader[lane]));
    }
    if (extent->pending && !touch->reads) {
        return dl_verify_fault(v->program, at, touch->slot,
                               "overwrites what instruction %d added to the gradients", extent->writer);
    }
    return DL_OK;
}

static dl_status write_bytes(dl_verifier *v, int at, const dl_touch *touch) {
    const dl_program *program = v->program;
    const dl_instruction *instruction = &program->instruction[at];
    const dl_storage storage = program->slot[touch->slot].storage;
    dl_extents *extents = &v->extents[storage];
    int first = 0, n = 0;
    if (!may_write(program, instruction, storage, v->location[touch->slot].value)) {
        return dl_verify_fault(program, at, touch->slot, "may not write to %s", dl_storage_name(storage));
    }
    DL_RETURN_IF_ERROR(dl_extents_find(extents, touch->begin, touch->end, &first, &n));
    for (int i = first; i < first + n; i++) {
        DL_RETURN_IF_ERROR(check_write(v, at, touch, &extents->extent[i]));
    }
    /* of an exchange of several blocks only the first holds the result */
    const bool result = instruction->type == DL_DO_OPERATION || touch->number == 0;
    dl_extent written = {.begin = touch->begin,
                         .end = touch->end,
                         .writer = at,
                         .value =
                             touch->number == DL_OP_MAX_SLOTS ? DL_NOBODY : v->location[touch->slot].value,
                         .pending = storage == DL_STORE_GRADIENT && result};
    for (int lane = 0; lane < DL_N_LANES; lane++) {
        written.reader[lane] = DL_NOBODY;
    }
    return dl_extents_set(extents, &written);
}

/* --- the walk --- */

static dl_status step(dl_verifier *v, int at) {
    dl_touch touches[DL_MAX_TOUCHES];
    int n = 0;
    DL_RETURN_IF_ERROR(dl_verify_follow(v, at));
    DL_RETURN_IF_ERROR(dl_verify_touches(v, at, touches, &n));
    for (int writing = 0; writing < 2; writing++) { /* all is read before anything is written */
        for (int i = 0; i < n; i++) {
            if (touches[i].begin == touches[i].end || !(writing ? touches[i].writes : touches[i].reads)) {
                continue;
            }
            DL_RETURN_IF_ERROR(writing ? write_bytes(v, at, &touches[i]) : read_bytes(v, at, &touches[i]));
        }
    }
    return DL_OK;
}

/* Is the parameter of this row trained by the program? */
static bool is_trained(const dl_program *program, int row) {
    for (int s = 0; s < program->n_slots; s++) {
        if (program->slot[s].storage == DL_STORE_GRADIENT && program->slot[s].parameter == row) {
            return true;
        }
    }
    return false;
}

/* After a training program all gradients are used, and copies of what it trained are new. */
static dl_status check_end(dl_verifier *v) {
    const dl_program *program = v->program;
    const dl_extents *gradients = &v->extents[DL_STORE_GRADIENT];
    for (int i = 0; i < gradients->n; i++) {
        if (gradients->extent[i].pending) {
            return dl_verify_fault(program, gradients->extent[i].writer, -1,
                                   "writes bytes %zu..%zu of the gradients, which no update uses",
                                   gradients->extent[i].begin, gradients->extent[i].end);
        }
    }
    for (int s = 0; s < program->n_slots && program->kind == DL_PROGRAM_TRAIN; s++) {
        if (program->slot[s].storage != DL_STORE_COPY || !is_trained(program, program->slot[s].parameter)) {
            continue;
        }
        int first = 0, n = 0;
        DL_RETURN_IF_ERROR(dl_extents_find(&v->extents[DL_STORE_COPY], v->location[s].begin,
                                           v->location[s].end, &first, &n));
        for (int i = first; i < first + n; i++) {
            if (v->extents[DL_STORE_COPY].extent[i].writer < 0) {
                return dl_verify_fault(program, -1, s, "is not packed again after the update");
            }
        }
    }
    return DL_OK;
}

static void find_reduced(dl_verifier *v) {
    const dl_program *program = v->program;
    const bool several_ranks = program->local_samples != program->global_samples;
    v->reduced[DL_STORE_GRADIENT] = v->reduced[DL_STORE_CONTROL] = v->reduced[DL_STORE_EXCHANGE] =
        several_ranks;
    for (int i = 0; i < program->n_instructions; i++) {
        const dl_instruction *instruction = &program->instruction[i];
        if (instruction->type == DL_DO_ALL_REDUCE && instruction->axis == DL_AXIS_DATA &&
            instruction->slot[0] >= 0) {
            v->reduced[program->slot[instruction->slot[0]].storage] = true;
        }
    }
}

static dl_status prepare(dl_verifier *v) {
    const dl_program *program = v->program;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)program->n_slots, sizeof *v->location, &v->location));
    DL_RETURN_IF_ERROR(dl_alloc((size_t)program->n_instructions, sizeof *v->seen, &v->seen));
    DL_RETURN_IF_ERROR(dl_alloc((size_t)program->n_events, sizeof *v->maker, &v->maker));
    for (int s = 0; s < DL_N_STORAGES; s++) {
        DL_RETURN_IF_ERROR(dl_extents_create(&v->extents[s]));
    }
    for (int lane = 0; lane < DL_N_LANES; lane++) {
        v->last[lane] = DL_NOBODY;
    }
    for (int event = 0; event < program->n_events; event++) {
        v->maker[event] = DL_NOBODY;
    }
    return DL_OK;
}

static dl_status verify(dl_verifier *v) {
    DL_RETURN_IF_ERROR(prepare(v));
    DL_RETURN_IF_ERROR(dl_verify_slots(v));
    find_reduced(v);
    for (int i = 0; i < v->program->n_instructions; i++) {
        DL_RETURN_IF_ERROR(step(v, i));
    }
    return check_end(v);
}

dl_status dl_program_verify(const dl_program *program) {
    dl_verifier v = {.program = program};
    const dl_status status = verify(&v);
    for (int s = 0; s < DL_N_STORAGES; s++) {
        dl_extents_destroy(&v.extents[s]);
    }
    dl_free(&v.location);
    dl_free(&v.seen);
    dl_free(&v.maker);
    return status;
}
