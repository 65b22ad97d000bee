/* A plan: the programs of a run, compiled one by one, and the memory they share. */
#include "program/choose.h"
#include "program/compile.h"
#include "program/streams.h"

#include <string.h>

dl_status dl_plan_create(const dl_plan_options *options, dl_plan **out) {
    dl_plan *plan = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *plan, &plan));
    plan->options = *options;
    dl_status status = dl_pool_create(&plan->pool);
    plan->n_blocks = 1;
    plan->block_pieces[0] = (dl_range){0, DL_PIECES};
    if (status == DL_OK && options->reproducible) {
        plan->n_blocks = 0;
        for (int micro = 0; micro < options->accumulate; micro++) {
            dl_range blocks[DL_MAX_BLOCKS];
            const dl_range mine =
                dl_share_pieces(options->n_ranks, options->rank, options->accumulate, micro);
            const int n = dl_aligned_blocks(mine, blocks);
            for (int b = 0; b < n && plan->n_blocks < DL_MAX_BLOCKS; b++) {
                plan->block_pieces[plan->n_blocks++] = blocks[b];
            }
        }
        const dl_device_options single = {.n_threads = 1,
                                          .index = options->device->index,
                                          .deterministic = options->device->deterministic,
                                          .tf32 = options->device->tf32};
        status = dl_device_open(options->device->backend, &single, &plan->single);
    }
    if (status != DL_OK) {
        dl_plan_destroy(&plan);
        return status;
    }
    *out = plan;
    return DL_OK;
}

dl_status dl_copy_slot(dl_compile *c, int row, bool averaged, dl_dtype dtype, const dl_layout *layout,
                       int *slot) {
    dl_plan *plan = c->plan;
    const dl_parameter *parameter = &c->model->table.parameter[row];
    int number = 0;
    while (number < plan->n_copies &&
           (plan->copy[number].parameter != row || plan->copy[number].averaged != averaged ||
            plan->copy[number].dtype != dtype || plan->copy[number].layout != layout)) {
        number++;
    }
    const dl_tensor_desc plain = {.dtype = dtype, .shape = parameter->shape};
    const size_t n_bytes = layout != NULL ? layout->n_bytes : dl_tensor_plain_bytes(&plain);
    if (number == plan->n_copies) {
        const size_t align = plan->options.device->backend->strict ? DL_PAGE_BYTES : DL_CACHE_LINE;
        DL_RETURN_IF_ERROR(
            dl_grow(&plan->copy, &plan->capacity_copies, plan->n_copies + 1, sizeof *plan->copy));
        plan->copy[plan->n_copies++] = (dl_copy){.parameter = row,
                                                 .dtype = dtype,
                                                 .layout = layout,
                                                 .averaged = averaged,
                                                 .offset = plan->bytes[DL_STORE_COPY]};
        plan->bytes[DL_STORE_COPY] += dl_round_up(n_bytes, align);
    }
    dl_copy *copy = &plan->copy[number];
    copy->in_training = copy->in_training || c->program->kind == DL_PROGRAM_TRAIN;
    copy->in_evaluation = copy->in_evaluation || c->program->kind == DL_PROGRAM_EVALUATE;
    DL_RETURN_IF_ERROR(dl_add_slot(c->program, parameter->path, parameter->layer_index, -1, DL_STORE_COPY,
                                   dtype, &parameter->shape, slot));
    dl_slot *made = &c->program->slot[*slot];
    made->parameter = row;
    made->tensor.layout = layout;
    made->n_bytes = n_bytes;
    made->offset = copy->offset;
    return DL_OK;
}

void dl_plan_memory(const dl_plan *plan, size_t bytes[DL_N_STORAGES]) {
    memcpy(bytes, plan->bytes, sizeof plan->bytes);
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

bool dl_plan_trains(const dl_plan *plan) {
    for (int i = 0; i < plan->n_programs; i++) {
        if (plan->program[i]->kind == DL_PROGRAM_TRAIN) {
            return true;
        }
    }
    return false;
}

static void size_arenas(dl_plan *plan) {
    const dl_parameter_table *table = &plan->options.model->table;
    const size_t trainable = (size_t)table->trainable_elements * sizeof(float);
    plan->bytes[DL_STORE_PARAMETER] = trainable;
    plan->bytes[DL_STORE_FROZEN] = (size_t)table->frozen_elements * sizeof(float);
    plan->bytes[DL_STORE_STATISTICS] = (size_t)table->statistics_elements * sizeof(float);
    if (dl_plan_trains(plan)) {
        plan->bytes[DL_STORE_GRADIENT] = trainable * (size_t)plan->n_blocks;
        plan->bytes[DL_STORE_OPTIMIZER] = trainable * (size_t)plan->options.update.n_states;
        plan->bytes[DL_STORE_STATE] =
            plan->options.ema_decay > 0 ? DL_EMA_OFFSET + trainable : sizeof(double);
    }
    if (dl_plan_trains(plan) && dl_plan_scales(plan)) {
        plan->bytes[DL_STORE_STATE] = dl_loss_scale_offset(plan) + DL_N_SCALES * sizeof(double);
    }
    plan->bytes[DL_STORE_STATE] = larger(plan->bytes[DL_STORE_STATE], dl_state_bytes(plan));
    const size_t totals = (size_t)(DL_N_TOTALS + dl_n_moments(plan->options.model)) * sizeof(double);
    plan->bytes[DL_STORE_CONTROL] = 3 * DL_PAGE_BYTES + dl_round_up(totals, DL_PAGE_BYTES);
    for (int i = 0; i < plan->n_programs; i++) {
        const dl_program *program = plan->program[i];
        if (program->result >= 0) {
            plan->bytes[DL_STORE_RESULT] =
                larger(plan->bytes[DL_STORE_RESULT], program->slot[program->result].n_bytes);
        }
        const dl_storage placed[] = {DL_STORE_ACTIVATION, DL_STORE_WORKSPACE, DL_STORE_INPUT};
        for (size_t p = 0; p < sizeof placed / sizeof *placed; p++) {
            plan->bytes[placed[p]] =
                larger(plan->bytes[placed[p]], plan->program[i]->placed_bytes[placed[p]]);
        }
    }
    plan->bytes[DL_STORE_INPUT] = dl_streams_input_bytes(plan, plan->bytes[DL_STORE_INPUT]);
}

dl_status dl_plan_seal(dl_plan *plan) {
    if (plan->sealed) {
        return DL_OK;
    }
    int refresh = -1;
    DL_RETURN_IF_ERROR(dl_plan_add(plan, DL_PROGRAM_REFRESH, 0, &refresh));
    for (int i = 0; i < plan->n_programs; i++) {
        DL_RETURN_IF_ERROR(dl_compile_finish(plan, plan->program[i]));
        DL_RETURN_IF_ERROR(dl_program_verify(plan->program[i])); /* 0.1 ms for a hundred instructions */
    }
    size_arenas(plan);
    plan->sealed = true;
    return DL_OK;
}

/* --- memory and addresses --- */

/* Memory that other ranks add to, where it is of the communicator's kind. */
static bool is_shared(const dl_plan *plan, int storage) {
    const dl_comm *comm = plan->options.grid->axis[DL_AXIS_DATA].comm;
    return (comm->functions->on_device || !plan->options.device->backend->own_memory) &&
           (storage == DL_STORE_GRADIENT || storage == DL_STORE_EXCHANGE);
}

static dl_status take_memory(dl_plan *plan) {
    dl_comm *comm = plan->options.grid->axis[DL_AXIS_DATA].comm;
    for (int s = 0; s < DL_N_STORAGES; s++) {
        if (plan->bytes[s] == 0) {
            continue;
        }
        if (is_shared(plan, s)) {
            DL_RETURN_IF_ERROR_DOING(comm->functions->memory_create(comm, plan->bytes[s], &plan->memory[s]),
                                     "taking %zu bytes for %s", plan->bytes[s],
                                     dl_storage_name((dl_storage)s));
        } else {
            DL_RETURN_IF_ERROR_DOING(plan->options.device->backend->memory_create(
                                         plan->options.device, plan->bytes[s], &plan->memory[s]),
                                     "taking %zu bytes for %s", plan->bytes[s],
                                     dl_storage_name((dl_storage)s));
        }
    }
    return DL_OK;
}

void *dl_slot_address(const dl_plan *plan, const dl_program *program, int slot) {
    size_t offset = 0;
    while (program->slot[slot].view_of >= 0) {
        offset += program->slot[slot].view_offset;
        slot = program->slot[slot].view_of;
    }
    return (char *)plan->memory[program->slot[slot].storage] + program->slot[slot].offset + offset;
}

static dl_status bind(const dl_plan *plan, dl_program *program) {
    const size_t row = DL_OP_MAX_SLOTS + 1;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)program->n_instructions * row, sizeof(void *), &program->pointer));
    for (int i = 0; i < program->n_instructions; i++) {
        const dl_instruction *instruction = &program->instruction[i];
        void **pointer = &program->pointer[(size_t)i * row];
        for (int s = 0; s < DL_OP_MAX_SLOTS; s++) {
            pointer[s] =
                instruction->slot[s] >= 0 ? dl_slot_address(plan, program, instruction->slot[s]) : NULL;
        }
        /* run() expects the workspace right behind the kind's slots */
        const int workspace = instruction->slot[DL_OP_MAX_SLOTS];
        if (instruction->type == DL_DO_OPERATION) {
            pointer[dl_op_info_of(instruction->kind)->n_slots] =
                workspace >= 0 ? dl_slot_address(plan, program, workspace) : NULL;
        }
    }
    return DL_OK;
}

dl_status dl_plan_finish(dl_plan *plan) {
    DL_RETURN_IF_ERROR(dl_plan_seal(plan));
    DL_RETURN_IF_ERROR(take_memory(plan));
    DL_RETURN_IF_ERROR(dl_start_loss_scale(plan));
    DL_RETURN_IF_ERROR(dl_alloc(dl_state_bytes(plan), 1, &plan->zeros));
    for (int i = 0; i < plan->n_programs; i++) {
        DL_RETURN_IF_ERROR(bind(plan, plan->program[i]));
    }
    DL_RETURN_IF_ERROR(dl_streams_create(plan));
    return dl_prepare_collectives(plan);
}

static void release_memory(dl_plan *plan) {
    for (int s = 0; s < DL_N_STORAGES; s++) {
        if (plan->memory[s] == NULL) {
            continue;
        }
        if (is_shared(plan, s)) {
            dl_comm *comm = plan->options.grid->axis[DL_AXIS_DATA].comm;
            comm->functions->memory_destroy(comm, plan->memory[s]);
        } else {
            plan->options.device->backend->memory_destroy(plan->options.device, plan->memory[s],
                                                          plan->bytes[s]);
        }
    }
}

void dl_plan_destroy(dl_plan **plan) {
    if (*plan == NULL) {
        return;
    }
    dl_streams_destroy(*plan);
    dl_release_collectives(*plan);
    for (int i = 0; i < (*plan)->n_programs; i++) {
        dl_program_destroy(&(*plan)->program[i]);
    }
    release_memory(*plan);
    dl_choices_destroy(&(*plan)->choices);
    dl_device_close(&(*plan)->single);
    dl_free(&(*plan)->copy);
    dl_free(&(*plan)->exchange);
    dl_free(&(*plan)->zeros);
    dl_pool_destroy(&(*plan)->pool);
    dl_free(plan);
}
