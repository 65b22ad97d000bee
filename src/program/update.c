/* The end of a training step: finite checks, the gradient's norm, the control word, optimizer updates over
 * arena ranges, commits. The packs that follow are added when all programs of the plan are known (plan.c). */
#include "program/compile.h"

#include <string.h>

/* A run of parameters within a bucket that one update does: their attributes are equal. */
typedef struct segment {
    int bucket;
    int64_t offset, n_elements; /* of the trainable arena, gaps included */
    double rate_factor;
} segment;

static segment whole_bucket(const dl_compile *c, int number) {
    const dl_bucket *bucket = &c->model->table.bucket[number];
    return (segment){.bucket = number, .offset = bucket->offset, .n_elements = bucket->n_elements};
}

/* A range of an arena as a slot: arena `arena` of the storage. */
static dl_status range_slot(dl_compile *c, const segment *range, dl_storage storage, int arena, int *slot) {
    const dl_parameter_table *table = &c->model->table;
    char *name = NULL;
    DL_RETURN_IF_ERROR(
        dl_pool_printf(c->program->pool, &name, "%s of bucket %d", dl_storage_name(storage), range->bucket));
    DL_RETURN_IF_ERROR(
        dl_add_slot(c->program, name, -1, -1, storage, DL_F32, &DL_SHAPE(range->n_elements), slot));
    c->program->slot[*slot].offset =
        (size_t)(arena * table->trainable_elements + range->offset) * sizeof(float);
    return DL_OK;
}

static dl_status check_bucket(dl_compile *c, int number) {
    const segment bucket = whole_bucket(c, number);
    int slots[2] = {-1, c->program->control};
    DL_RETURN_IF_ERROR(range_slot(c, &bucket, DL_STORE_GRADIENT, 0, &slots[0]));
    return dl_add_operation(c->program, DL_OP_CHECK_FINITE, &(dl_op_attr){0}, DL_PHASE_UPDATE, -1, -1, slots,
                            2, NULL);
}

/* --- the norm --- */

/* Are the bucket's parameters slices of which other ranks have the others? */
static bool is_split(const dl_parameter_table *table, int bucket) {
    return table->parameter[table->bucket[bucket].first].split;
}

static int64_t blocks_of(int64_t n_elements) {
    return (n_elements + DL_SQUARES_BLOCK - 1) / DL_SQUARES_BLOCK;
}

/* Sums of squares of the buckets that are slices of parameters (`split`) or that are not, side by side in
 * slot `sums` from number `first` on; they find values that are not finite on the way. */
static dl_status sum_squares_of(dl_compile *c, bool split, int sums, int64_t first) {
    const dl_parameter_table *table = &c->model->table;
    for (int b = 0; b < table->n_buckets; b++) {
        const segment bucket = whole_bucket(c, b);
        const int64_t n = blocks_of(bucket.n_elements);
        int slots[3] = {-1, -1, c->program->control};
        if (is_split(table, b) != split) {
            continue;
        }
        DL_RETURN_IF_ERROR(range_slot(c, &bucket, DL_STORE_GRADIENT, 0, &slots[0]));
        DL_RETURN_IF_ERROR(dl_add_view(c->program, "squares", sums, (size_t)first * sizeof(double), DL_F64,
                                       &DL_SHAPE(n), &slots[1]));
        DL_RETURN_IF_ERROR(dl_add_operation(c->program, DL_OP_SUM_SQUARES, &(dl_op_attr){0}, DL_PHASE_UPDATE,
                                            -1, -1, slots, 3, NULL));
        first += n;
    }
    return DL_OK;
}

/* The sum of the squares of the slices of this rank, and then of all ranks of the tensor axis. */
static dl_status sum_slices(dl_compile *c, int64_t n_blocks, int total) {
    int slots[2] = {-1, total};
    DL_RETURN_IF_ERROR(dl_add_slot(c->program, "squares of slices", -1, -1, DL_STORE_ACTIVATION, DL_F64,
                                   &DL_SHAPE(n_blocks), &slots[0]));
    DL_RETURN_IF_ERROR(sum_squares_of(c, true, slots[0], 0));
    DL_RETURN_IF_ERROR(dl_add_operation(c->program, DL_OP_SUM_SAMPLES, &(dl_op_attr){0}, DL_PHASE_UPDATE, -1,
                                        -1, slots, 2, NULL));
    return dl_partition_tensor(c, total, -1, DL_PHASE_UPDATE);
}

/* The sums of squares of all buckets; one number for those whose slices ranks share. */
static dl_status sum_squares(dl_compile *c, int *sums) {
    const dl_parameter_table *table = &c->model->table;
    int64_t n_blocks[2] = {0, 0};
    for (int b = 0; b < table->n_buckets; b++) {
        n_blocks[is_split(table, b)] += blocks_of(table->bucket[b].n_elements);
    }
    const int64_t n = n_blocks[false] + (n_blocks[true] > 0);
    DL_RETURN_IF_ERROR(
        dl_add_slot(c->program, "squares", -1, -1, DL_STORE_ACTIVATION, DL_F64, &DL_SHAPE(n), sums));
    DL_RETURN_IF_ERROR(sum_squares_of(c, false, *sums, 0));
    if (n_blocks[true] == 0) {
        return DL_OK;
    }
    int total = -1, slots[2] = {-1, -1};
    DL_RETURN_IF_ERROR(
        dl_add_slot(c->program, "square sum", -1, -1, DL_STORE_ACTIVATION, DL_F64, &DL_SHAPE(1), &total));
    DL_RETURN_IF_ERROR(sum_slices(c, n_blocks[true], total));
    slots[0] = total;
    DL_RETURN_IF_ERROR(dl_add_view(c->program, "squares", *sums, (size_t)n_blocks[false] * sizeof(double),
                                   DL_F64, &DL_SHAPE(1), &slots[1]));
    return dl_add_operation(c->program, DL_OP_COPY, &(dl_op_attr){0}, DL_PHASE_UPDATE, -1, -1, slots, 2,
                            NULL);
}

/* The norm for the updates, and a copy of it for the host. Every rank computes it from the same reduced
 * gradients. */
static dl_status measure_norm(dl_compile *c, int sums, int *norm) {
    const dl_plan_options *options = &c->plan->options;
    const dl_op_attr attr = {
        .u.clip = {.capacity = (double)(options->batch_size * options->model->output.rows),
                   .limit = options->clip_norm}};
    DL_RETURN_IF_ERROR(
        dl_add_slot(c->program, "norm", -1, -1, DL_STORE_ACTIVATION, DL_F64, &DL_SHAPE(DL_N_NORMS), norm));
    const int slots[] = {sums, c->update_totals, *norm};
    DL_RETURN_IF_ERROR(
        dl_add_operation(c->program, DL_OP_GRADIENT_NORM, &attr, DL_PHASE_UPDATE, -1, -1, slots, 3, NULL));
    const int copied[] = {*norm, c->program->norm};
    return dl_add_operation(c->program, DL_OP_COPY, &(dl_op_attr){0}, DL_PHASE_UPDATE, -1, -1, copied, 2,
                            NULL);
}

/* --- updates --- */

/* Which of the rule's arenas of states the slot `name` stands for, -1: none. */
static int state_number(const dl_update_rule *rule, const char *name) {
    for (int i = 0; i < rule->n_states; i++) {
        if (strcmp(rule->state[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

static dl_status update_slot(dl_compile *c, const segment *range, const char *name, int norm, int *slot) {
    const int state = state_number(&c->plan->options.update, name);
    *slot = -1;
    if (state >= 0) {
        return range_slot(c, range, DL_STORE_OPTIMIZER, state, slot);
    }
    if (strcmp(name, "w") == 0) {
        return range_slot(c, range, DL_STORE_PARAMETER, 0, slot);
    }
    if (strcmp(name, "g") == 0) {
        return range_slot(c, range, DL_STORE_GRADIENT, 0, slot);
    }
    if (strcmp(name, "step") == 0) {
        *slot = c->program->step;
    } else if (strcmp(name, "totals") == 0) {
        *slot = c->update_totals;
    } else if (strcmp(name, "control") == 0) {
        *slot = c->program->control;
    } else if (strcmp(name, "norm") == 0) {
        *slot = norm;
    }
    return DL_OK; /* others are states that these options do without */
}

static dl_status update_segment(dl_compile *c, const segment *range, int norm) {
    const dl_update_rule *rule = &c->plan->options.update;
    const dl_op_info *info = dl_op_info_of(rule->kind);
    dl_op_attr attr = rule->attr;
    attr.rate_factor = range->rate_factor;
    int slots[DL_OP_MAX_SLOTS];
    for (int i = 0; i < info->n_slots; i++) {
        DL_RETURN_IF_ERROR(update_slot(c, range, info->slots[i].name, norm, &slots[i]));
    }
    return dl_add_operation(c->program, rule->kind, &attr, DL_PHASE_UPDATE, -1, -1, slots, info->n_slots,
                            NULL);
}

/* One update for each run of parameters with equal attributes; the gaps go with the parameter before them. */
static dl_status update_bucket(dl_compile *c, int number, int norm) {
    const dl_parameter_table *table = &c->model->table;
    const dl_bucket *bucket = &table->bucket[number];
    const int64_t end = bucket->offset + bucket->n_elements;
    const int last = bucket->first + bucket->n;
    for (int i = bucket->first, next = i; i < last; i = next) {
        const dl_parameter *first = &table->parameter[i];
        while (next < last && table->parameter[next].rate_factor == first->rate_factor) {
            next++;
        }
        const int64_t stop = next < last ? table->parameter[next].offset : end;
        const segment range = {.bucket = number,
                               .offset = first->offset,
                               .n_elements = stop - first->offset,
                               .rate_factor = first->rate_factor};
        DL_RETURN_IF_ERROR(update_segment(c, &range, norm));
    }
    return DL_OK;
}

/* The moving average of a bucket's parameters, from their new values. */
static dl_status average_bucket(dl_compile *c, int number) {
    const segment bucket = whole_bucket(c, number);
    const dl_op_attr attr = {.u.commit.decay = c->plan->options.ema_decay};
    int slots[] = {-1, -1, c->program->control, c->program->step};
    DL_RETURN_IF_ERROR(range_slot(c, &bucket, DL_STORE_STATE, 0, &slots[0]));
    c->program->slot[slots[0]].offset += DL_EMA_OFFSET;
    DL_RETURN_IF_ERROR(range_slot(c, &bucket, DL_STORE_PARAMETER, 0, &slots[1]));
    return dl_add_operation(c->program, DL_OP_COMMIT, &attr, DL_PHASE_UPDATE, -1, -1, slots, 4, NULL);
}

/* Samples seen so far. */
static dl_status commit_samples(dl_compile *c) {
    int state = -1, weight = -1;
    DL_RETURN_IF_ERROR(
        dl_add_slot(c->program, "samples seen", -1, -1, DL_STORE_STATE, DL_F64, &DL_SHAPE(1), &state));
    DL_RETURN_IF_ERROR(dl_add_view(c->program, "weight", c->program->totals, DL_TOTAL_WEIGHT * sizeof(double),
                                   DL_F64, &DL_SHAPE(1), &weight));
    const int slots[] = {state, weight, c->program->control};
    return dl_add_operation(c->program, DL_OP_COMMIT, &(dl_op_attr){.accumulate = true}, DL_PHASE_UPDATE, -1,
                            -1, slots, 3, NULL);
}

dl_status dl_emit_update(dl_compile *c) {
    const int n_buckets = c->model->table.n_buckets;
    const bool clips = c->plan->options.clip_norm > 0 && n_buckets > 0;
    int sums = -1, norm = -1;
    if (clips) {
        DL_RETURN_IF_ERROR(sum_squares(c, &sums));
    }
    for (int b = 0; b < n_buckets && !clips; b++) {
        DL_RETURN_IF_ERROR(check_bucket(c, b));
    }
    DL_RETURN_IF_ERROR(dl_partition_control(c));
    DL_RETURN_IF_ERROR(dl_scale_totals(c, &c->update_totals));
    if (clips) {
        DL_RETURN_IF_ERROR(measure_norm(c, sums, &norm));
    }
    for (int b = 0; b < n_buckets; b++) {
        DL_RETURN_IF_ERROR(update_bucket(c, b, norm));
    }
    for (int b = 0; b < n_buckets && c->plan->options.ema_decay > 0; b++) {
        DL_RETURN_IF_ERROR(average_bucket(c, b));
    }
    DL_RETURN_IF_ERROR(dl_emit_moving_commits(c));
    DL_RETURN_IF_ERROR(dl_commit_loss_scale(c));
    return commit_samples(c);
}
