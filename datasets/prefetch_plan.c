/* Batches of stored samples that a plan of the caller's names. */
#include "base/mem.h"
#include "datasets/prefetch.h"

typedef struct planned {
    dl_dataset *dataset;
    dl_prefetch_options options;
} planned;

static dl_status plan(void *context, int64_t number, int64_t *ids, dl_batch *batch, bool *end) {
    const planned *p = context;
    int64_t n = 0;
    DL_RETURN_IF_ERROR(p->options.plan(p->options.context, number, p->options.max_samples, ids, &n));
    *end = n < 0;
    DL_RETURN_ERROR_IF(n > p->options.max_samples, DL_ERR_INTERNAL,
                       "batch %lld is planned with %lld samples of %lld", (long long)number, (long long)n,
                       (long long)p->options.max_samples);
    batch->number = number;
    batch->n_samples = batch->weight = n;
    return DL_OK;
}

static dl_status fill(void *context, dl_batch *batch, const atomic_bool *stop) {
    const planned *p = context;
    const dl_dataset_info *info = dl_dataset_info_of(p->dataset);
    for (int64_t i = 0; i < batch->n_samples && !atomic_load_explicit(stop, memory_order_relaxed); i++) {
        for (int field = 0; field < info->n_fields; field++) {
            char *out = (char *)batch->field[field] + (size_t)i * info->field[field].sample_bytes;
            DL_RETURN_IF_ERROR(dl_dataset_read(p->dataset, batch->ids[i], field, out));
        }
    }
    return DL_OK;
}

static void release(void *context) {
    planned *p = context;
    dl_free(&p);
}

static dl_batch_source describe(const dl_dataset_info *info, const dl_prefetch_options *options) {
    dl_batch_source source = {.n_buffers = options->n_buffers,
                              .n_fields = info->n_fields,
                              .max_samples = options->max_samples,
                              .plan = plan,
                              .fill = fill,
                              .release = release};
    for (int i = 0; i < info->n_fields; i++) {
        source.sample_bytes[i] = info->field[i].sample_bytes;
    }
    return source;
}

size_t dl_prefetch_bytes(const dl_dataset_info *info, const dl_prefetch_options *options) {
    const dl_batch_source source = describe(info, options);
    return dl_prefetch_buffer_bytes(&source);
}

dl_status dl_prefetch_start(dl_dataset *dataset, const dl_prefetch_options *options, dl_prefetch **out) {
    const dl_dataset_info *info = dl_dataset_info_of(dataset);
    planned *p = NULL;
    *out = NULL;
    DL_RETURN_ERROR_IF(info->n_steps > 0, DL_ERR_INTERNAL,
                       "sequences of different lengths are read by views");
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *p, &p));
    *p = (planned){dataset, *options};
    dl_batch_source source = describe(info, options);
    source.context = p;
    return dl_prefetch_create(&source, out);
}
