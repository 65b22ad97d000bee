/* Which samples each batch of an epoch has: a pure function of (view, seed, epoch). */
#include "datasets/view.h"

#include "base/mem.h"
#include "base/rng.h"

static bool has_samples(const dl_view *view, bool shuffled) {
    return shuffled && view->info.kind != DL_VIEW_STREAM;
}

static bool has_batches(const dl_view *view, bool shuffled) {
    return shuffled && view->info.kind == DL_VIEW_RAGGED;
}

dl_status dl_view_order_create(const dl_view *view, bool shuffled, uint64_t seed, dl_view_order *out) {
    *out = (dl_view_order){.view = view, .shuffled = shuffled, .seed = seed};
    if (has_samples(view, shuffled)) {
        DL_RETURN_IF_ERROR(dl_alloc((size_t)view->info.n_samples, sizeof *out->sample, &out->sample));
    }
    if (has_batches(view, shuffled)) {
        DL_RETURN_IF_ERROR(dl_alloc((size_t)view->info.n_samples, sizeof *out->scratch, &out->scratch));
        DL_RETURN_IF_ERROR(dl_alloc((size_t)view->info.n_batches, sizeof *out->batch, &out->batch));
    }
    return DL_OK;
}

void dl_view_order_free(dl_view_order *order) {
    dl_free(&order->sample);
    dl_free(&order->scratch);
    dl_free(&order->batch);
}

size_t dl_view_order_bytes(const dl_view *view, bool shuffled) {
    const size_t samples = (size_t)view->info.n_samples, batches = (size_t)view->info.n_batches;
    return sizeof(uint32_t) * ((has_samples(view, shuffled) ? samples : 0) +
                               (has_batches(view, shuffled) ? samples + batches : 0));
}

/* Positions from 2^32 on are of batches, those below of samples: their numbers are independent. */
static void shuffle_batches(dl_view_order *order, int64_t epoch) {
    const int64_t n = order->view->info.n_batches;
    for (int64_t i = 0; i < n; i++) {
        order->batch[i] = (uint32_t)i;
    }
    for (int64_t i = n - 1; i > 0; i--) {
        const uint64_t position = (UINT64_C(1) << 32) + (uint64_t)i;
        const uint64_t j =
            dl_rng_below(order->seed, DL_RNG_SHUFFLE, (uint64_t)epoch, position, (uint64_t)i + 1);
        const uint32_t taken = order->batch[i];
        order->batch[i] = order->batch[j];
        order->batch[j] = taken;
    }
}

/* The permutation divided into buckets, each in the permutation's order. */
static void divide(dl_view_order *order) {
    const dl_view *view = order->view;
    int64_t next[DL_MAX_BUCKETS] = {0};
    for (int i = 1; i < view->info.n_buckets; i++) {
        next[i] = next[i - 1] + view->info.bucket_samples[i - 1];
    }
    for (int64_t i = 0; i < view->info.n_samples; i++) {
        const uint32_t sample = order->scratch[i];
        const int64_t length = dl_dataset_length(view->dataset, view->options.first + sample);
        order->sample[next[dl_view_bucket(view, length)]++] = sample;
    }
}

static dl_status prepare_epoch(dl_view_order *order, int64_t epoch) {
    const int64_t n = order->view->info.n_samples;
    if (order->epoch == epoch || order->sample == NULL) {
        return DL_OK;
    }
    order->epoch = epoch;
    if (order->batch == NULL) {
        return dl_sampler_order(order->seed, epoch, n, order->sample);
    }
    DL_RETURN_IF_ERROR(dl_sampler_order(order->seed, epoch, n, order->scratch));
    divide(order);
    shuffle_batches(order, epoch);
    return DL_OK;
}

/* Number of a batch in the order as stored. */
static int64_t stored_number(const dl_view_order *order, int64_t number) {
    return order->batch != NULL ? (int64_t)order->batch[number] : number;
}

static int64_t stream_weight(const dl_view *view, int64_t window, dl_range rows) {
    int64_t weight = 0;
    for (int64_t row = rows.begin; row < rows.end; row++) {
        const dl_range range = dl_view_stream_window(view, window, row);
        weight += range.end - range.begin;
    }
    return weight;
}

dl_range dl_view_stream_window(const dl_view *view, int64_t window, int64_t row) {
    const dl_range all = dl_range_part(view->n_predictions, view->options.batch_size, row);
    const int64_t begin = all.begin + window * view->options.window, end = begin + view->options.window;
    return (dl_range){begin < all.end ? begin : all.end, end < all.end ? end : all.end};
}

dl_status dl_view_order_batch(dl_view_order *order, int64_t epoch, int64_t number, dl_global_batch *out) {
    const dl_view *view = order->view;
    const dl_view_info *info = &view->info;
    DL_RETURN_IF_ERROR(prepare_epoch(order, epoch));
    *out = (dl_global_batch){.epoch = epoch, .number = number};
    if (info->kind == DL_VIEW_STREAM) {
        out->n_samples = view->options.batch_size;
        out->weight = stream_weight(view, number, (dl_range){0, out->n_samples});
    } else {
        const int64_t stored = stored_number(order, number);
        while (stored >= view->first_batch[out->bucket + 1]) {
            out->bucket++;
        }
        const int64_t begin = (stored - view->first_batch[out->bucket]) * view->options.batch_size;
        const int64_t left = info->bucket_samples[out->bucket] - begin;
        out->n_samples = left < view->options.batch_size ? left : view->options.batch_size;
        out->weight = out->n_samples;
    }
    out->length = info->bucket_length[out->bucket];
    return DL_OK;
}

int64_t dl_view_order_ids(const dl_view_order *order, const dl_global_batch *global, dl_range part,
                          int64_t *ids) {
    const dl_view *view = order->view;
    const int64_t n = part.end - part.begin;
    if (view->info.kind == DL_VIEW_STREAM) {
        for (int64_t i = 0; i < n; i++) {
            ids[i] = global->number * view->options.batch_size + part.begin + i;
        }
        return stream_weight(view, global->number, part);
    }
    const int64_t in_bucket = stored_number(order, global->number) - view->first_batch[global->bucket];
    int64_t begin = in_bucket * view->options.batch_size + part.begin;
    for (int i = 0; i < global->bucket; i++) {
        begin += view->info.bucket_samples[i];
    }
    const uint32_t *sample = order->sample != NULL ? order->sample : view->member;
    const int64_t first = view->info.kind == DL_VIEW_NEXT ? 0 : view->options.first;
    for (int64_t i = 0; i < n; i++) {
        ids[i] = first + (sample != NULL ? (int64_t)sample[begin + i] : begin + i);
    }
    return n;
}
