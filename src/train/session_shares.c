/* A model that the ranks of the tensor axis share: on the host its parameters are whole, on the device each
 * rank has its slices. */
#include "train/session_parts.h"

#include <string.h>

struct dl_shares {
    int size, index;
    dl_partition **of; /* [size] of every rank: whose slices go where */
    dl_host_arenas own;
    float *travelling; /* the arena of one rank after the other */
};

/* A model that has nothing to share is a mistake in the config. */
static dl_status tell(const dl_session *session, dl_diagnostics *diagnostics, dl_status status) {
    if (status == DL_ERR_USAGE && diagnostics != NULL) {
        DL_RETURN_IF_ERROR(
            dl_diagnose(diagnostics, session->config->places.tensor, "%s", dl_error_last()->message));
        return dl_diagnostics_finish(diagnostics);
    }
    return status;
}

dl_status dl_shares_create(dl_session *session, int size, int index, dl_diagnostics *diagnostics) {
    if (size == 1) {
        return DL_OK;
    }
    dl_shares *shares = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *shares, &shares));
    session->shares = shares;
    shares->index = index;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)size, sizeof *shares->of, &shares->of));
    for (; shares->size < size; shares->size++) {
        const dl_status status =
            dl_partition_create(session->model, size, shares->size, &shares->of[shares->size]);
        DL_RETURN_IF_ERROR(tell(session, diagnostics, status));
    }
    return DL_OK;
}

void dl_shares_destroy(dl_shares **shares) {
    if (*shares == NULL) {
        return;
    }
    for (int i = 0; i < (*shares)->size; i++) {
        dl_partition_destroy(&(*shares)->of[i]);
    }
    for (int i = 0; i < DL_N_ARENAS; i++) {
        dl_free(&(*shares)->own.of[i]);
    }
    dl_free(&(*shares)->of);
    dl_free(&(*shares)->travelling);
    dl_free(shares);
}

const dl_partition *dl_shares_partition(const dl_session *session) {
    return session->shares == NULL ? NULL : session->shares->of[session->shares->index];
}

static int64_t elements_of(const dl_shares *shares, int rank, int arena) {
    return dl_arena_elements(&shares->of[rank]->model->table, (dl_arena)arena);
}

/* Of the largest arena of any rank. */
static int64_t most_elements(const dl_shares *shares) {
    int64_t most = 0;
    for (int rank = 0; rank < shares->size; rank++) {
        for (int arena = 0; arena < DL_N_ARENAS; arena++) {
            const int64_t n = elements_of(shares, rank, arena);
            most = n > most ? n : most;
        }
    }
    return most;
}

dl_status dl_shares_take_host_arenas(dl_session *session) {
    dl_shares *shares = session->shares;
    for (int i = 0; i < DL_N_ARENAS && shares != NULL; i++) {
        DL_RETURN_IF_ERROR(
            dl_alloc((size_t)elements_of(shares, shares->index, i), sizeof(float), &shares->own.of[i]));
    }
    return shares == NULL ? DL_OK
                          : dl_alloc((size_t)most_elements(shares), sizeof(float), &shares->travelling);
}

size_t dl_shares_host_bytes(const dl_session *session) {
    const dl_shares *shares = session->shares;
    int64_t elements = shares == NULL ? 0 : most_elements(shares);
    for (int i = 0; i < DL_N_ARENAS && shares != NULL; i++) {
        elements += elements_of(shares, shares->index, i);
    }
    return (size_t)elements * sizeof(float);
}

const float *dl_shares_cut(const dl_session *session, dl_arena arena, const float *whole) {
    const dl_shares *shares = session->shares;
    if (shares == NULL) {
        return whole;
    }
    dl_partition_cut(shares->of[shares->index], &session->model->table, arena, whole, shares->own.of[arena]);
    return shares->own.of[arena];
}

float *dl_shares_place(const dl_session *session, dl_arena arena, float *whole) {
    return session->shares == NULL ? whole : session->shares->own.of[arena];
}

dl_status dl_shares_gather(const dl_session *session, dl_arena arena, float *whole) {
    const dl_shares *shares = session->shares;
    for (int rank = 0; shares != NULL && rank < shares->size; rank++) {
        dl_comm *comm = session->grid->axis[DL_AXIS_TENSOR].comm;
        const size_t n_bytes = (size_t)elements_of(shares, rank, (int)arena) * sizeof *whole;
        if (rank == shares->index && n_bytes > 0) {
            memcpy(shares->travelling, shares->own.of[arena], n_bytes);
        }
        DL_RETURN_IF_ERROR(comm->functions->broadcast(comm, shares->travelling, n_bytes, rank));
        dl_partition_paste(shares->of[rank], &session->model->table, arena, shares->travelling, whole);
    }
    return DL_OK;
}
