/* Opening a view: which fields a batch delivers, in which forms, how many there are. */
#include "datasets/view.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- buckets --- */

static int by_number(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

dl_status dl_view_choose_buckets(const dl_dataset *dataset, int64_t first, int64_t n, int max_buckets,
                                 int64_t length[DL_MAX_BUCKETS], int *n_buckets) {
    const int64_t all = dl_dataset_info_of(dataset)->n_samples;
    *n_buckets = 0;
    n = n > 0 ? n : all - first;
    DL_RETURN_ERROR_IF(
        first < 0 || n < 1 || first > all - n || max_buckets < 1 || max_buckets > DL_MAX_BUCKETS,
        DL_ERR_INTERNAL, "no %d buckets for samples %" PRId64 " to %" PRId64, max_buckets, first, first + n);
    int64_t *sorted = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n, sizeof *sorted, &sorted));
    for (int64_t i = 0; i < n; i++) {
        sorted[i] = dl_dataset_length(dataset, first + i);
    }
    qsort(sorted, (size_t)n, sizeof *sorted, by_number);
    for (int i = 0; i < max_buckets; i++) {
        const int64_t quantile =
            sorted[dl_range_part(n, max_buckets, i).end > 0 ? dl_range_part(n, max_buckets, i).end - 1 : 0];
        if (*n_buckets == 0 || quantile > length[*n_buckets - 1]) {
            length[(*n_buckets)++] = quantile;
        }
    }
    dl_free(&sorted);
    return DL_OK;
}

int dl_view_bucket(const dl_view *view, int64_t length) {
    int bucket = 0;
    while (bucket < view->info.n_buckets - 1 && view->info.bucket_length[bucket] < length) {
        bucket++;
    }
    return bucket;
}

static dl_status settle_buckets(dl_view *view) {
    dl_view_info *info = &view->info;
    const dl_view_options *options = &view->options;
    if (options->n_buckets == 0) {
        return dl_view_choose_buckets(view->dataset, options->first, options->n, DL_MAX_BUCKETS,
                                      info->bucket_length, &info->n_buckets);
    }
    bool rising = options->n_buckets <= DL_MAX_BUCKETS && options->bucket_length[0] > 0;
    for (int i = 1; i < options->n_buckets && rising; i++) {
        rising = options->bucket_length[i] > options->bucket_length[i - 1];
    }
    DL_RETURN_ERROR_IF(!rising, DL_ERR_INTERNAL, "the lengths of buckets must rise");
    info->n_buckets = options->n_buckets;
    memcpy(info->bucket_length, options->bucket_length, sizeof info->bucket_length);
    const int64_t longest = info->bucket_length[info->n_buckets - 1];
    for (int64_t i = 0; i < options->n; i++) {
        const int64_t length = dl_dataset_length(view->dataset, options->first + i);
        DL_RETURN_ERROR_IF(length > longest, DL_ERR_USAGE,
                           "sample %" PRId64 " has %" PRId64 " steps, the longest bucket %" PRId64,
                           options->first + i, length, longest);
    }
    return DL_OK;
}

/* Divides the samples into the buckets, keeping their order. */
static dl_status fill_buckets(dl_view *view) {
    dl_view_info *info = &view->info;
    int64_t next[DL_MAX_BUCKETS] = {0};
    DL_RETURN_IF_ERROR(settle_buckets(view));
    DL_RETURN_IF_ERROR(dl_alloc((size_t)view->options.n, sizeof *view->member, &view->member));
    for (int64_t i = 0; i < view->options.n; i++) {
        info->bucket_samples[dl_view_bucket(view,
                                            dl_dataset_length(view->dataset, view->options.first + i))]++;
    }
    for (int i = 1; i < info->n_buckets; i++) {
        next[i] = next[i - 1] + info->bucket_samples[i - 1];
    }
    for (int64_t i = 0; i < view->options.n; i++) {
        const int bucket = dl_view_bucket(view, dl_dataset_length(view->dataset, view->options.first + i));
        view->member[next[bucket]++] = (uint32_t)i;
    }
    return DL_OK;
}

/* --- fields --- */

/* A field with a time axis of `length` steps in front. */
static dl_field with_time(const dl_field *step, int64_t length) {
    dl_field field = *step;
    field.kind = DL_FIELD_DENSE;
    field.sample_shape.n_dims = step->sample_shape.n_dims + 1;
    memcpy(field.sample_shape.dim + 1, step->sample_shape.dim,
           (size_t)step->sample_shape.n_dims * sizeof(int64_t));
    field.sample_shape.dim[0] = length;
    field.sample_bytes = step->sample_bytes * (size_t)length;
    return field;
}

static dl_status add_field(dl_view_info *info, const dl_field *field, bool has_time) {
    DL_RETURN_ERROR_IF(info->n_fields == DL_MAX_FIELDS || dl_view_field(info, field->name) >= 0, DL_ERR_DATA,
                       "the files hold a field /%s, a name that batches of sequences use; rename it",
                       field->name);
    info->has_time[info->n_fields] = has_time;
    info->field[info->n_fields++] = *field;
    return DL_OK;
}

static dl_status describe_ragged(dl_view *view) {
    static const dl_field lengths = {.name = "lengths", .dtype = DL_I32, .sample_bytes = sizeof(int32_t)};
    const dl_dataset_info *stored = dl_dataset_info_of(view->dataset);
    DL_RETURN_IF_ERROR(fill_buckets(view));
    for (int i = 0; i < stored->n_fields; i++) {
        const bool ragged = stored->field[i].kind == DL_FIELD_RAGGED;
        const dl_field padded =
            with_time(&stored->field[i], view->info.bucket_length[view->info.n_buckets - 1]);
        DL_RETURN_IF_ERROR(add_field(&view->info, ragged ? &padded : &stored->field[i], ragged));
    }
    return add_field(&view->info, &lengths, false);
}

static dl_status describe_text(dl_view *view) {
    static const dl_field x = {.name = "x", .dtype = DL_I32, .sample_bytes = sizeof(int32_t)};
    static const dl_field y = {.name = "y", .dtype = DL_I32, .sample_bytes = sizeof(int32_t)};
    const bool stream = view->options.kind == DL_VIEW_STREAM;
    const dl_field window = with_time(&x, view->options.window), labels = with_time(&y, view->options.window);
    DL_RETURN_IF_ERROR(add_field(&view->info, &window, true));
    return add_field(&view->info, stream ? &labels : &y, stream);
}

static dl_status describe_fields(dl_view *view) {
    const dl_dataset_info *stored = dl_dataset_info_of(view->dataset);
    if (view->options.kind == DL_VIEW_RAGGED) {
        return describe_ragged(view);
    }
    view->info.n_buckets = 1;
    if (view->options.kind != DL_VIEW_SAMPLES) {
        view->info.bucket_length[0] = view->options.window;
        return describe_text(view);
    }
    view->info.n_fields = stored->n_fields;
    memcpy(view->info.field, stored->field, sizeof view->info.field);
    return DL_OK;
}

int dl_view_field(const dl_view_info *info, const char *name) {
    for (int i = 0; i < info->n_fields; i++) {
        if (strcmp(info->field[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

/* --- counting --- */

static void add_shape(dl_view_info *info, int bucket, int64_t n_samples, int64_t n_batches) {
    if (n_samples > 0 && n_batches > 0) {
        info->shape[info->n_shapes++] =
            (dl_batch_shape){bucket, info->bucket_length[bucket], n_samples, n_batches};
        info->n_batches += n_batches;
    }
}

static void count_stream(dl_view *view) {
    dl_view_info *info = &view->info;
    const int64_t rows = view->options.batch_size, window = view->options.window;
    view->n_predictions = view->options.n - 1;
    const int64_t longest = (view->n_predictions + rows - 1) / rows,
                  n_windows = (longest + window - 1) / window;
    info->weight = view->n_predictions;
    info->n_samples = n_windows * rows;
    info->bucket_samples[0] = info->n_samples;
    add_shape(info, 0, rows, n_windows);
}

static void count_batches(dl_view *view) {
    dl_view_info *info = &view->info;
    const int64_t batch = view->options.batch_size;
    if (view->options.kind == DL_VIEW_STREAM) {
        count_stream(view);
        return;
    }
    if (view->options.kind != DL_VIEW_RAGGED) {
        info->bucket_samples[0] =
            view->options.kind == DL_VIEW_SAMPLES
                ? view->options.n
                : (view->options.n - view->options.window - 1) / view->options.stride + 1;
    }
    for (int i = 0; i < info->n_buckets; i++) {
        view->first_batch[i] = info->n_batches;
        add_shape(info, i, batch, info->bucket_samples[i] / batch);
        add_shape(info, i, info->bucket_samples[i] % batch, 1);
        info->n_samples += info->bucket_samples[i];
    }
    view->first_batch[info->n_buckets] = info->n_batches;
    info->weight = info->n_samples;
}

/* --- opening --- */

static dl_status check_part(dl_view *view) {
    dl_view_options *options = &view->options;
    const int64_t all = dl_dataset_info_of(view->dataset)->n_samples;
    options->n = options->n > 0 ? options->n : all - options->first;
    DL_RETURN_ERROR_IF(options->first < 0 || options->n < 1 || options->first > all - options->n,
                       DL_ERR_USAGE, "samples %" PRId64 " to %" PRId64 " are wanted; the split has %" PRId64,
                       options->first, options->first + options->n, all);
    DL_RETURN_ERROR_IF(options->batch_size < 1, DL_ERR_USAGE,
                       "a batch of %" PRId64 " samples is not possible", options->batch_size);
    DL_RETURN_ERROR_IF(options->n > (int64_t)UINT32_MAX && options->kind == DL_VIEW_RAGGED, DL_ERR_DATA,
                       "%" PRId64 " samples are too many; at most 4294967295 are supported", options->n);
    return DL_OK;
}

static dl_status check_kind(const dl_view *view) {
    static const char *const held[] = {[DL_FIELD_DENSE] = "samples of one shape (/x)",
                                       [DL_FIELD_RAGGED] =
                                           "sequences of different lengths (/x/values, /x/offsets)",
                                       [DL_FIELD_TOKENS] = "a text (/tokens)"};
    static const dl_field_kind wanted[] = {[DL_VIEW_SAMPLES] = DL_FIELD_DENSE,
                                           [DL_VIEW_RAGGED] = DL_FIELD_RAGGED,
                                           [DL_VIEW_NEXT] = DL_FIELD_TOKENS,
                                           [DL_VIEW_STREAM] = DL_FIELD_TOKENS};
    const dl_field_kind kind = dl_dataset_info_of(view->dataset)->field[0].kind;
    DL_RETURN_ERROR_IF(kind != wanted[view->options.kind], DL_ERR_USAGE,
                       "the data set holds %s where %s are wanted", held[kind],
                       held[wanted[view->options.kind]]);
    return DL_OK;
}

static dl_status check_window(const dl_view *view) {
    const dl_view_options *options = &view->options;
    if (options->kind == DL_VIEW_NEXT) {
        DL_RETURN_ERROR_IF(options->window < 1 || options->stride < 1, DL_ERR_USAGE,
                           "a window of %" PRId64 " tokens every %" PRId64 " is not possible",
                           options->window, options->stride);
        DL_RETURN_ERROR_IF(options->n <= options->window, DL_ERR_USAGE,
                           "a window of %" PRId64 " tokens and the next one need %" PRId64
                           " tokens, there are %" PRId64 "; make data.window smaller",
                           options->window, options->window + 1, options->n);
    }
    if (options->kind == DL_VIEW_STREAM) {
        DL_RETURN_ERROR_IF(options->window < 1, DL_ERR_USAGE,
                           "a window of %" PRId64 " tokens is not possible", options->window);
        DL_RETURN_ERROR_IF(options->n < 2, DL_ERR_USAGE, "a text of %" PRId64 " token has nothing to predict",
                           options->n);
    }
    return DL_OK;
}

static dl_status open_view(dl_view *view) {
    DL_RETURN_IF_ERROR(check_kind(view));
    DL_RETURN_IF_ERROR(check_part(view));
    DL_RETURN_IF_ERROR(check_window(view));
    view->info.kind = view->options.kind;
    DL_RETURN_IF_ERROR(describe_fields(view));
    count_batches(view);
    return DL_OK;
}

dl_status dl_view_open(dl_dataset *dataset, const dl_view_options *options, dl_view **out) {
    dl_view *view = NULL;
    *out = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *view, &view));
    view->dataset = dataset;
    view->options = *options;
    const dl_status status = open_view(view);
    if (status != DL_OK) {
        dl_view_close(&view);
        return status;
    }
    *out = view;
    return DL_OK;
}

void dl_view_close(dl_view **view) {
    if (*view != NULL) {
        dl_free(&(*view)->member);
    }
    dl_free(view);
}

const dl_view_info *dl_view_info_of(const dl_view *view) {
    return &view->info;
}
