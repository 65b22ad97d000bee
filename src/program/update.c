/* The end of a training step: finite checks, the control word, optimizer updates over arena ranges, commits.
 * The packs that follow are added when all programs of the plan are known (plan.c). */
#include "program/compile.h"

#include <string.h>

/* A range of an arena as a slot: bucket `number`, arena `arena` of the storage. */
static dl_status bucket_slot(dl_compile *c, int number, dl_storage storage, int arena, int *slot) {
    const dl_parameter_table *table = &c->model->table;
    const dl_bucket *bucket = &table->bucket[number];
    char *name = NULL;
    DL_RETURN_IF_ERROR(
        dl_pool_printf(c->program->pool, &name, "%s of bucket %d", dl_storage_name(storage), number));
    DL_RETURN_IF_ERROR(
        dl_add_slot(c->program, name, -1, -1, storage, DL_F32, &DL_SHAPE(bucket->n_elements), slot));
    c->program->slot[*slot].offset =
        (size_t)(arena * table->trainable_elements + bucket->offset) * sizeof(float);
    return DL_OK;
}

static dl_status check_bucket(dl_compile *c, int number) {
    int slots[2] = {-1, c->program->control};
    DL_RETURN_IF_ERROR(bucket_slot(c, number, DL_STORE_GRADIENT, 0, &slots[0]));
    return dl_add_operation(c->program, DL_OP_CHECK_FINITE, &(dl_op_attr){0}, DL_PHASE_UPDATE, -1, -1, slots,
                            2, NULL);
}

static dl_status update_bucket(dl_compile *c, int number) {
    const dl_update_rule *rule = &c->plan->options.update;
    const dl_op_info *info = dl_op_info_of(rule->kind);
    int slots[DL_OP_MAX_SLOTS], states = 0;
    for (int i = 0; i < info->n_slots; i++) {
        const char *name = info->slots[i].name;
        slots[i] = -1;
        if (strcmp(name, "w") == 0) {
            DL_RETURN_IF_ERROR(bucket_slot(c, number, DL_STORE_PARAMETER, 0, &slots[i]));
        } else if (strcmp(name, "g") == 0) {
            DL_RETURN_IF_ERROR(bucket_slot(c, number, DL_STORE_GRADIENT, 0, &slots[i]));
        } else if (strcmp(name, "step") == 0) {
            slots[i] = c->program->step;
        } else if (strcmp(name, "totals") == 0) {
            slots[i] = c->program->totals;
        } else if (strcmp(name, "control") == 0) {
            slots[i] = c->program->control;
        } else if (states < rule->n_states) {
            DL_RETURN_IF_ERROR(bucket_slot(c, number, DL_STORE_OPTIMIZER, states++, &slots[i]));
        }
    }
    return dl_add_operation(c->program, rule->kind, &rule->attr, DL_PHASE_UPDATE, -1, -1, slots,
                            info->n_slots, NULL);
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
    for (int b = 0; b < n_buckets; b++) {
        DL_RETURN_IF_ERROR(check_bucket(c, b));
    }
    DL_RETURN_IF_ERROR(dl_partition_control(c));
    for (int b = 0; b < n_buckets; b++) {
        DL_RETURN_IF_ERROR(update_bucket(c, b));
    }
    DL_RETURN_IF_ERROR(dl_emit_moving_commits(c));
    return commit_samples(c);
}
