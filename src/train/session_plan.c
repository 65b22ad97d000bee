/* The plan of a session: its programs, and what cannot be divided as the config asks. */
#include "train/session_parts.h"

#include "kernels/common/loss_scale.h"
#include "optim/optim.h"
#include "train/views.h"

#include <stdlib.h>
#include <string.h>

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
    session->train_full = session->generate = session->apply = -1;
    if (options->apply) {
        return dl_plan_add_length(session->plan, DL_PROGRAM_EVALUATE, session->config->train.batch_size,
                                  dl_views_program_length(session, options->longest), &session->apply);
    }
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

/* tf32 is a mode of GPUs' float32 products. */
static dl_dtype half_of(const dl_config *config) {
    static const dl_dtype types[] = {DL_F32, DL_BF16, DL_F16, DL_F32}; /* as dl_config_precisions */
    return types[config->precision];
}

/* Only float16 needs one: small gradients underflow in it. */
static double loss_scale_of(const dl_config *config) {
    const double automatic = half_of(config) == DL_F16 ? DL_LOSS_SCALE_START : 0;
    return config->train.loss_scale > 0 ? config->train.loss_scale : automatic;
}

/* Ranks of the data axis in a dry session. */
static dl_status count_dry_ranks(const dl_session *session, int n_ranks, int *data_ranks) {
    int sizes[DL_N_AXES], whole[DL_N_AXES];
    dl_session_axes(session, sizes);
    const int wanted =
        (sizes[DL_AXIS_DATA] > 0 ? sizes[DL_AXIS_DATA] : 1) * sizes[DL_AXIS_TENSOR] * sizes[DL_AXIS_PIPELINE];
    DL_RETURN_IF_ERROR(dl_grid_complete(n_ranks > 0 ? n_ranks : wanted, sizes, whole));
    *data_ranks = whole[DL_AXIS_DATA];
    return DL_OK;
}

dl_status dl_session_check_division(dl_session *session, const dl_session_options *options) {
    const dl_config *config = session->config;
    const int accumulate = (int)config->train.accumulate;
    if (session->grid == NULL) {
        DL_RETURN_IF_ERROR(count_dry_ranks(session, options->n_ranks, &session->data_ranks));
    } else {
        session->data_ranks = session->grid->axis[DL_AXIS_DATA].size;
    }
    DL_RETURN_ERROR_IF(
        config->reproducible && !dl_pieces_fit(session->data_ranks, accumulate), DL_ERR_USAGE,
        "reproducible: true divides a batch into %d pieces, which %d ranks with accumulate: %d "
        "cannot share; use ranks x accumulate <= %d",
        DL_PIECES, session->data_ranks, accumulate, DL_PIECES);
    session->reproducible =
        config->reproducible || (options->predict && dl_pieces_fit(session->data_ranks, accumulate));
    return check_statistics(session);
}

/* Over each communicator the same exchanges in the same order. All axes are compared before anybody fails. */
static dl_status compare_exchanges(const dl_session *session) {
    dl_status first = DL_OK;
    for (int axis = 0; axis <= DL_N_AXES; axis++) {
        dl_comm *comm = axis == DL_N_AXES ? session->world : session->grid->axis[axis].comm;
        dl_text text = {0};
        dl_status status = dl_plan_exchanges(session->plan, (dl_axis_name)axis, &text);
        if (status == DL_OK) {
            status = dl_comm_compare(comm, "order of exchanges", text.data);
        }
        first = first == DL_OK ? status : first;
        dl_text_free(&text);
    }
    return dl_comm_agree(session->world, first, NULL);
}

/* DLTRAIN_CUDA_GRAPH=0 hands operations over one by one, for comparing. */
static bool wants_cuda_graph(void) {
    const char *word = getenv("DLTRAIN_CUDA_GRAPH");
    return word == NULL || strcmp(word, "0") != 0;
}

dl_status dl_session_make_plan(dl_session *session, const dl_session_options *options) {
    const dl_config *config = session->config;
    const bool dry = options->world == NULL, scores_alone = options->generate || options->apply;
    const dl_view_info *train = &session->view_info[DL_SPLIT_TRAIN];
    const char **fields = NULL;
    DL_RETURN_IF_ERROR(dl_pool_alloc(session->pool, (size_t)train->n_fields, sizeof *fields, &fields));
    for (int i = 0; i < train->n_fields; i++) {
        fields[i] = train->field[i].name;
    }
    const dl_partition *partition = dl_shares_partition(session);
    dl_plan_options plan = {.model = partition == NULL ? session->model : partition->model,
                            .partition = partition,
                            .device = session->device,
                            .grid = session->grid,
                            .n_ranks = session->data_ranks,
                            .rank = dry ? 0 : session->grid->axis[DL_AXIS_DATA].index,
                            .batch_size = config->train.batch_size,
                            .accumulate = (int)config->train.accumulate,
                            .reproducible = session->reproducible,
                            .measure = !session->reproducible && !scores_alone,
                            .choices = options->choices,
                            .fuse = true,
                            .as_gpu = options->as_gpu,
                            .capture = wants_cuda_graph(),
                            .half = half_of(config),
                            .predict = options->predict || scores_alone,
                            .forward_only = scores_alone,
                            .n_fields = train->n_fields,
                            .fields = fields};
    dl_op_desc update;
    DL_RETURN_IF_ERROR(dl_optimizer_describe(&config->train.optimizer,
                                             (double)(config->train.batch_size * session->model->output.rows),
                                             1, &update));
    plan.update = (dl_update_rule){
        .kind = update.kind, .attr = update.attr, .n_states = dl_optimizer_slots(&config->train.optimizer)};
    for (int i = 0; i < plan.update.n_states; i++) {
        plan.update.state[i] = dl_optimizer_slot_at(&config->train.optimizer, i)->op_slot;
    }
    plan.loss_scale = options->training ? loss_scale_of(config) : 0;
    plan.clip_norm = config->train.clip_norm;
    plan.ema_decay = options->training ? config->train.ema_decay : 0;
    DL_RETURN_IF_ERROR(dl_plan_create(&plan, &session->plan));
    DL_RETURN_IF_ERROR(add_programs(session, options));
    DL_RETURN_IF_ERROR(dl_plan_seal(session->plan));
    if (dry) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(compare_exchanges(session));
    return dl_plan_finish(session->plan);
}

int dl_session_ranks(const dl_session *session) {
    const dl_partition *partition = session->plan->options.partition;
    return session->plan->options.n_ranks * (partition == NULL ? 1 : partition->size);
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
