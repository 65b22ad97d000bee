/* Reading the samples of a batch in the form its view delivers. */
#include "datasets/view.h"

#include <string.h>

/* Are these the classes of steps? */
static bool is_step_labels(const dl_view *view, int field) {
    const dl_field *stored = &dl_dataset_info_of(view->dataset)->field[field];
    return stored->kind == DL_FIELD_RAGGED && strcmp(stored->name, "y") == 0;
}

/* All steps of a sample, and behind them zeros, or no class (-1: all bits set). */
static dl_status read_sequence(const dl_view *view, int64_t id, int field, int64_t length, char *out) {
    const int64_t steps = dl_dataset_length(view->dataset, id);
    const size_t step = dl_dataset_info_of(view->dataset)->field[field].sample_bytes;
    memset(out + (size_t)steps * step, is_step_labels(view, field) ? 0xFF : 0,
           (size_t)(length - steps) * step);
    return dl_dataset_read(view->dataset, id, field, out);
}

/* Row i of the batch of stored samples; lengths come behind the stored fields. */
static dl_status fill_sample(const dl_view *view, dl_batch *batch, int64_t i) {
    const dl_dataset_info *stored = dl_dataset_info_of(view->dataset);
    for (int f = 0; f < stored->n_fields; f++) {
        const bool ragged = stored->field[f].kind == DL_FIELD_RAGGED;
        const size_t n_bytes = stored->field[f].sample_bytes * (ragged ? (size_t)batch->global.length : 1);
        char *out = (char *)batch->field[f] + (size_t)i * n_bytes;
        DL_RETURN_IF_ERROR(ragged ? read_sequence(view, batch->ids[i], f, batch->global.length, out)
                                  : dl_dataset_read(view->dataset, batch->ids[i], f, out));
    }
    if (view->info.kind == DL_VIEW_RAGGED) {
        ((int32_t *)batch->field[stored->n_fields])[i] =
            (int32_t)dl_dataset_length(view->dataset, batch->ids[i]);
    }
    return DL_OK;
}

static dl_status fill_next(const dl_view *view, dl_batch *batch, int64_t i) {
    const int64_t window = view->options.window,
                  first = view->options.first + batch->ids[i] * view->options.stride;
    DL_RETURN_IF_ERROR(
        dl_dataset_read_tokens(view->dataset, first, window, (int32_t *)batch->field[0] + i * window));
    return dl_dataset_read_tokens(view->dataset, first + window, 1, (int32_t *)batch->field[1] + i);
}

static dl_status fill_stream(const dl_view *view, dl_batch *batch, int64_t i) {
    const int64_t window = view->options.window, rows = view->options.batch_size, id = batch->ids[i];
    const dl_range range = dl_view_stream_window(view, id / rows, id % rows);
    const int64_t n = range.end - range.begin, first = view->options.first + range.begin;
    int32_t *x = (int32_t *)batch->field[0] + i * window, *y = (int32_t *)batch->field[1] + i * window;
    DL_RETURN_IF_ERROR(dl_dataset_read_tokens(view->dataset, first, n, x));
    DL_RETURN_IF_ERROR(dl_dataset_read_tokens(view->dataset, first + 1, n, y));
    for (int64_t t = n; t < window; t++) {
        x[t] = 0;
        y[t] = -1;
    }
    return DL_OK;
}

/* Of steps that have classes those count that are not -1. */
static void weigh(const dl_view *view, dl_batch *batch) {
    const int stored = view->info.kind == DL_VIEW_RAGGED ? dl_dataset_info_of(view->dataset)->n_fields : 0;
    for (int f = 0; f < stored; f++) {
        const int32_t *label = batch->field[f];
        int64_t n = 0;
        if (!is_step_labels(view, f)) {
            continue;
        }
        for (int64_t i = 0; i < batch->n_samples * batch->global.length; i++) {
            n += label[i] >= 0;
        }
        batch->weight = n;
    }
}

dl_status dl_view_fill(const dl_view *view, dl_batch *batch, const atomic_bool *stop) {
    dl_status (*const fill)(const dl_view *, dl_batch *, int64_t) =
        view->info.kind == DL_VIEW_NEXT     ? fill_next
        : view->info.kind == DL_VIEW_STREAM ? fill_stream
                                            : fill_sample;
    for (int64_t i = 0; i < batch->n_samples && !atomic_load_explicit(stop, memory_order_relaxed); i++) {
        DL_RETURN_IF_ERROR(fill(view, batch, i));
    }
    weigh(view, batch);
    return DL_OK;
}
