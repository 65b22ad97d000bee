#include "train/batches.h"

#include <string.h>

/* Beside those that training has given to the device and not seen the end of. */
enum { BUFFERS = 3 };

struct dl_batches {
    dl_prefetch *prefetch;
    int n_ranks, rank;
    bool pieces;
};

static dl_range share(const void *context, int64_t n_samples) {
    const dl_batches *b = context;
    return dl_share_samples(n_samples, b->n_ranks, b->rank, 1, 0, b->pieces);
}

/* The share of this rank; `shares` must outlive the reading. */
static dl_view_reading reading_of(const dl_session *session, dl_batches *shares) {
    const dl_plan_options *options = &session->plan->options;
    shares->n_ranks = options->n_ranks;
    shares->rank = options->rank;
    shares->pieces = options->reproducible;
    return (dl_view_reading){.seed = (uint64_t)session->config->seed,
                             .n_buffers = BUFFERS + session->device->backend->steps_in_flight,
                             .share = share,
                             .context = shares};
}

size_t dl_batches_bytes(const dl_session *session) {
    dl_batches shares;
    dl_view_reading reading = reading_of(session, &shares);
    reading.shuffled = session->view_info[DL_SPLIT_TRAIN].kind != DL_VIEW_STREAM;
    return session->view[DL_SPLIT_TRAIN] == NULL ? 0 : dl_view_bytes(session->view[DL_SPLIT_TRAIN], &reading);
}

static dl_status start(const dl_session *session, dl_split split, bool shuffled, dl_range batches,
                       dl_batches **out) {
    dl_batches *b = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *b, &b));
    dl_view_reading reading = reading_of(session, b);
    reading.shuffled = shuffled;
    reading.first_batch = batches.begin;
    reading.end_batch = batches.end;
    const dl_status status = dl_view_start(session->view[split], &reading, &b->prefetch);
    if (status != DL_OK) {
        dl_batches_stop(&b);
        return status;
    }
    *out = b;
    return DL_OK;
}

dl_status dl_batches_start_training(dl_session *session, int64_t first_step, dl_batches **out) {
    const bool shuffled = session->view_info[DL_SPLIT_TRAIN].kind != DL_VIEW_STREAM;
    return start(session, DL_SPLIT_TRAIN, shuffled, (dl_range){first_step - 1, session->total_steps}, out);
}

dl_status dl_batches_start_pass(dl_session *session, dl_split split, dl_batches **out) {
    return start(session, split, false, (dl_range){0, session->view_info[split].n_batches}, out);
}

void dl_batches_stop(dl_batches **batches) {
    if (*batches == NULL) {
        return;
    }
    dl_prefetch_stop(&(*batches)->prefetch);
    dl_free(batches);
}

dl_status dl_batches_next(dl_batches *b, const dl_batch **batch) {
    return dl_prefetch_next(b->prefetch, batch);
}

void dl_batches_release(dl_batches *b, const dl_batch *batch) {
    dl_prefetch_release(b->prefetch, batch);
}
