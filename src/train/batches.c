#include "train/batches.h"

#include <string.h>

enum { BUFFERS = 3 };

struct dl_batches {
    dl_prefetch *prefetch;
    int64_t n, first; /* samples of the split, the first one's number in its files */
    int64_t batch_size;
    int64_t first_batch; /* number of the first batch in training order */
    int64_t n_batches;   /* after which the plan ends (counted over the whole training) */
    int64_t per_epoch;
    int64_t taken; /* by the consumer */
    bool shuffled;
    uint64_t seed;
    int64_t ordered_epoch; /* the epoch `order` holds, -1: none; the prefetch thread's */
    uint32_t *order;
    int n_ranks, rank;
    bool pieces;
};

/* Samples of global batch `number`: a full batch, or what is left at the end of the epoch. */
static int64_t size_of_batch(const dl_batches *b, int64_t number) {
    const int64_t begin = number % b->per_epoch * b->batch_size;
    return b->n - begin < b->batch_size ? b->n - begin : b->batch_size;
}

static dl_status order_epoch(dl_batches *b, int64_t epoch) {
    if (!b->shuffled || b->ordered_epoch == epoch) {
        return DL_OK;
    }
    b->ordered_epoch = epoch;
    return dl_sampler_order(b->seed, epoch, b->n, b->order);
}

static dl_status plan(void *context, int64_t number, int64_t max_samples, int64_t *ids, int64_t *n) {
    dl_batches *b = context;
    number += b->first_batch;
    if (number >= b->n_batches) {
        *n = -1;
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(order_epoch(b, number / b->per_epoch + 1));
    const dl_range mine = dl_share_samples(size_of_batch(b, number), b->n_ranks, b->rank, 1, 0, b->pieces);
    const int64_t begin = number % b->per_epoch * b->batch_size + mine.begin;
    *n = mine.end - mine.begin;
    DL_RETURN_ERROR_IF(*n > max_samples, DL_ERR_INTERNAL, "a batch of %lld samples does not fit",
                       (long long)*n);
    for (int64_t i = 0; i < *n; i++) {
        ids[i] = b->first + (b->shuffled ? (int64_t)b->order[begin + i] : begin + i);
    }
    return DL_OK;
}

static int64_t largest_share(const dl_session *session) {
    const dl_plan_options *options = &session->plan->options;
    const dl_range share =
        dl_share_samples(options->batch_size, options->n_ranks, options->rank, 1, 0, options->reproducible);
    return share.end - share.begin +
           1; /* a short batch can give a rank one sample more than its share of a full one */
}

size_t dl_batches_bytes(const dl_session *session) {
    const dl_prefetch_options options = {.n_buffers = BUFFERS, .max_samples = largest_share(session)};
    return dl_prefetch_bytes(&session->train_info, &options) +
           (size_t)session->n_samples[DL_SPLIT_TRAIN] * sizeof(uint32_t);
}

static dl_status start(dl_session *session, dl_split split, dl_batches *b) {
    const dl_axis *data = &session->grid->axis[DL_AXIS_DATA];
    b->n = session->split[split].n;
    b->first = session->split[split].first;
    b->batch_size = session->config->train.batch_size;
    b->per_epoch = (b->n + b->batch_size - 1) / b->batch_size;
    b->n_ranks = data->size;
    b->rank = data->index;
    b->pieces = session->config->reproducible;
    b->seed = (uint64_t)session->config->seed;
    b->ordered_epoch = -1;
    if (b->shuffled) {
        DL_RETURN_IF_ERROR(dl_alloc((size_t)b->n, sizeof *b->order, &b->order));
    }
    const dl_prefetch_options options = {
        .n_buffers = BUFFERS, .max_samples = largest_share(session), .plan = plan, .context = b};
    return dl_prefetch_start(session->split[split].dataset, &options, &b->prefetch);
}

static dl_status start_or_stop(dl_session *session, dl_split split, dl_batches *b, dl_batches **out) {
    const dl_status status = start(session, split, b);
    if (status != DL_OK) {
        dl_batches_stop(&b);
        return status;
    }
    *out = b;
    return DL_OK;
}

dl_status dl_batches_start_training(dl_session *session, int64_t first_step, dl_batches **out) {
    dl_batches *b = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *b, &b));
    b->shuffled = true;
    b->first_batch = first_step - 1;
    b->n_batches = session->total_steps;
    return start_or_stop(session, DL_SPLIT_TRAIN, b, out);
}

dl_status dl_batches_start_pass(dl_session *session, dl_split split, dl_batches **out) {
    dl_batches *b = NULL;
    const int64_t batch = session->config->train.batch_size;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *b, &b));
    b->n_batches = (session->split[split].n + batch - 1) / batch;
    return start_or_stop(session, split, b, out);
}

void dl_batches_stop(dl_batches **batches) {
    if (*batches == NULL) {
        return;
    }
    dl_prefetch_stop(&(*batches)->prefetch);
    dl_free(&(*batches)->order);
    dl_free(batches);
}

dl_status dl_batches_next(dl_batches *b, const dl_batch **batch, int64_t *global_samples) {
    DL_RETURN_IF_ERROR(dl_prefetch_next(b->prefetch, batch));
    if (*batch != NULL) {
        *global_samples = size_of_batch(b, b->first_batch + b->taken++);
    }
    return DL_OK;
}

void dl_batches_release(dl_batches *b, const dl_batch *batch) {
    dl_prefetch_release(b->prefetch, batch);
}
