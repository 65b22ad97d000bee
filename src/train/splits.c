#include "train/splits.h"

#include <inttypes.h>
#include <string.h>

static const char *const split_names[DL_N_SPLITS] = {"train", "valid", "test"};

const char *dl_split_name(dl_split split) {
    return split_names[split];
}

static const dl_maker *configured_maker(const dl_config *config) {
    return dl_maker_find(dl_config_makers[config->data.make]);
}

dl_status dl_splits_make(dl_session *session, const dl_session_options *options) {
    const dl_config *config = session->config;
    dl_status status = DL_OK;
    const bool needed = !options->synthetic && !options->apply;
    if (session->world->rank == 0 && needed && !dl_dataset_exists(config->data.path, "train")) {
        const dl_maker *maker = configured_maker(config);
        if (maker != NULL) {
            const dl_make_request request = {
                .folder = config->data.path, .seed = 1, .n_shards = 1, .progress = options->progress};
            status = maker->make(&request);
        }
    }
    int failed = -1;
    return dl_comm_agree(session->world, status, &failed);
}

static void set_split(dl_session *session, dl_split split, dl_dataset *files, int64_t first, int64_t n) {
    session->split[split] = (dl_split_data){files, first, n};
    session->n_samples[split] = n;
}

static void divide(dl_session *session, int64_t n_train, int64_t n_valid_files, int64_t n_test) {
    const int64_t held_out = n_valid_files > 0 ? 0 : (int64_t)((double)n_train * session->config->data.valid);
    set_split(session, DL_SPLIT_TRAIN, session->train_files, 0, n_train - held_out);
    set_split(session, DL_SPLIT_TEST, session->test_files, 0, n_test);
    if (n_valid_files > 0) {
        set_split(session, DL_SPLIT_VALID, session->valid_files, 0, n_valid_files);
    } else if (held_out > 0) {
        set_split(session, DL_SPLIT_VALID, session->train_files, n_train - held_out, held_out);
    } else {
        set_split(session, DL_SPLIT_VALID, session->test_files, 0, n_test);
        session->valid_is_test = true;
    }
}

/* What a model can be trained on: a text, or samples with their classes. */
static dl_status check_trainable(const dl_session *session) {
    const dl_dataset_info *info = &session->train_info;
    const char *path = session->config->data.path;
    if (info->field[0].kind == DL_FIELD_TOKENS) {
        return DL_OK;
    }
    DL_RETURN_ERROR_IF(info->n_fields < 2 || strcmp(info->field[1].name, "y") != 0, DL_ERR_DATA,
                       "%s: split train needs the fields x and y", path);
    return DL_OK;
}

/* The same fields in the same form as in the training split. */
static dl_status check_like_train(const dl_session *session, dl_dataset *files, const char *split) {
    const dl_dataset_info *info = dl_dataset_info_of(files), *train = &session->train_info;
    const int n_fields = train->field[0].kind == DL_FIELD_TOKENS ? 1 : 2;
    DL_RETURN_ERROR_IF(info->n_fields < n_fields || train->n_fields < n_fields, DL_ERR_DATA,
                       "%s: split %s needs the fields x and y", session->config->data.path,
                       info->n_fields < n_fields ? split : "train");
    DL_RETURN_ERROR_IF(info->vocab_size != train->vocab_size, DL_ERR_DATA,
                       "%s: split %s has a vocabulary of %lld tokens, train of %lld; import both together",
                       session->config->data.path, split, (long long)info->vocab_size,
                       (long long)train->vocab_size);
    DL_RETURN_ERROR_IF(info->words[0] != '\0' && train->words[0] != '\0' &&
                           strcmp(info->words, train->words) != 0,
                       DL_ERR_DATA, "%s: split %s has another vocabulary than train; import both together",
                       session->config->data.path, split);
    for (int i = 0; i < n_fields; i++) {
        DL_RETURN_ERROR_IF(info->field[i].kind != train->field[i].kind ||
                               info->field[i].dtype != train->field[i].dtype ||
                               !dl_shape_equal(&info->field[i].sample_shape, &train->field[i].sample_shape),
                           DL_ERR_DATA, "%s: field %s of split %s has another type or shape than in train",
                           session->config->data.path, info->field[i].name, split);
    }
    return n_fields == 1 ? DL_OK : dl_dataset_check_labels(files, train->n_classes);
}

static dl_status open_split(dl_session *session, const char *split, dl_dataset **files, int64_t *n) {
    *n = 0;
    const char *folder = session->config->data.path;
    if (!dl_dataset_exists(folder, split)) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_dataset_open(folder, split, files));
    *n = dl_dataset_info_of(*files)->n_samples;
    return check_like_train(session, *files, split);
}

/* Would the maker's samples fit the model's input? */
static bool fits_maker(const dl_maker *maker, const dl_shape *shape, bool tokens, bool open) {
    const dl_field *x = &maker->train.field[0];
    if (tokens || x->kind == DL_FIELD_TOKENS) {
        return tokens && x->kind == DL_FIELD_TOKENS;
    }
    dl_shape step = *shape; /* of any length: what stands behind the open dimension */
    if (open) {
        memmove(step.dim, step.dim + 1, (DL_MAX_DIMS - 1) * sizeof *step.dim);
        step.n_dims--;
    }
    return open == (x->kind == DL_FIELD_RAGGED) && dl_shape_equal(&step, &x->sample_shape);
}

static dl_status describe_without_files(dl_session *session) {
    const dl_maker *maker = configured_maker(session->config);
    const dl_int_list *wanted = &session->config->model.input.shape;
    const bool tokens = session->config->model.input.dtype != 0, open = dl_config_is_open(wanted->value[0]);
    dl_shape shape = {.n_dims = wanted->n};
    memcpy(shape.dim, wanted->value, (size_t)wanted->n * sizeof *wanted->value);
    if (maker != NULL && fits_maker(maker, &shape, tokens, open)) {
        session->train_info = maker->train;
        divide(session, maker->train.n_samples, maker->valid.n_samples, maker->test.n_samples);
        return DL_OK;
    }
    DL_RETURN_ERROR_IF(
        open, DL_ERR_USAGE,
        "model.input.shape leaves the length of samples open, but there is no data set in '%s' to "
        "take it from",
        session->config->data.path);
    session->data_unknown = true;
    session->train_info.n_fields = 2;
    session->train_info.field[0] = (dl_field){.name = "x",
                                              .kind = tokens ? DL_FIELD_TOKENS : DL_FIELD_DENSE,
                                              .dtype = tokens ? DL_I32 : DL_U8,
                                              .sample_shape = shape,
                                              .sample_bytes = (size_t)dl_shape_elements(&shape)};
    session->train_info.field[1] = (dl_field){.name = "y", .dtype = DL_I32, .sample_bytes = sizeof(int32_t)};
    const int64_t window = tokens ? wanted->value[0] : 0;
    divide(session, session->config->train.batch_size * (window + 1), 0, 0);
    return DL_OK;
}

dl_status dl_splits_open(dl_session *session, const dl_session_options *options) {
    const dl_config *config = session->config;
    const bool dry = options->world == NULL || options->synthetic || options->apply;
    if (dry && !dl_dataset_exists(config->data.path, "train")) {
        return describe_without_files(session);
    }
    DL_RETURN_ERROR_IF(
        !dl_dataset_exists(config->data.path, "train"), DL_ERR_USAGE,
        "there is no data set in '%s' (no train-*.h5): import one with `dltrain data import`, or set "
        "data.make",
        config->data.path);
    DL_RETURN_IF_ERROR(dl_dataset_open(config->data.path, "train", &session->train_files));
    session->train_info = *dl_dataset_info_of(session->train_files);
    DL_RETURN_IF_ERROR(check_trainable(session));
    if (options->apply) { /* other samples than these */
        session->train_info.max_length = options->longest;
        divide(session, session->train_info.n_samples, 0, 0);
        return DL_OK;
    }
    int64_t n_valid = 0, n_test = 0;
    DL_RETURN_IF_ERROR(open_split(session, "valid", &session->valid_files, &n_valid));
    DL_RETURN_IF_ERROR(open_split(session, "test", &session->test_files, &n_test));
    divide(session, session->train_info.n_samples, n_valid, n_test);
    DL_RETURN_ERROR_IF(session->n_samples[DL_SPLIT_TRAIN] < 1, DL_ERR_USAGE,
                       "data.valid: %g leaves no sample to train on", config->data.valid);
    DL_RETURN_ERROR_IF(session->valid_is_test && config->data.valid > 0, DL_ERR_USAGE,
                       "data.valid: %g of %" PRId64
                       " training samples is none; 0 validates on the test samples",
                       config->data.valid, session->train_info.n_samples);
    return DL_OK;
}
