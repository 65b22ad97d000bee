#include "train/session_parts.h"

#include "train/splits.h"
#include "train/views.h"

#include <stdio.h>
#include <string.h>

static dl_status open_device(dl_session *session, const dl_session_options *given) {
    static const char *const names[] = {[DL_BACKEND_REF] = "ref",
                                        [DL_BACKEND_REF_STRICT] = "ref:strict",
                                        [DL_BACKEND_CPU] = "cpu",
                                        [DL_BACKEND_CUDA] = "cuda"};
    const dl_backend *backend = NULL;
    if (session->config->backend == DL_BACKEND_AUTO) {
        backend = dl_backend_auto(session->why_cpu, sizeof session->why_cpu);
    } else {
        DL_RETURN_IF_ERROR(dl_backend_open(names[session->config->backend], &backend));
    }
    const dl_config *config = session->config;
    const dl_device_options options = {.n_threads = session->n_threads,
                                       .index = given->gpu,
                                       .deterministic = config->reproducible,
                                       .tf32 = strcmp(dl_config_precisions[config->precision], "tf32") == 0};
    return dl_device_open(backend, &options, &session->device);
}

static void count_steps(dl_session *session) {
    const dl_train_config *train = &session->config->train;
    session->steps_per_epoch = session->view_info[DL_SPLIT_TRAIN].n_batches;
    session->total_steps = session->steps_per_epoch * train->epochs;
    if (train->max_steps > 0 && train->max_steps < session->total_steps) {
        session->total_steps = train->max_steps;
    }
}

void dl_session_axes(const dl_session *session, int sizes[DL_N_AXES]) {
    const dl_parallel_config *parallel = &session->config->parallel;
    sizes[DL_AXIS_DATA] = parallel->data == DL_WORD(0) ? 0 : (int)parallel->data;
    sizes[DL_AXIS_TENSOR] = (int)parallel->tensor;
    sizes[DL_AXIS_PIPELINE] = (int)parallel->pipeline;
}

/* --- opening --- */

/* Told before anything is opened. */
static dl_status check_grid(const dl_session *session) {
    int sizes[DL_N_AXES], whole[DL_N_AXES];
    dl_session_axes(session, sizes);
    return dl_comm_agree(session->world, dl_grid_complete(session->world->size, sizes, whole), NULL);
}

/* Over the memory that the device has: all ranks need the same kind. */
static dl_status make_grid(dl_session *session, const dl_session_options *options) {
    const dl_backend *backend = session->device->backend;
    int sizes[DL_N_AXES];
    char text[64];
    (void)snprintf(text, sizeof text, "backend: %s\n", backend->name);
    DL_RETURN_IF_ERROR(dl_comm_compare(session->world, "devices", text));
    if (backend->own_memory && options->join != NULL) {
        DL_RETURN_IF_ERROR(options->join(session->world, session->device, &session->joined));
    }
    dl_session_axes(session, sizes);
    return dl_grid_create(session->joined != NULL ? session->joined : session->world, sizes, &session->grid);
}

/* Ranks must agree on data and parameters before anything is computed. */
static dl_status compare_ranks(dl_session *session) {
    dl_text text = {0};
    const dl_parameter_table *table = &session->model->table;
    dl_status status = dl_text_append(&text, "backend: %s\ndata: %s\n", session->device->backend->name,
                                      session->train_info.digest);
    for (int i = 0; i < table->n && status == DL_OK; i++) {
        char shape[DL_SHAPE_TEXT_BYTES];
        status = dl_text_append(&text, "parameter %s: %s at %lld in bucket %d\n", table->parameter[i].path,
                                dl_shape_text(&table->parameter[i].shape, shape),
                                (long long)table->parameter[i].offset, table->parameter[i].bucket);
    }
    if (status == DL_OK) {
        status = dl_text_append(&text, "collectives a step: %d\n", table->n_buckets + 2);
        status = status == DL_OK ? dl_comm_compare(session->world, "data and parameters", text.data) : status;
    }
    dl_text_free(&text);
    return status;
}

/* What can fail on one rank alone; the others hear of it in the agreement behind it. */
static dl_status open_local(dl_session *session, const dl_session_options *options) {
    DL_RETURN_IF_ERROR(dl_splits_open(session, options));
    DL_RETURN_IF_ERROR(dl_session_build_model(session, options->diagnostics));
    if (options->generate) {
        DL_RETURN_IF_ERROR(dl_session_build_for_text(session, options->diagnostics));
    }
    const dl_grid *grid = session->grid;
    DL_RETURN_IF_ERROR(dl_shares_create(session, (int)session->config->parallel.tensor,
                                        grid == NULL ? 0 : grid->axis[DL_AXIS_TENSOR].index,
                                        options->diagnostics));
    DL_RETURN_IF_ERROR(dl_session_check_division(session, options));
    DL_RETURN_IF_ERROR(dl_views_open(session));
    count_steps(session);
    return DL_OK;
}

/* A model that does not fit the data set to be made is told before the data set is made. */
static dl_status try_model(dl_session *session, const dl_session_options *options) {
    const dl_maker *maker = dl_maker_find(dl_config_makers[session->config->data.make]);
    if (maker == NULL || dl_dataset_exists(session->config->data.path, "train")) {
        return DL_OK;
    }
    session->train_info = maker->train;
    DL_RETURN_IF_ERROR(dl_session_build_model(session, options->diagnostics));
    dl_model_destroy(&session->model);
    return DL_OK;
}

static dl_status open_all(dl_session *session, const dl_session_options *options) {
    const bool dry = options->world == NULL;
    if (dry) {
        DL_RETURN_IF_ERROR(open_device(session, options));
        DL_RETURN_IF_ERROR(open_local(session, options));
        return dl_session_make_plan(session, options);
    }
    int failed = -1;
    DL_RETURN_IF_ERROR(check_grid(session));
    /* before data is made, which may take long */
    DL_RETURN_IF_ERROR(dl_comm_agree(session->world, open_device(session, options), &failed));
    DL_RETURN_IF_ERROR(make_grid(session, options));
    DL_RETURN_IF_ERROR(dl_comm_agree(session->world, try_model(session, options), &failed));
    DL_RETURN_IF_ERROR(dl_splits_make(session, options));
    DL_RETURN_IF_ERROR(dl_comm_agree(session->world, open_local(session, options), &failed));
    DL_RETURN_IF_ERROR(compare_ranks(session));
    DL_RETURN_IF_ERROR(dl_session_make_plan(session, options));
    return dl_comm_agree(session->world, dl_session_take_host_arenas(session), &failed);
}

dl_status dl_session_open(const dl_session_options *options, dl_session **out) {
    dl_session *session = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *session, &session));
    session->config = options->config;
    session->world = options->world;
    session->n_threads = options->n_threads;
    session->trains = options->training && !options->synthetic; /* bench saves nothing */
    *out = session;
    DL_RETURN_IF_ERROR(dl_pool_create(&session->pool));
    return open_all(session, options);
}

void dl_session_close(dl_session **session) {
    if (*session == NULL) {
        return;
    }
    dl_plan_destroy(&(*session)->plan);
    dl_shares_destroy(&(*session)->shares);
    dl_model_destroy(&(*session)->model);
    dl_views_close(*session);
    dl_dataset_close(&(*session)->train_files);
    dl_dataset_close(&(*session)->valid_files);
    dl_dataset_close(&(*session)->test_files);
    dl_grid_destroy(&(*session)->grid);
    dl_comm_destroy(&(*session)->joined);
    dl_device_close(&(*session)->device);
    for (int i = 0; i < DL_N_ARENAS; i++) {
        dl_free(&(*session)->host.of[i]);
    }
    dl_free(&(*session)->averaged);
    dl_pool_destroy(&(*session)->pool);
    dl_free(session);
}
