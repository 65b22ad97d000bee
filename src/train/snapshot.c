#include "train/snapshot.h"

#include "base/thread.h"

#include <string.h>

enum { PIECE_ELEMENTS = 1 << 18 }; /* looked at between two rests of the thread */

size_t dl_snapshot_room(const dl_session *session) {
    const dl_plan_options *options = &session->plan->options;
    const dl_parameter_table *table = &session->model->table;
    const int64_t arenas = 1 + options->update.n_states + (options->ema_decay > 0 ? 1 : 0);
    int64_t elements =
        arenas * table->trainable_elements + table->frozen_elements + table->statistics_elements;
    for (int v = 0; v < session->model->n_values; v++) {
        const dl_value *value = &session->model->value[v];
        elements +=
            value->kind == DL_VALUE_STATE ? options->batch_size * dl_shape_elements(&value->shape) : 0;
    }
    return (size_t)(elements / dl_session_ranks(session)) * sizeof(float);
}

static dl_status make_room(dl_snapshot *snapshot) {
    const size_t n = (size_t)snapshot->state->n;
    DL_RETURN_IF_ERROR(dl_alloc(n, sizeof *snapshot->slice, &snapshot->slice));
    DL_RETURN_IF_ERROR(dl_alloc(n, sizeof *snapshot->source, &snapshot->source));
    snapshot->n_slices = dl_state_slices(snapshot->state, snapshot->slice, snapshot->source);
    for (int i = 0; i < snapshot->n_slices; i++) {
        snapshot->n_bytes += dl_state_slice_bytes(&snapshot->slice[i]);
    }
    void *copy = NULL;
    DL_RETURN_IF_ERROR(dl_pages_alloc(snapshot->n_bytes, &copy));
    snapshot->copy = copy;
    memset(snapshot->copy, 1, snapshot->n_bytes); /* pages that exist: the first copy is as quick as others */
    const char *at = snapshot->copy;
    for (int i = 0; i < snapshot->n_slices; i++) {
        snapshot->slice[i].bytes = at;
        at += dl_state_slice_bytes(&snapshot->slice[i]);
    }
    return DL_OK;
}

dl_status dl_snapshot_create(const dl_session *session, dl_snapshot **out) {
    dl_snapshot *snapshot = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *snapshot, &snapshot));
    snapshot->device = session->device;
    dl_status status = dl_state_create(session, &snapshot->state);
    status = status == DL_OK ? make_room(snapshot) : status;
    if (status != DL_OK) {
        dl_snapshot_destroy(&snapshot);
        return status;
    }
    *out = snapshot;
    return DL_OK;
}

void dl_snapshot_destroy(dl_snapshot **snapshot) {
    dl_snapshot *one = *snapshot;
    if (one == NULL) {
        return;
    }
    dl_state_destroy(&one->state);
    dl_free(&one->slice);
    dl_free(&one->source);
    dl_pages_free(one->copy, one->n_bytes);
    dl_free(snapshot);
}

dl_status dl_snapshot_take(dl_snapshot *snapshot) {
    const dl_backend *backend = snapshot->device->backend;
    char *to = snapshot->copy;
    for (int i = 0; i < snapshot->n_slices; i++) {
        const size_t n_bytes = dl_state_slice_bytes(&snapshot->slice[i]);
        DL_RETURN_IF_ERROR(backend->download(snapshot->device, to, snapshot->source[i], n_bytes, NULL));
        to += n_bytes;
    }
    return DL_OK;
}

/* Without an early end, so that it is vectors: as quick as memory. */
static bool is_finite_piece(const float *value, int64_t n) {
    const uint32_t exponent = 0x7F800000U;
    uint32_t bad = 0;
#pragma omp simd reduction(| : bad)
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &value[i], sizeof bits);
        bad |= (bits & exponent) == exponent;
    }
    return bad == 0;
}

static bool are_finite(const float *value, int64_t n) {
    bool good = true;
    for (int64_t i = 0; i < n && good; i += PIECE_ELEMENTS) {
        good = is_finite_piece(value + i, n - i < PIECE_ELEMENTS ? n - i : PIECE_ELEMENTS);
        dl_thread_rest();
    }
    return good;
}

dl_status dl_snapshot_check_finite(const dl_snapshot *snapshot) {
    for (int i = 0; i < snapshot->n_slices; i++) {
        const dl_checkpoint_slice *slice = &snapshot->slice[i];
        const int64_t n = slice->dtype == DL_F32 ? dl_shape_elements(&slice->shape) : 0;
        DL_RETURN_ERROR_IF(!are_finite(slice->bytes, n), DL_ERR_DIVERGED,
                           "%s holds a NaN or an infinite value", slice->name);
    }
    return DL_OK;
}
