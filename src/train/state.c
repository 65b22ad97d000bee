#include "train/state.h"

#include "optim/optim.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SHARED_BYTES = 64 << 10 }; /* tensors from this size on are divided between those who have them */

/* What goes round while tensors are listed. */
typedef struct lister {
    dl_state *state;
    const dl_session *session;
    const dl_plan *plan;
    const dl_partition *partition; /* NULL: this rank has all of the model */
    int data_ranks, data_rank;
} lister;

static dl_status add(lister *l, const dl_state_tensor *tensor, const char *format, const char *a,
                     const char *b, const char *c) {
    dl_state *state = l->state;
    char *name = NULL;
    DL_RETURN_IF_ERROR(dl_pool_printf(state->pool, &name, format, a, b, c));
    DL_RETURN_IF_ERROR(dl_grow(&state->tensor, &state->capacity, state->n + 1, sizeof *state->tensor));
    state->tensor[state->n] = *tensor;
    state->tensor[state->n++].box.name = name;
    return DL_OK;
}

/* Row i of the parameter table as a box; `arena` is where the arena lies that holds it. */
static dl_state_tensor parameter_box(const lister *l, int i, char *arena) {
    const dl_parameter *parameter = &l->plan->options.model->table.parameter[i];
    dl_state_tensor tensor = {.box = {.dtype = DL_F32, .whole = parameter->shape, .shape = parameter->shape},
                              .device = arena + (size_t)parameter->offset * sizeof(float),
                              .n_holders = l->data_ranks,
                              .holder = l->data_rank};
    if (l->partition == NULL) {
        return tensor;
    }
    const dl_slice *slice = &l->partition->slice[i];
    if (slice->dim >= 0) {
        tensor.box.whole.dim[slice->dim] = slice->of;
        tensor.box.offset[slice->dim] = slice->begin;
    } else { /* every rank of the tensor axis has it, too */
        tensor.n_holders = l->data_ranks * l->partition->size;
        tensor.holder = l->data_rank * l->partition->size + l->partition->index;
    }
    return tensor;
}

static dl_status add_parameters(lister *l) {
    static const dl_storage storage_of[DL_N_ARENAS] = {DL_STORE_PARAMETER, DL_STORE_FROZEN,
                                                       DL_STORE_STATISTICS};
    const dl_parameter_table *table = &l->plan->options.model->table;
    for (int i = 0; i < table->n; i++) {
        const dl_parameter *p = &table->parameter[i];
        const dl_state_tensor box = parameter_box(l, i, l->plan->memory[storage_of[dl_parameter_arena(p)]]);
        DL_RETURN_IF_ERROR(add(l, &box, p->statistic ? "/state/statistics/%s/%s%s" : "/parameters/%s/%s%s",
                               p->layer, p->tensor, ""));
    }
    return DL_OK;
}

/* An arena of one number for each trainable element. */
static dl_status add_arena(lister *l, const char *prefix, char *arena) {
    const dl_parameter_table *table = &l->plan->options.model->table;
    for (int i = 0; i < table->n && table->parameter[i].trainable; i++) {
        const dl_state_tensor box = parameter_box(l, i, arena);
        DL_RETURN_IF_ERROR(
            add(l, &box, "%s/%s/%s", prefix, table->parameter[i].layer, table->parameter[i].tensor));
    }
    return DL_OK;
}

static dl_status add_optimizer(lister *l) {
    const dl_plan *plan = l->plan;
    const size_t arena = (size_t)plan->options.model->table.trainable_elements * sizeof(float);
    for (int i = 0; i < plan->options.update.n_states; i++) {
        char *prefix = NULL;
        DL_RETURN_IF_ERROR(
            dl_pool_printf(l->state->pool, &prefix, "/optimizer/%s",
                           dl_optimizer_slot_at(&l->session->config->train.optimizer, i)->name));
        DL_RETURN_IF_ERROR(
            add_arena(l, prefix, (char *)plan->memory[DL_STORE_OPTIMIZER] + (size_t)i * arena));
    }
    return DL_OK;
}

/* What training carries from batch to batch: a row for each row of the global batch. */
static dl_status add_carried(lister *l) {
    const dl_model *model = l->plan->options.model;
    for (int v = 0; v < model->n_values; v++) {
        dl_carried carried;
        if (!dl_plan_carried(l->plan, v, &carried)) {
            continue;
        }
        dl_state_tensor tensor = {.box = {.dtype = DL_F32, .whole = carried.shape, .shape = carried.shape},
                                  .device = carried.device,
                                  .n_holders = l->partition == NULL ? 1 : l->partition->size,
                                  .holder = l->partition == NULL ? 0 : l->partition->index};
        tensor.box.offset[0] = carried.rows.begin;
        tensor.box.shape.dim[0] = carried.rows.end - carried.rows.begin;
        DL_RETURN_IF_ERROR(add(l, &tensor, "/state/carried/%s%s%s", model->value[v].name, "", ""));
    }
    return DL_OK;
}

static dl_status list(lister *l) {
    DL_RETURN_IF_ERROR(add_parameters(l));
    DL_RETURN_IF_ERROR(add_optimizer(l));
    if (l->plan->options.ema_decay > 0) {
        DL_RETURN_IF_ERROR(
            add_arena(l, "/state/averaged", (char *)l->plan->memory[DL_STORE_STATE] + DL_EMA_OFFSET));
    }
    const dl_state_tensor seen = {.box = {.dtype = DL_F64, .whole = DL_SHAPE(1), .shape = DL_SHAPE(1)},
                                  .device = l->plan->memory[DL_STORE_STATE],
                                  .n_holders = l->session->world->size,
                                  .holder = l->session->world->rank};
    DL_RETURN_IF_ERROR(add(l, &seen, "/state/samples_seen%s%s%s", "", "", ""));
    if (dl_plan_scales(l->plan)) {
        dl_state_tensor scale = seen;
        scale.box.whole = scale.box.shape = DL_SHAPE(DL_N_SCALES);
        scale.device = (char *)l->plan->memory[DL_STORE_STATE] + dl_loss_scale_offset(l->plan);
        DL_RETURN_IF_ERROR(add(l, &scale, "/state/loss_scale%s%s%s", "", "", ""));
    }
    return add_carried(l);
}

dl_status dl_state_create(const dl_session *session, dl_state **out) {
    dl_state *state = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *state, &state));
    const dl_axis *data = &session->grid->axis[DL_AXIS_DATA];
    lister l = {.state = state,
                .session = session,
                .plan = session->plan,
                .partition = session->plan->options.partition,
                .data_ranks = data->size,
                .data_rank = data->index};
    dl_status status = dl_pool_create(&state->pool);
    if (status == DL_OK) {
        status = list(&l);
    }
    if (status != DL_OK) {
        dl_state_destroy(&state);
        return status;
    }
    *out = state;
    return DL_OK;
}

void dl_state_destroy(dl_state **state) {
    if (*state == NULL) {
        return;
    }
    dl_free(&(*state)->tensor);
    dl_pool_destroy(&(*state)->pool);
    dl_free(state);
}

size_t dl_state_slice_bytes(const dl_checkpoint_slice *slice) {
    return (size_t)dl_shape_elements(&slice->shape) * dl_dtype_bytes(slice->dtype);
}

/* --- who writes what --- */

int dl_state_slices(const dl_state *state, dl_checkpoint_slice *slices, char **device) {
    int n = 0;
    for (int i = 0; i < state->n; i++) {
        const dl_state_tensor *tensor = &state->tensor[i];
        const int64_t rows = tensor->box.shape.dim[0];
        const size_t n_bytes = dl_state_slice_bytes(&tensor->box);
        dl_range mine = {0, rows};
        if (n_bytes >= SHARED_BYTES && rows >= tensor->n_holders) {
            mine = dl_range_part(rows, tensor->n_holders, tensor->holder);
        } else if (i % tensor->n_holders != tensor->holder) {
            continue;
        }
        if (mine.end == mine.begin) {
            continue;
        }
        slices[n] = tensor->box;
        slices[n].offset[0] += mine.begin;
        slices[n].shape.dim[0] = mine.end - mine.begin;
        device[n++] = tensor->device + n_bytes / (size_t)rows * (size_t)mine.begin;
    }
    return n;
}

/* --- loading --- */

static dl_status check_tensor(const dl_state *state, int i, const dl_checkpoint *checkpoint) {
    const dl_checkpoint_slice *box = &state->tensor[i].box;
    const int found = dl_checkpoint_find(checkpoint, box->name);
    DL_RETURN_ERROR_IF(found < 0, DL_ERR_USAGE, "the checkpoint has no %s", box->name);
    const dl_checkpoint_tensor have = dl_checkpoint_tensor_at(checkpoint, found);
    char a[DL_SHAPE_TEXT_BYTES], b[DL_SHAPE_TEXT_BYTES];
    DL_RETURN_ERROR_IF(have.dtype != box->dtype || !dl_shape_equal(&have.shape, &box->whole), DL_ERR_USAGE,
                       "%s is %s %s in the checkpoint, but %s %s here", box->name, dl_dtype_name(have.dtype),
                       dl_shape_text(&have.shape, a), dl_dtype_name(box->dtype),
                       dl_shape_text(&box->whole, b));
    return DL_OK;
}

/* All that is here is there, and nothing else is. */
static dl_status check_names(const dl_state *state, const dl_checkpoint *checkpoint) {
    for (int i = 0; i < state->n; i++) {
        DL_RETURN_IF_ERROR(check_tensor(state, i, checkpoint));
    }
    for (int k = 0; k < dl_checkpoint_n_tensors(checkpoint); k++) {
        const char *name = dl_checkpoint_tensor_at(checkpoint, k).name;
        int i = 0;
        while (i < state->n && strcmp(state->tensor[i].box.name, name) != 0) {
            i++;
        }
        DL_RETURN_ERROR_IF(i == state->n, DL_ERR_USAGE, "the checkpoint has %s, which this run does not",
                           name);
    }
    return DL_OK;
}

static dl_status read_all(const dl_state *state, dl_checkpoint *checkpoint, char *bytes) {
    for (int i = 0; i < state->n; i++) {
        const dl_checkpoint_slice *box = &state->tensor[i].box;
        if (dl_state_slice_bytes(box) > 0) {
            DL_RETURN_IF_ERROR(dl_checkpoint_read(checkpoint, dl_checkpoint_find(checkpoint, box->name),
                                                  box->offset, &box->shape, bytes));
        }
        bytes += dl_state_slice_bytes(box);
    }
    return DL_OK;
}

dl_status dl_state_load(const dl_state *state, dl_session *session, dl_checkpoint *checkpoint) {
    char *bytes = NULL;
    size_t n_bytes = 0;
    DL_RETURN_IF_ERROR(check_names(state, checkpoint));
    for (int i = 0; i < state->n; i++) {
        n_bytes += dl_state_slice_bytes(&state->tensor[i].box);
    }
    DL_RETURN_IF_ERROR(dl_alloc(n_bytes, 1, &bytes));
    dl_status status = read_all(state, checkpoint, bytes);
    const char *from = bytes;
    for (int i = 0; i < state->n && status == DL_OK; i++) {
        const size_t each = dl_state_slice_bytes(&state->tensor[i].box);
        status = each == 0 ? DL_OK
                           : session->device->backend->upload(session->device, state->tensor[i].device, from,
                                                              each, NULL);
        from += each;
    }
    dl_free(&bytes);
    return status == DL_OK ? dl_session_refresh(session) : status;
}
