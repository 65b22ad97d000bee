/* Partition: what is partial on each rank is wanted whole. The one act of these passes is to insert the
 * exchange that turns the first into the second, at the earliest place. Over the data axis gradients,
 * statistics and totals are partial: a bucket is reduced right after its last contribution. Over the tensor
 * axis values are whose features ranks share (partition.h). The control word is over all ranks. */
#include "program/compile.h"

#include <inttypes.h>
#include <string.h>

static dl_status add_all_reduce(dl_compile *c, dl_axis_name axis, int collective, const int *slots,
                                int n_slots, dl_phase phase) {
    dl_instruction reduce = {.type = DL_DO_ALL_REDUCE,
                             .axis = axis,
                             .collective = collective,
                             .lane = DL_LANE_COMM,
                             .phase = phase,
                             .micro = -1,
                             .layer = -1,
                             .forward = -1,
                             .records = -1};
    for (int i = 0; i <= DL_OP_MAX_SLOTS; i++) {
        reduce.slot[i] = i < n_slots && i < DL_MAX_BLOCKS ? slots[i] : -1;
    }
    return dl_add_instruction(c->program, &reduce);
}

/* One bucket of the gradient arenas, all tree blocks. */
static dl_status reduce_bucket(dl_compile *c, int number) {
    const dl_parameter_table *table = &c->model->table;
    const dl_bucket *bucket = &table->bucket[number];
    int slots[DL_MAX_BLOCKS];
    for (int block = 0; block < c->plan->n_blocks; block++) {
        char *name = NULL;
        DL_RETURN_IF_ERROR(dl_pool_printf(c->program->pool, &name, "bucket %d", number));
        DL_RETURN_IF_ERROR(dl_add_slot(c->program, name, -1, -1, DL_STORE_GRADIENT, DL_F32,
                                       &DL_SHAPE(bucket->n_elements), &slots[block]));
        c->program->slot[slots[block]].offset =
            (size_t)(block * table->trainable_elements + bucket->offset) * sizeof(float);
    }
    return add_all_reduce(c, DL_AXIS_DATA, number, slots, c->plan->n_blocks, DL_PHASE_REDUCE);
}

/* Which bucket an instruction writes a gradient of, -1: none. */
static int written_bucket(const dl_compile *c, const dl_instruction *instruction, int s) {
    const int slot = instruction->slot[s];
    if (instruction->type != DL_DO_OPERATION || slot < 0 ||
        c->program->slot[slot].storage != DL_STORE_GRADIENT || c->program->slot[slot].parameter < 0) {
        return -1;
    }
    return c->model->table.parameter[c->program->slot[slot].parameter].bucket;
}

static dl_status append_with_exchanges(dl_compile *c, const dl_instruction *before, int n,
                                       const int *last_write) {
    const int n_buckets = c->model->table.n_buckets;
    for (int i = 0; i < n; i++) {
        DL_RETURN_IF_ERROR(dl_add_instruction(c->program, &before[i]));
        for (int b = 0; b < n_buckets; b++) {
            if (last_write[b] == i) {
                DL_RETURN_IF_ERROR(reduce_bucket(c, b));
            }
        }
    }
    return DL_OK;
}

static dl_status reduce_gradients(dl_compile *c) {
    dl_program *program = c->program;
    const int n_buckets = c->model->table.n_buckets, n = program->n_instructions;
    int *last_write = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n_buckets, sizeof *last_write, &last_write));
    for (int i = 0; i < n; i++) {
        for (int s = 0; s < DL_OP_MAX_SLOTS; s++) {
            const int bucket = written_bucket(c, &program->instruction[i], s);
            if (bucket >= 0) {
                last_write[bucket] = i;
            }
        }
    }
    /* All ranks exchange in the order of the buckets, whatever each has to compute. */
    for (int b = 1; b < n_buckets; b++) {
        last_write[b] = last_write[b] > last_write[b - 1] ? last_write[b] : last_write[b - 1];
    }
    dl_instruction *before = program->instruction;
    program->instruction = NULL;
    program->n_instructions = 0;
    program->capacity_instructions = 0;
    const dl_status status = append_with_exchanges(c, before, n, last_write);
    dl_free(&before);
    dl_free(&last_write);
    return status;
}

/* The exchange that an instruction writes a block of, -1: none. */
static int written_exchange(const dl_program *program, int at, int *slot) {
    const dl_instruction *instruction = &program->instruction[at];
    const dl_op_info *info = dl_op_info_of(instruction->kind);
    for (int s = 0; instruction->type == DL_DO_OPERATION && s < info->n_slots; s++) {
        if (instruction->slot[s] >= 0 && info->slots[s].role == DL_SLOT_OUT &&
            program->slot[instruction->slot[s]].exchange >= 0) {
            *slot = instruction->slot[s];
            return program->slot[*slot].exchange;
        }
    }
    return -1;
}

/* Sums amid a step are exchanged behind the last of their blocks, which are written one after the other. */
static dl_status exchange_sums(dl_compile *c) {
    dl_program *program = c->program;
    dl_instruction *before = program->instruction;
    const int n = program->n_instructions;
    dl_program old = *program;
    program->instruction = NULL;
    program->n_instructions = 0;
    program->capacity_instructions = 0;
    dl_status status = DL_OK;
    int slots[DL_MAX_BLOCKS], n_slots = 0;
    for (int i = 0; i < n && status == DL_OK; i++) {
        int slot = -1, next = -1;
        const int exchange = written_exchange(&old, i, &slot);
        status = dl_add_instruction(program, &before[i]);
        if (exchange >= 0 && n_slots < DL_MAX_BLOCKS) {
            slots[n_slots++] = slot;
        }
        if (status == DL_OK && exchange >= 0 &&
            (i + 1 == n || written_exchange(&old, i + 1, &next) != exchange)) {
            status = add_all_reduce(c, DL_AXIS_DATA, c->model->table.n_buckets + 2 + exchange, slots, n_slots,
                                    before[i].phase);
            n_slots = 0;
        }
    }
    dl_free(&before);
    return status;
}

dl_status dl_partition_data(dl_compile *c) {
    const dl_plan *plan = c->plan;
    const int n_buckets = c->model->table.n_buckets;
    const bool alone = plan->options.n_ranks == 1;
    if (c->program->kind == DL_PROGRAM_TRAIN && !(alone && plan->n_blocks == 1)) {
        DL_RETURN_IF_ERROR(exchange_sums(c));
        DL_RETURN_IF_ERROR(reduce_gradients(c));
    }
    if (alone) {
        return DL_OK;
    }
    const int slots[] = {c->program->totals, c->program->moments};
    return add_all_reduce(c, DL_AXIS_DATA, n_buckets, slots, c->program->moments >= 0 ? 2 : 1,
                          DL_PHASE_REDUCE);
}

/* --- tensor axis, all ranks --- */

dl_spread dl_spread_of(const dl_compile *c, int value) {
    const dl_partition *partition = c->plan->options.partition;
    return partition == NULL ? DL_SPREAD_WHOLE : partition->spread[value];
}

dl_status dl_partition_tensor(dl_compile *c, int slot, int layer, dl_phase phase) {
    if (c->program->slot[slot].n_bytes == 0) {
        return DL_OK;
    }
    c->program->slot[slot].partial = true;
    DL_RETURN_IF_ERROR(add_all_reduce(c, DL_AXIS_TENSOR, -1, &slot, 1, phase));
    c->program->instruction[c->program->n_instructions - 1].layer = layer;
    c->program->instruction[c->program->n_instructions - 1].micro = c->program->slot[slot].micro;
    return DL_OK;
}

dl_status dl_partition_control(dl_compile *c) {
    if (c->plan->options.n_ranks == 1 && c->plan->options.partition == NULL) {
        return DL_OK;
    }
    return add_all_reduce(c, DL_N_AXES, c->model->table.n_buckets + 1, &c->program->control, 1,
                          DL_PHASE_REDUCE);
}
