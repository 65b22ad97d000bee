/* A view's batches, read ahead. */
#include "base/mem.h"
#include "datasets/prefetch.h"
#include "datasets/view.h"

#include <inttypes.h>

typedef struct reader {
    const dl_view *view;
    dl_view_reading reading;
    dl_view_order order;
} reader;

static dl_range share_of(const dl_view_reading *reading, int64_t n_samples) {
    return reading->share != NULL ? reading->share(reading->context, n_samples) : (dl_range){0, n_samples};
}

static dl_status plan(void *context, int64_t number, int64_t *ids, dl_batch *batch, bool *end) {
    reader *r = context;
    const int64_t wanted = r->reading.first_batch + number, per_epoch = r->view->info.n_batches;
    *end = wanted >= r->reading.end_batch;
    if (*end) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(
        dl_view_order_batch(&r->order, wanted / per_epoch + 1, wanted % per_epoch, &batch->global));
    const dl_range part = share_of(&r->reading, batch->global.n_samples);
    DL_RETURN_ERROR_IF(part.begin < 0 || part.end < part.begin || part.end > batch->global.n_samples,
                       DL_ERR_INTERNAL, "samples %" PRId64 " to %" PRId64 " of a batch of %" PRId64,
                       part.begin, part.end, batch->global.n_samples);
    batch->number = wanted;
    batch->n_samples = part.end - part.begin;
    batch->weight = dl_view_order_ids(&r->order, &batch->global, part, ids);
    return DL_OK;
}

static dl_status fill(void *context, dl_batch *batch, const atomic_bool *stop) {
    const reader *r = context;
    return dl_view_fill(r->view, batch, stop);
}

static void release(void *context) {
    reader *r = context;
    dl_view_order_free(&r->order);
    dl_free(&r);
}

static dl_batch_source describe(const dl_view *view, const dl_view_reading *reading) {
    const dl_view_info *info = &view->info;
    dl_batch_source source = {.n_buffers = reading->n_buffers,
                              .n_fields = info->n_fields,
                              .max_samples = 1, /* a rank's share may be empty */
                              .plan = plan,
                              .fill = fill,
                              .release = release};
    for (int i = 0; i < info->n_shapes; i++) {
        const dl_range part = share_of(reading, info->shape[i].n_samples);
        const int64_t n = part.end - part.begin;
        source.max_samples = n > source.max_samples ? n : source.max_samples;
    }
    for (int i = 0; i < info->n_fields; i++) {
        source.sample_bytes[i] = info->field[i].sample_bytes;
    }
    return source;
}

size_t dl_view_bytes(const dl_view *view, const dl_view_reading *reading) {
    const dl_batch_source source = describe(view, reading);
    return dl_prefetch_buffer_bytes(&source) + dl_view_order_bytes(view, reading->shuffled);
}

dl_status dl_view_start(const dl_view *view, const dl_view_reading *reading, dl_prefetch **out) {
    reader *r = NULL;
    *out = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *r, &r));
    r->view = view;
    r->reading = *reading;
    const dl_status status = dl_view_order_create(view, reading->shuffled, reading->seed, &r->order);
    if (status != DL_OK) {
        release(r);
        return status;
    }
    dl_batch_source source = describe(view, reading);
    source.context = r;
    return dl_prefetch_create(&source, out);
}
