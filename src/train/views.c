/* What batches of each split consist of: which view of the data set suits the model, and the forms of its
 * batches. */
#include "train/views.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static dl_field_kind kind_of_data(const dl_session *session) {
    return session->train_info.field[0].kind;
}

/* A model with a time axis predicts at every position; one that ends in a vector what follows the window. */
static dl_view_kind kind_of_view(const dl_session *session) {
    const dl_model *model = session->model;
    switch (kind_of_data(session)) {
    case DL_FIELD_RAGGED:
        return DL_VIEW_RAGGED;
    case DL_FIELD_TOKENS:
        return model->value[model->output.labels].shape.n_dims > 0 ? DL_VIEW_STREAM : DL_VIEW_NEXT;
    default:
        return DL_VIEW_SAMPLES;
    }
}

int64_t dl_views_max_length(const dl_session *session) {
    const dl_dataset *const files[] = {session->train_files, session->valid_files, session->test_files};
    int64_t longest = session->train_info.max_length;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const int64_t length = files[i] != NULL ? dl_dataset_info_of(files[i])->max_length : 0;
        longest = length > longest ? length : longest;
    }
    return longest;
}

int64_t dl_views_program_length(const dl_session *session, int64_t length) {
    return session->model->lengths >= 0 ? length : 0;
}

/* --- with files --- */

/* Buckets are chosen by the samples trained on; the last one holds the longest sample of any split. */
static dl_status choose_buckets(const dl_session *session, dl_view_options *options) {
    const dl_split_data *train = &session->split[DL_SPLIT_TRAIN];
    DL_RETURN_IF_ERROR(dl_view_choose_buckets(train->dataset, train->first, train->n, DL_MAX_BUCKETS,
                                              options->bucket_length, &options->n_buckets));
    const int64_t longest = dl_views_max_length(session);
    int64_t *last = &options->bucket_length[options->n_buckets - 1];
    *last = longest > *last ? longest : *last;
    return DL_OK;
}

/* Programs read fields by number: those they read have one number in every split. */
static dl_status check_fields(const dl_session *session, dl_split split) {
    static const char *const names[] = {"x", "y", "lengths"};
    const dl_view_info *info = &session->view_info[split], *train = &session->view_info[DL_SPLIT_TRAIN];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        DL_RETURN_ERROR_IF(
            dl_view_field(info, names[i]) != dl_view_field(train, names[i]), DL_ERR_DATA,
            "%s: the splits train and %s have different fields beside x and y; give both the same",
            session->config->data.path, dl_split_name(split));
    }
    return DL_OK;
}

static dl_status open_view(dl_session *session, dl_split split, const dl_view_options *common) {
    dl_view_options options = *common;
    const dl_split_data *data = &session->split[split];
    options.first = data->first;
    options.n = data->n;
    DL_RETURN_IF_ERROR_DOING(dl_view_open(data->dataset, &options, &session->view[split]), "reading split %s",
                             dl_split_name(split));
    session->view_info[split] = *dl_view_info_of(session->view[split]);
    session->n_samples[split] = session->view_info[split].n_samples;
    return check_fields(session, split);
}

/* --- without files --- */

static void add_shape(dl_view_info *info, int64_t length, int64_t n_samples, int64_t n_batches) {
    if (n_samples > 0 && n_batches > 0) {
        info->shape[info->n_shapes++] =
            (dl_batch_shape){.length = length, .n_samples = n_samples, .n_batches = n_batches};
        info->n_batches += n_batches;
        info->n_samples += n_samples * n_batches;
    }
}

static void add_field(dl_view_info *info, const char *name) {
    (void)snprintf(info->field[info->n_fields++].name, DL_FIELD_NAME_BYTES, "%s", name);
}

/* What a view would say of a split of so many samples (tokens), the ragged ones all of the greatest length.
 */
static void describe(dl_session *session, dl_split split, const dl_view_options *options) {
    dl_view_info *info = &session->view_info[split];
    const int64_t batch = options->batch_size;
    int64_t n = session->split[split].n;
    *info = (dl_view_info){.kind = options->kind};
    add_field(info, "x");
    add_field(info, "y");
    if (options->kind == DL_VIEW_STREAM) {
        const int64_t longest = (n - 1 + batch - 1) / batch;
        add_shape(info, options->window, n > 1 ? batch : 0,
                  (longest + options->window - 1) / options->window);
    } else {
        if (options->kind == DL_VIEW_NEXT) {
            n = n > options->window ? (n - options->window - 1) / options->stride + 1 : 0;
        }
        if (options->kind == DL_VIEW_RAGGED) {
            add_field(info, "lengths");
        }
        const int64_t length =
            options->kind == DL_VIEW_RAGGED ? dl_views_max_length(session) : options->window;
        add_shape(info, length, batch, n / batch);
        add_shape(info, length, n % batch, 1);
    }
    session->n_samples[split] = info->n_samples;
}

/* --- all --- */

static dl_status check_stateful(const dl_session *session, dl_view_kind kind) {
    const int64_t rows = session->config->train.batch_size;
    if (!session->model->stateful) {
        return DL_OK;
    }
    DL_RETURN_ERROR_IF(
        kind != DL_VIEW_STREAM, DL_ERR_USAGE,
        "an lstm is stateful, but the samples do not follow each other: that needs a text (dtype: tokens) and "
        "return_sequences: true up to the output");
    DL_RETURN_ERROR_IF(session->config->reproducible && rows % DL_PIECES != 0, DL_ERR_USAGE,
                       "reproducible: true with a stateful lstm needs a batch_size that %d divides: %" PRId64
                       " or %" PRId64 ", not %" PRId64,
                       DL_PIECES, rows / DL_PIECES * DL_PIECES + (rows < DL_PIECES ? DL_PIECES : 0),
                       (rows / DL_PIECES + (rows < DL_PIECES ? 2 : 1)) * DL_PIECES, rows);
    return DL_OK;
}

dl_status dl_views_open(dl_session *session) {
    const dl_config *config = session->config;
    dl_view_options options = {.kind = kind_of_view(session), .batch_size = config->train.batch_size};
    DL_RETURN_IF_ERROR(check_stateful(session, options.kind));
    if (options.kind == DL_VIEW_NEXT || options.kind == DL_VIEW_STREAM) {
        options.window = config->model.input.shape.value[0];
        options.stride = config->data.stride;
    }
    if (options.kind == DL_VIEW_RAGGED && session->train_files != NULL) {
        DL_RETURN_IF_ERROR(choose_buckets(session, &options));
    }
    for (dl_split split = DL_SPLIT_TRAIN; split < DL_N_SPLITS; split++) {
        if (session->split[split].dataset != NULL && session->split[split].n > 0) {
            DL_RETURN_IF_ERROR(open_view(session, split, &options));
        } else {
            describe(session, split, &options);
        }
    }
    return DL_OK;
}

void dl_views_close(dl_session *session) {
    for (dl_split split = DL_SPLIT_TRAIN; split < DL_N_SPLITS; split++) {
        dl_view_close(&session->view[split]);
    }
}
