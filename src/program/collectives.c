/* The collectives that the instructions of a plan name by number, prepared once all addresses are known. */
#include "program/compile.h"

#include <inttypes.h>

/* Over the ranks of this axis; DL_N_AXES: over all. */
static dl_status prepare(dl_plan *plan, dl_axis_name axis, const dl_reduce_desc *desc) {
    const dl_grid *grid = plan->options.grid;
    dl_comm *comm = axis == DL_N_AXES ? grid->world : grid->axis[axis].comm;
    dl_plan_collective *made = &plan->collective[plan->n_collectives];
    DL_RETURN_ERROR_IF(plan->options.device->backend->own_memory && !comm->functions->on_device &&
                           (comm->size > 1 || desc->n_blocks > 1),
                       DL_ERR_USAGE, "%s: communicator %s cannot reach the memory of backend %s", desc->name,
                       comm->functions->name, plan->options.device->backend->name);
    DL_RETURN_IF_ERROR(comm->functions->all_reduce_prepare(comm, desc, &made->collective));
    made->comm = comm;
    plan->n_collectives++;
    return DL_OK;
}

static dl_status prepare_bucket(dl_plan *plan, int number) {
    const dl_parameter_table *table = &plan->options.model->table;
    const dl_bucket *bucket = &table->bucket[number];
    float *gradients = plan->memory[DL_STORE_GRADIENT];
    char *name = NULL;
    DL_RETURN_IF_ERROR(dl_pool_printf(plan->pool, &name, "bucket %d", number));
    dl_reduce_desc desc = {.reduction = DL_REDUCE_SUM,
                           .dtype = DL_F32,
                           .n_elements = bucket->n_elements,
                           .buffer = gradients + bucket->offset,
                           .n_blocks = plan->options.reproducible ? plan->n_blocks : 0,
                           .name = name};
    for (int i = 0; i < desc.n_blocks; i++) {
        desc.block[i] = gradients + i * table->trainable_elements + bucket->offset;
        desc.block_pieces[i] = plan->block_pieces[i];
    }
    return prepare(plan, DL_AXIS_DATA, &desc);
}

static dl_status prepare_exchange(dl_plan *plan, const dl_exchange *exchange) {
    char *memory = plan->memory[DL_STORE_EXCHANGE], *name = NULL;
    const size_t each = dl_exchange_block_bytes(plan, exchange);
    DL_RETURN_IF_ERROR(dl_pool_printf(plan->pool, &name, "%s of layer '%s'",
                                      dl_op_info_of(exchange->kind)->name,
                                      plan->options.model->layer[exchange->layer].name));
    dl_reduce_desc desc = {.reduction = DL_REDUCE_SUM,
                           .dtype = DL_F64,
                           .n_elements = exchange->n_elements,
                           .buffer = memory + exchange->offset,
                           .n_blocks = plan->options.reproducible ? plan->n_blocks : 0,
                           .name = name};
    for (int i = 0; i < desc.n_blocks; i++) {
        desc.block[i] = memory + exchange->offset + (size_t)i * each;
        desc.block_pieces[i] = plan->block_pieces[i];
    }
    return prepare(plan, DL_AXIS_DATA, &desc);
}

/* The exchanges of the tensor axis: each has a place of its own. */
static int count_tensor_exchanges(const dl_plan *plan) {
    int n = 0;
    for (int p = 0; p < plan->n_programs; p++) {
        for (int i = 0; i < plan->program[p]->n_instructions; i++) {
            const dl_instruction *instruction = &plan->program[p]->instruction[i];
            n += instruction->type == DL_DO_ALL_REDUCE && instruction->axis == DL_AXIS_TENSOR;
        }
    }
    return n;
}

static dl_status prepare_tensor_exchanges(dl_plan *plan, dl_program *program) {
    for (int i = 0; i < program->n_instructions; i++) {
        dl_instruction *instruction = &program->instruction[i];
        if (instruction->type != DL_DO_ALL_REDUCE || instruction->axis != DL_AXIS_TENSOR) {
            continue;
        }
        const dl_slot *slot = &program->slot[instruction->slot[0]];
        const dl_reduce_desc desc = {.reduction = DL_REDUCE_SUM,
                                     .dtype = slot->tensor.dtype,
                                     .n_elements = dl_shape_elements(&slot->tensor.shape),
                                     .buffer = dl_slot_address(plan, program, instruction->slot[0]),
                                     .name = slot->name};
        instruction->collective = plan->n_collectives;
        DL_RETURN_IF_ERROR(prepare(plan, DL_AXIS_TENSOR, &desc));
    }
    return DL_OK;
}

/* Buckets in the order of their numbers, then totals (with the moments behind them), then control, then
 * exchanges: what instructions call them by. Behind them those of the tensor axis. */
dl_status dl_prepare_collectives(dl_plan *plan) {
    const int n_buckets = plan->options.model->table.n_buckets;
    const dl_program *program = plan->program[0];
    const size_t n_collectives = (size_t)(n_buckets + 2 + plan->n_exchanges + count_tensor_exchanges(plan));
    DL_RETURN_IF_ERROR(dl_alloc(n_collectives, sizeof *plan->collective, &plan->collective));
    if (dl_plan_trains(plan)) {
        for (int b = 0; b < n_buckets; b++) {
            DL_RETURN_IF_ERROR(prepare_bucket(plan, b));
        }
    }
    plan->n_collectives = n_buckets;
    const int64_t n_moments = dl_n_moments(plan->options.model);
    const dl_reduce_desc totals = {.reduction = DL_REDUCE_SUM,
                                   .dtype = DL_F64,
                                   .n_elements = DL_N_TOTALS + n_moments,
                                   .buffer = dl_slot_address(plan, program, program->totals),
                                   .name = "totals"};
    const dl_reduce_desc control = {.reduction = DL_REDUCE_MAX,
                                    .dtype = DL_I32,
                                    .n_elements = DL_N_CONTROLS,
                                    .buffer = dl_slot_address(plan, program, program->control),
                                    .name = "control"};
    DL_RETURN_IF_ERROR(prepare(plan, DL_AXIS_DATA, &totals));
    DL_RETURN_IF_ERROR(prepare(plan, DL_N_AXES, &control));
    for (int i = 0; i < plan->n_exchanges; i++) {
        DL_RETURN_IF_ERROR(prepare_exchange(plan, &plan->exchange[i]));
    }
    for (int i = 0; i < plan->n_programs; i++) {
        DL_RETURN_IF_ERROR(prepare_tensor_exchanges(plan, plan->program[i]));
    }
    return DL_OK;
}

void dl_release_collectives(dl_plan *plan) {
    for (int i = 0; i < plan->n_collectives; i++) {
        const dl_plan_collective *made = &plan->collective[i];
        if (made->collective != NULL) {
            made->comm->functions->collective_destroy(made->collective);
        }
    }
    dl_free(&plan->collective);
}

static dl_status add_exchanges(const dl_program *program, int number, dl_axis_name axis, dl_text *out) {
    int n = 0;
    for (int i = 0; i < program->n_instructions; i++) {
        const dl_instruction *instruction = &program->instruction[i];
        if (instruction->type != DL_DO_ALL_REDUCE || instruction->axis != axis) {
            continue;
        }
        const dl_slot *slot = instruction->slot[0] >= 0 ? &program->slot[instruction->slot[0]] : NULL;
        DL_RETURN_IF_ERROR(dl_text_append(out, "exchange %d of program %d: %s, number %d, %" PRId64 " %s\n",
                                          n++, number, slot == NULL ? "nothing" : slot->name,
                                          instruction->collective,
                                          slot == NULL ? 0 : dl_shape_elements(&slot->tensor.shape),
                                          slot == NULL ? "" : dl_dtype_name(slot->tensor.dtype)));
    }
    return dl_text_append(out, "exchanges of program %d: %d\n", number, n);
}

dl_status dl_plan_exchanges(const dl_plan *plan, dl_axis_name axis, dl_text *out) {
    for (int p = 0; p < plan->n_programs; p++) {
        DL_RETURN_IF_ERROR(add_exchanges(plan->program[p], p, axis, out));
    }
    return DL_OK;
}
