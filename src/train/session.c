#include "train/session.h"

#include "model/scoring.h"
#include "optim/optim.h"
#include "train/batches.h"
#include "train/splits.h"
#include "train/views.h"
#include "train/weights.h"

#include <string.h>

enum { FIELD_X, FIELD_Y };

/* --- device --- */

static dl_status open_device(dl_session *session) {
    static const char *const names[] = {[DL_BACKEND_AUTO] = "cpu",
                                        [DL_BACKEND_REF] = "ref",
                                        [DL_BACKEND_REF_STRICT] = "ref:strict",
                                        [DL_BACKEND_CPU] = "cpu",
                                        [DL_BACKEND_CUDA] = "cuda"};
    const char *name = names[session->config->backend];
    const dl_backend *backend = dl_backend_find(name);
    DL_RETURN_ERROR_IF(backend == NULL, DL_ERR_USAGE,
                       "backend %s is not part of this build; use backend: auto, cpu or ref", name);
    const dl_device_options options = {.n_threads = session->n_threads};
    return dl_device_open(backend, &options, &session->device);
}

/* --- model --- */

/* The input as the config wants it: a first dimension that is left open is the data set's. */
static dl_shape input_shape(const dl_session *session, bool ragged) {
    const dl_int_list *wanted = &session->config->model.input.shape;
    const dl_field *x = &session->train_info.field[FIELD_X];
    dl_shape shape = {.n_dims = wanted->n};
    memcpy(shape.dim, wanted->value, (size_t)wanted->n * sizeof *wanted->value);
    if (dl_config_is_open(shape.dim[0])) {
        const int64_t fixed = x->sample_shape.n_dims > 0 ? x->sample_shape.dim[0] : 1;
        const int64_t longest = dl_views_max_length(session);
        shape.dim[0] = ragged && longest > 0 ? longest : fixed;
    }
    if (session->one_position) {
        shape.dim[0] = 1;
    }
    return shape;
}

/* Does the data set hold what the config says: tokens, samples of one shape or of different lengths? */
static dl_status check_kind_of_input(const dl_session *session, dl_diagnostics *diagnostics) {
    const dl_input_config *input = &session->config->model.input;
    const dl_field_kind kind = session->train_info.field[FIELD_X].kind;
    const bool tokens = input->dtype != 0;
    if (tokens != (kind == DL_FIELD_TOKENS)) {
        return dl_diagnose(diagnostics, session->config->input_place,
                           tokens ? "dtype is tokens, but the data set in '%s' holds no text"
                                  : "the data set in '%s' holds a text; write dtype: tokens beside the shape",
                           session->config->data.path);
    }
    if (kind == DL_FIELD_RAGGED && !dl_config_is_open(input->shape.value[0])) {
        return dl_diagnose(diagnostics, session->config->input_place,
                           "the samples of the data set in '%s' have different lengths; write null for the "
                           "first number of the shape",
                           session->config->data.path);
    }
    return DL_OK;
}

static dl_status build_model(dl_session *session, dl_diagnostics *diagnostics) {
    const dl_config *config = session->config;
    const dl_field *x = &session->train_info.field[FIELD_X];
    const char *metrics[DL_MAX_LIST];
    for (int i = 0; i < config->train.metrics.n; i++) {
        metrics[i] = dl_metric_at(config->train.metrics.value[i])->variant.name;
    }
    const dl_field *y = &session->train_info.field[FIELD_Y];
    const bool ragged = x->kind == DL_FIELD_RAGGED;
    dl_model_data data = {.sample_shape = x->sample_shape,
                          .dtype = x->dtype,
                          .n_classes = session->train_info.n_classes,
                          .n_normalize = config->data.mean.n,
                          .mean = config->data.mean.value,
                          .std = config->data.std.value,
                          .has_target = !session->data_unknown && session->train_info.n_fields > FIELD_Y,
                          .target_dtype = y->dtype,
                          .target_shape = y->sample_shape};
    dl_model_options options = {.input_shape = input_shape(session, ragged),
                                .tokens = config->model.input.dtype != 0,
                                .any_length = ragged,
                                .layers = config->model.layers,
                                .augment = config->data.augment,
                                .freeze = config->model.freeze,
                                .place = config->model_place,
                                .input_place = config->input_place,
                                .data = &data,
                                .seed = (uint64_t)config->seed,
                                .loss = dl_loss_at(config->train.loss),
                                .loss_place = config->places.loss,
                                .label_smoothing = config->train.label_smoothing,
                                .n_metrics = config->train.metrics.n,
                                .metrics = metrics};
    DL_RETURN_IF_ERROR(check_kind_of_input(session, diagnostics));
    if (x->kind == DL_FIELD_TOKENS) {
        data.sample_shape = options.input_shape; /* a window is what the model wants it to be */
    } else if (ragged) {
        memmove(data.sample_shape.dim + 1, data.sample_shape.dim, (DL_MAX_DIMS - 1) * sizeof(int64_t));
        data.sample_shape.dim[0] = options.input_shape.dim[0];
        data.sample_shape.n_dims++;
    }
    return dl_model_build(&options, diagnostics, &session->model);
}

/* Where a state carries all that came before, text is generated position by position. */
static dl_status build_for_text(dl_session *session, dl_diagnostics *diagnostics) {
    if (dl_model_context(session->model) != DL_CONTEXT_CARRIED) {
        return DL_OK;
    }
    dl_model_destroy(&session->model);
    session->one_position = true;
    return build_model(session, diagnostics);
}

/* --- programs --- */

static dl_status add_split(dl_session *session, dl_program_kind kind, dl_split split) {
    const dl_view_info *info = &session->view_info[split];
    for (int i = 0; i < info->n_shapes; i++) {
        const int64_t length = dl_views_program_length(session, info->shape[i].length);
        int program = -1;
        DL_RETURN_IF_ERROR(
            dl_plan_add_length(session->plan, kind, info->shape[i].n_samples, length, &program));
    }
    return DL_OK;
}

static dl_status add_programs(dl_session *session, const dl_session_options *options) {
    session->train_full = session->generate = -1;
    if (options->generate) {
        return dl_plan_add(session->plan, DL_PROGRAM_EVALUATE, 1, &session->generate);
    }
    if (options->training) {
        const int64_t longest = dl_views_program_length(session, dl_views_max_length(session));
        DL_RETURN_IF_ERROR(dl_plan_add_length(session->plan, DL_PROGRAM_TRAIN,
                                              session->config->train.batch_size, longest,
                                              &session->train_full));
        DL_RETURN_IF_ERROR(add_split(session, DL_PROGRAM_TRAIN, DL_SPLIT_TRAIN));
    }
    DL_RETURN_IF_ERROR(add_split(session, DL_PROGRAM_EVALUATE, DL_SPLIT_VALID));
    return add_split(session, DL_PROGRAM_EVALUATE, DL_SPLIT_TEST);
}

/* What batch normalization does to a batch cannot be divided in every way. */
static dl_status check_statistics(const dl_session *session) {
    const dl_model *model = session->model;
    for (int i = 0; i < model->n_ops && session->config->reproducible; i++) {
        const dl_model_op *op = &model->op[i];
        if (op->kind != DL_OP_BATCH_NORM_SUMS) {
            continue;
        }
        const char *name = model->layer[op->layer].name;
        DL_RETURN_ERROR_IF(
            session->config->train.accumulate > 1, DL_ERR_USAGE,
            "reproducible: true makes the statistics of batch_normalization '%s' over the whole batch, "
            "which micro-batches do not have; use accumulate: 1",
            name);
        DL_RETURN_ERROR_IF(
            op->attr.u.norm.group > 0, DL_ERR_USAGE,
            "reproducible: true makes the statistics of batch_normalization '%s' over the whole batch, "
            "not groups of %lld; leave `statistics` out",
            name, (long long)op->attr.u.norm.group);
    }
    return DL_OK;
}

static dl_status make_plan(dl_session *session, const dl_session_options *options) {
    const dl_config *config = session->config;
    const bool dry = options->world == NULL;
    const dl_view_info *train = &session->view_info[DL_SPLIT_TRAIN];
    const char **fields = NULL;
    DL_RETURN_IF_ERROR(dl_pool_alloc(session->pool, (size_t)train->n_fields, sizeof *fields, &fields));
    for (int i = 0; i < train->n_fields; i++) {
        fields[i] = train->field[i].name;
    }
    dl_plan_options plan = {.model = session->model,
                            .device = session->device,
                            .grid = session->grid,
                            .n_ranks = dry ? options->n_ranks : session->grid->axis[DL_AXIS_DATA].size,
                            .rank = dry ? 0 : session->grid->axis[DL_AXIS_DATA].index,
                            .batch_size = config->train.batch_size,
                            .accumulate = (int)config->train.accumulate,
                            .reproducible = config->reproducible,
                            .measure = !config->reproducible && !options->generate,
                            .fuse = true,
                            .predict = options->predict || options->generate,
                            .n_fields = train->n_fields,
                            .fields = fields};
    DL_RETURN_ERROR_IF(
        config->reproducible && !dl_pieces_fit(plan.n_ranks, plan.accumulate), DL_ERR_USAGE,
        "reproducible: true divides a batch into %d pieces, which %d ranks with accumulate: %d cannot "
        "share; use ranks x accumulate <= %d",
        DL_PIECES, plan.n_ranks, plan.accumulate, DL_PIECES);
    DL_RETURN_IF_ERROR(check_statistics(session));
    dl_op_desc update;
    DL_RETURN_IF_ERROR(dl_optimizer_describe(&config->train.optimizer,
                                             (double)(config->train.batch_size * session->model->output.rows),
                                             1, &update));
    plan.update = (dl_update_rule){
        .kind = update.kind, .attr = update.attr, .n_states = dl_optimizer_slots(&config->train.optimizer)};
    for (int i = 0; i < plan.update.n_states; i++) {
        plan.update.state[i] = dl_optimizer_slot_at(&config->train.optimizer, i)->op_slot;
    }
    plan.clip_norm = config->train.clip_norm;
    plan.ema_decay = options->training ? config->train.ema_decay : 0;
    DL_RETURN_IF_ERROR(dl_plan_create(&plan, &session->plan));
    DL_RETURN_IF_ERROR(add_programs(session, options));
    DL_RETURN_IF_ERROR(dl_plan_seal(session->plan));
    return dry ? DL_OK : dl_plan_finish(session->plan);
}

static void count_steps(dl_session *session) {
    const dl_train_config *train = &session->config->train;
    session->steps_per_epoch = session->view_info[DL_SPLIT_TRAIN].n_batches;
    session->total_steps = session->steps_per_epoch * train->epochs;
    if (train->max_steps > 0 && train->max_steps < session->total_steps) {
        session->total_steps = train->max_steps;
    }
}

static dl_status take_host_arenas(dl_session *session) {
    const dl_parameter_table *table = &session->model->table;
    for (int i = 0; i < DL_N_ARENAS; i++) {
        DL_RETURN_IF_ERROR(
            dl_alloc((size_t)dl_arena_elements(table, (dl_arena)i), sizeof(float), &session->host.of[i]));
    }
    if (session->plan->options.ema_decay > 0) {
        DL_RETURN_IF_ERROR(dl_alloc((size_t)table->trainable_elements, sizeof(float), &session->averaged));
    }
    return DL_OK;
}

/* --- opening --- */

static dl_status make_grid(dl_session *session) {
    const dl_parallel_config *parallel = &session->config->parallel;
    const int sizes[DL_N_AXES] = {parallel->data == DL_WORD(0) ? 0 : (int)parallel->data,
                                  (int)parallel->tensor, (int)parallel->pipeline};
    return dl_grid_create(session->world, sizes, &session->grid);
}

/* Ranks must agree on data and parameters before anything is computed. */
static dl_status compare_ranks(dl_session *session) {
    dl_text text = {0};
    const dl_parameter_table *table = &session->model->table;
    dl_status status = dl_text_append(&text, "data: %s\n", session->train_info.digest);
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
    DL_RETURN_IF_ERROR(build_model(session, options->diagnostics));
    if (options->generate) {
        DL_RETURN_IF_ERROR(build_for_text(session, options->diagnostics));
    }
    DL_RETURN_IF_ERROR(dl_views_open(session));
    count_steps(session);
    return open_device(session);
}

/* A model that does not fit the data set to be made is told before the data set is made. */
static dl_status try_model(dl_session *session, const dl_session_options *options) {
    const dl_maker *maker = dl_maker_find(dl_config_makers[session->config->data.make]);
    if (maker == NULL || dl_dataset_exists(session->config->data.path, "train")) {
        return DL_OK;
    }
    session->train_info = maker->train;
    DL_RETURN_IF_ERROR(build_model(session, options->diagnostics));
    dl_model_destroy(&session->model);
    return DL_OK;
}

static dl_status open_all(dl_session *session, const dl_session_options *options) {
    const bool dry = options->world == NULL;
    if (dry) {
        DL_RETURN_IF_ERROR(open_local(session, options));
        return make_plan(session, options);
    }
    int failed = -1;
    DL_RETURN_IF_ERROR(make_grid(session));
    DL_RETURN_IF_ERROR(dl_comm_agree(session->world, try_model(session, options), &failed));
    DL_RETURN_IF_ERROR(dl_splits_make(session, options));
    DL_RETURN_IF_ERROR(dl_comm_agree(session->world, open_local(session, options), &failed));
    DL_RETURN_IF_ERROR(compare_ranks(session));
    DL_RETURN_IF_ERROR(make_plan(session, options));
    return dl_comm_agree(session->world, take_host_arenas(session), &failed);
}

dl_status dl_session_open(const dl_session_options *options, dl_session **out) {
    dl_session *session = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *session, &session));
    session->config = options->config;
    session->world = options->world;
    session->n_threads = options->n_threads;
    *out = session;
    DL_RETURN_IF_ERROR(dl_pool_create(&session->pool));
    return open_all(session, options);
}

void dl_session_close(dl_session **session) {
    if (*session == NULL) {
        return;
    }
    dl_plan_destroy(&(*session)->plan);
    dl_device_close(&(*session)->device);
    dl_model_destroy(&(*session)->model);
    dl_views_close(*session);
    dl_dataset_close(&(*session)->train_files);
    dl_dataset_close(&(*session)->valid_files);
    dl_dataset_close(&(*session)->test_files);
    dl_grid_destroy(&(*session)->grid);
    for (int i = 0; i < DL_N_ARENAS; i++) {
        dl_free(&(*session)->host.of[i]);
    }
    dl_free(&(*session)->averaged);
    dl_pool_destroy(&(*session)->pool);
    dl_free(session);
}

/* --- parameters --- */

/* The plan's storage of each arena. */
static const dl_storage storage_of[DL_N_ARENAS] = {DL_STORE_PARAMETER, DL_STORE_FROZEN, DL_STORE_STATISTICS};
/* The averaged parameters on the device. */
static void *averages(const dl_session *session) {
    return (char *)session->plan->memory[DL_STORE_STATE] + DL_EMA_OFFSET;
}

static dl_status upload_parameters(dl_session *session) {
    const dl_plan *plan = session->plan;
    for (int i = 0; i < DL_N_ARENAS; i++) {
        const dl_storage storage = storage_of[i];
        if (plan->bytes[storage] > 0) {
            DL_RETURN_IF_ERROR(session->device->backend->upload(
                session->device, plan->memory[storage], session->host.of[i], plan->bytes[storage], NULL));
        }
    }
    if (session->averaged != NULL && plan->bytes[DL_STORE_PARAMETER] > 0) {
        DL_RETURN_IF_ERROR(session->device->backend->upload(session->device, averages(session),
                                                            session->host.of[DL_ARENA_TRAINABLE],
                                                            plan->bytes[DL_STORE_PARAMETER], NULL));
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
    const dl_plan *plan = session->plan;
    for (int i = 0; i < DL_N_ARENAS; i++) {
        const dl_storage storage = storage_of[i];
        if (plan->bytes[storage] > 0) {
            DL_RETURN_IF_ERROR(session->device->backend->download(
                session->device, session->host.of[i], plan->memory[storage], plan->bytes[storage], NULL));
        }
    }
    if (session->averaged != NULL && plan->bytes[DL_STORE_PARAMETER] > 0) {
        DL_RETURN_IF_ERROR(session->device->backend->download(
            session->device, session->averaged, averages(session), plan->bytes[DL_STORE_PARAMETER], NULL));
    }
    return DL_OK;
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
    return (size_t)elements * sizeof(float) + dl_batches_bytes(session);
}

int dl_session_program(const dl_session *session, dl_program_kind kind, const dl_global_batch *batch) {
    const int64_t length = dl_views_program_length(session, batch->length);
    for (int i = 0; i < session->plan->n_programs; i++) {
        const dl_program *program = session->plan->program[i];
        if (program->kind == kind && program->global_samples == batch->n_samples &&
            program->length == length) {
            return i;
        }
    }
    return -1;
}
