/* Parameters of a session: between the host, where they are whole, and the device. */
#include "train/session_parts.h"

#include "train/batches.h"
#include "train/weights.h"

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

dl_status dl_session_read_control(const dl_session *session, int number, double totals[DL_N_TOTALS],
                                  int32_t control[DL_N_CONTROLS]) {
    const dl_program *program = session->plan->program[number];
    const dl_backend *backend = session->device->backend;
    DL_RETURN_IF_ERROR(backend->download(session->device, totals,
                                         dl_slot_address(session->plan, program, program->totals),
                                         DL_N_TOTALS * sizeof *totals, NULL));
    return backend->download(session->device, control,
                             dl_slot_address(session->plan, program, program->control),
                             DL_N_CONTROLS * sizeof *control, NULL);
}

dl_status dl_session_read_norm(const dl_session *session, int number, double *norm, bool *measured) {
    const dl_program *program = session->plan->program[number];
    double norms[DL_N_NORMS];
    *measured = program->norm >= 0;
    if (!*measured) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(session->device->backend->download(
        session->device, norms, dl_slot_address(session->plan, program, program->norm), sizeof norms, NULL));
    *norm = norms[DL_NORM_VALUE];
    return DL_OK;
}

size_t dl_session_host_bytes(const dl_session *session) {
    const dl_parameter_table *table = &session->model->table;
    int64_t elements = session->plan->options.ema_decay > 0 ? table->trainable_elements : 0;
    for (int i = 0; i < DL_N_ARENAS; i++) {
        elements += dl_arena_elements(table, (dl_arena)i);
    }
    return (size_t)elements * sizeof(float) + dl_shares_host_bytes(session) + dl_batches_bytes(session);
}
