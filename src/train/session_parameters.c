/* Parameters of a session: between the host, where they are whole, and the device. */
#include "train/session_parts.h"

#include "train/batches.h"
#include "train/weights.h"

#include <stdio.h>
#include <string.h>

dl_status dl_session_take_host_arenas(dl_session *session) {
    const dl_parameter_table *table = &session->model->table;
    for (int i = 0; i < DL_N_ARENAS; i++) {
        DL_RETURN_IF_ERROR(
            dl_alloc((size_t)dl_arena_elements(table, (dl_arena)i), sizeof(float), &session->host.of[i]));
    }
    if (session->plan->options.ema_decay > 0) {
        DL_RETURN_IF_ERROR(dl_alloc((size_t)table->trainable_elements, sizeof(float), &session->averaged));
    }
    return dl_shares_take_host_arenas(session);
}

/* The plan's storage of each arena. */
static const dl_storage storage_of[DL_N_ARENAS] = {DL_STORE_PARAMETER, DL_STORE_FROZEN, DL_STORE_STATISTICS};

/* The averaged parameters on the device. */
static void *averages(const dl_session *session) {
    return (char *)session->plan->memory[DL_STORE_STATE] + DL_EMA_OFFSET;
}

/* Puts an arena of the whole model on the device, as far as this rank has it. */
static dl_status upload_arena(dl_session *session, dl_arena arena, const float *whole, void *to) {
    const size_t n_bytes = session->plan->bytes[storage_of[arena]];
    return n_bytes == 0 ? DL_OK
                        : session->device->backend->upload(
                              session->device, to, dl_shares_cut(session, arena, whole), n_bytes, NULL);
}

/* Collective over the tensor axis. */
static dl_status download_arena(dl_session *session, dl_arena arena, const void *from, float *whole) {
    const size_t n_bytes = session->plan->bytes[storage_of[arena]];
    if (n_bytes > 0) {
        DL_RETURN_IF_ERROR(session->device->backend->download(
            session->device, dl_shares_place(session, arena, whole), from, n_bytes, NULL));
    }
    return dl_shares_gather(session, arena, whole);
}

static dl_status upload_parameters(dl_session *session) {
    for (int i = 0; i < DL_N_ARENAS; i++) {
        DL_RETURN_IF_ERROR(
            upload_arena(session, (dl_arena)i, session->host.of[i], session->plan->memory[storage_of[i]]));
    }
    if (session->averaged != NULL) {
        DL_RETURN_IF_ERROR(upload_arena(session, DL_ARENA_TRAINABLE, session->host.of[DL_ARENA_TRAINABLE],
                                        averages(session)));
    }
    return dl_session_refresh(session);
}

dl_status dl_session_init_parameters(dl_session *session) {
    DL_RETURN_IF_ERROR(
        dl_parameters_init(&session->model->table, (uint64_t)session->config->seed, &session->host));
    return upload_parameters(session);
}

dl_status dl_session_read_weights(dl_session *session, const char *path) {
    DL_RETURN_IF_ERROR(dl_weights_read(path, &session->model->table, &session->host, NULL));
    return upload_parameters(session);
}

/* --- from a checkpoint --- */

/* The tensor of a checkpoint that is this parameter: its average where there is one. */
static dl_status find_in_checkpoint(const dl_checkpoint *checkpoint, const dl_parameter *p, int *index) {
    static const char *const folders[] = {"/state/averaged", "/parameters", "/state/statistics"};
    char name[DL_CHECKPOINT_NAME_BYTES], have[DL_SHAPE_TEXT_BYTES], wanted[DL_SHAPE_TEXT_BYTES];
    *index = -1;
    for (size_t i = 0; i < sizeof folders / sizeof *folders && *index < 0; i++) {
        const int n = snprintf(name, sizeof name, "%s/%s/%s", folders[i], p->layer, p->tensor);
        *index = n > 0 && (size_t)n < sizeof name ? dl_checkpoint_find(checkpoint, name) : -1;
    }
    DL_RETURN_ERROR_IF(*index < 0, DL_ERR_USAGE,
                       "the checkpoint does not fit the model: it lacks %s. Use the model that it was made "
                       "with",
                       p->path);
    const dl_checkpoint_tensor tensor = dl_checkpoint_tensor_at(checkpoint, *index);
    DL_RETURN_ERROR_IF(tensor.dtype != DL_F32 || !dl_shape_equal(&tensor.shape, &p->shape), DL_ERR_USAGE,
                       "the checkpoint does not fit the model: %s is %s %s in it, the model wants float32 %s",
                       tensor.name, dl_dtype_name(tensor.dtype), dl_shape_text(&tensor.shape, have),
                       dl_shape_text(&p->shape, wanted));
    return DL_OK;
}

/* Parameters in it that the model does not have: another model's. */
static dl_status refuse_surplus(const dl_checkpoint *checkpoint, const dl_parameter_table *table) {
    static const char folder[] = "/parameters";
    for (int i = 0; i < dl_checkpoint_n_tensors(checkpoint); i++) {
        const char *name = dl_checkpoint_tensor_at(checkpoint, i).name;
        const bool parameter = strncmp(name, folder, strlen(folder)) == 0 && name[strlen(folder)] == '/';
        DL_RETURN_ERROR_IF(
            parameter && dl_parameter_find(table, name + strlen(folder)) == NULL, DL_ERR_USAGE,
            "the checkpoint does not fit the model, which has no %s. Use the model that it was "
            "made with",
            name + strlen(folder));
    }
    return DL_OK;
}

dl_status dl_session_read_checkpoint(dl_session *session, dl_checkpoint *checkpoint) {
    const dl_parameter_table *table = &session->model->table;
    const int64_t origin[DL_MAX_DIMS] = {0};
    int index = -1;
    DL_RETURN_IF_ERROR(refuse_surplus(checkpoint, table));
    for (int i = 0; i < table->n; i++) {
        DL_RETURN_IF_ERROR(find_in_checkpoint(checkpoint, &table->parameter[i], &index));
    }
    for (int i = 0; i < table->n; i++) {
        const dl_parameter *p = &table->parameter[i];
        DL_RETURN_IF_ERROR(find_in_checkpoint(checkpoint, p, &index));
        DL_RETURN_IF_ERROR(
            dl_checkpoint_read(checkpoint, index, origin, &p->shape, dl_parameter_data(p, &session->host)));
    }
    return upload_parameters(session);
}

void dl_session_release_host(dl_session *session) {
    for (int i = 0; i < DL_N_ARENAS; i++) {
        dl_free(&session->host.of[i]);
    }
}

dl_status dl_session_fetch_parameters(dl_session *session) {
    for (int i = 0; i < DL_N_ARENAS; i++) {
        DL_RETURN_IF_ERROR(
            download_arena(session, (dl_arena)i, session->plan->memory[storage_of[i]], session->host.of[i]));
    }
    return session->averaged == NULL
               ? DL_OK
               : download_arena(session, DL_ARENA_TRAINABLE, averages(session), session->averaged);
}

dl_status dl_session_refresh(dl_session *session) {
    int refresh = -1;
    DL_RETURN_IF_ERROR(dl_plan_add(session->plan, DL_PROGRAM_REFRESH, 0, &refresh));
    return dl_execute(session->plan, refresh, NULL);
}

size_t dl_session_host_bytes(const dl_session *session) {
    const dl_parameter_table *table = &session->model->table;
    int64_t elements = session->plan->options.ema_decay > 0 ? table->trainable_elements : 0;
    for (int i = 0; i < DL_N_ARENAS; i++) {
        elements += dl_arena_elements(table, (dl_arena)i);
    }
    return (size_t)elements * sizeof(float) + dl_shares_host_bytes(session) + dl_batches_bytes(session);
}
