/* What the tests of checkpoints share: tensors of known content, written by some ranks, and their comparison.
 */
#ifndef DLTRAIN_TESTS_CHECKPOINT_SUPPORT_H
#define DLTRAIN_TESTS_CHECKPOINT_SUPPORT_H

#include "base/mem.h"
#include "train/checkpoint/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLE_TENSORS = 6 };

/* The tensors of a small model: [5, 7] is cut into columns, [13] into rows, a scalar, one without elements,
 * and others are whole on one rank. */
static const dl_checkpoint_tensor sample_tensor[SAMPLE_TENSORS] = {
    {"/optimizer/m/dense/weight", DL_F32, {2, {5, 7}}},
    {"/parameters/dense/bias", DL_F32, {1, {13}}},
    {"/parameters/dense/weight", DL_F32, {2, {5, 7}}},
    {"/parameters/embedding/weight", DL_BF16, {3, {4, 50, 3}}},
    {"/state/counter", DL_I64, {0, {0}}},
    {"/state/empty", DL_F32, {2, {0, 4}}},
};

/* Byte i of a tensor's content at a step. */
static inline unsigned char sample_byte(int tensor, int64_t step, int64_t i) {
    return (unsigned char)(tensor * 41 + step * 17 + i * 7 + i / 251);
}

static inline size_t sample_bytes(int tensor) {
    return (size_t)dl_shape_elements(&sample_tensor[tensor].shape) *
           dl_dtype_bytes(sample_tensor[tensor].dtype);
}

/* The part of dimension `dim` that a rank of so many holds. */
static inline void sample_cut(dl_checkpoint_slice *slice, int dim, int rank, int ranks) {
    const int64_t n = slice->whole.dim[dim];
    slice->offset[dim] = n * rank / ranks;
    slice->shape.dim[dim] = n * (rank + 1) / ranks - slice->offset[dim];
}

/* A rank's slices and their bytes (the caller frees *memory); returns their number. */
static inline int sample_slices(int64_t step, int rank, int ranks, dl_checkpoint_slice *out, char **memory) {
    static const int cut_dim[SAMPLE_TENSORS] = {1, 0, 1, -1, -1, -1};
    size_t total = 0;
    int n = 0;
    for (int t = 0; t < SAMPLE_TENSORS; t++) {
        total += sample_bytes(t);
    }
    *memory = malloc(total + 1);
    char *next = *memory;
    for (int t = 0; t < SAMPLE_TENSORS && next != NULL; t++) {
        dl_checkpoint_slice *slice = &out[n];
        *slice = (dl_checkpoint_slice){.name = sample_tensor[t].name,
                                       .dtype = sample_tensor[t].dtype,
                                       .whole = sample_tensor[t].shape,
                                       .shape = sample_tensor[t].shape,
                                       .bytes = next};
        if (cut_dim[t] < 0 && t % ranks != rank) {
            continue;
        }
        if (cut_dim[t] >= 0) {
            sample_cut(slice, cut_dim[t], rank, ranks);
        }
        const int64_t each = (int64_t)dl_dtype_bytes(slice->dtype),
                      rows = slice->shape.n_dims > 1 ? slice->shape.dim[0] : 1;
        const int64_t row =
            (slice->shape.n_dims > 0 ? dl_shape_elements(&slice->shape) : 1) * each / (rows > 0 ? rows : 1);
        const int64_t whole_row = slice->whole.n_dims > 1 ? dl_shape_stride(&slice->whole, 1) * each : 0;
        const int64_t from =
            slice->shape.n_dims > 0 ? slice->offset[slice->shape.n_dims == 2 ? 1 : 0] * each : 0;
        for (int64_t i = 0; i < rows; i++) {
            for (int64_t k = 0; k < row; k++) {
                *next++ = (char)sample_byte(t, step, i * whole_row + from + k);
            }
        }
        n++;
    }
    return n;
}

/* Lays a part out and writes it. */
static inline dl_status write_slices(const char *folder, int64_t step, int rank,
                                     const dl_checkpoint_slice *slice, int n, const atomic_bool *stop,
                                     dl_text *part) {
    dl_checkpoint_layout *layout = NULL;
    *part = (dl_text){0};
    DL_RETURN_IF_ERROR(dl_checkpoint_layout_create(rank, slice, n, &layout));
    const dl_status status = dl_checkpoint_write_part(folder, step, layout, stop, part);
    dl_checkpoint_layout_destroy(&layout);
    return status;
}

static inline dl_status sample_write_part(const char *folder, int64_t step, int rank, int ranks,
                                          dl_text *part) {
    dl_checkpoint_slice slice[SAMPLE_TENSORS];
    char *memory = NULL;
    const int n = sample_slices(step, rank, ranks, slice, &memory);
    const dl_status status =
        memory == NULL ? dl_error_raise(DL_ERR_MEMORY, __FILE__, __LINE__, __func__, "no memory for a test")
                       : write_slices(folder, step, rank, slice, n, NULL, part);
    free(memory);
    return status;
}

static inline dl_status sample_commit(const char *folder, int64_t step, int ranks, const char *const *part) {
    json_t *state =
        json_pack("{s:I, s:{s:f}}", "position", (json_int_t)step * 10, "best", "valid_loss", 0.1 + 0.2);
    json_t *versions = json_pack("{s:s}", "dltrain", "0.1.0");
    const dl_checkpoint_about about = {.step = step,
                                       .epoch = 1 + step / 10,
                                       .samples = step * 128,
                                       .ranks = ranks,
                                       .config_digest = "00112233445566778899aabbccddeeff",
                                       .data_digest = "",
                                       .versions = versions,
                                       .state = state};
    const dl_status status =
        state == NULL || versions == NULL
            ? dl_error_raise(DL_ERR_MEMORY, __FILE__, __LINE__, __func__, "no memory for a test")
            : dl_checkpoint_commit(folder, &about, part);
    json_decref(state);
    json_decref(versions);
    return status;
}

/* All of a save, each rank's part in turn; abandons when something fails. */
static inline dl_status sample_save(const char *folder, int64_t step, int ranks) {
    dl_text part[16] = {{0}};
    const char *text[16] = {NULL};
    dl_status status = DL_OK;
    for (int rank = 0; rank < ranks && status == DL_OK; rank++) {
        status = sample_write_part(folder, step, rank, ranks, &part[rank]);
        text[rank] = part[rank].data;
    }
    if (status == DL_OK) {
        status = sample_commit(folder, step, ranks, text);
    }
    for (int rank = 0; rank < ranks; rank++) {
        if (status != DL_OK) {
            dl_checkpoint_abandon(folder, step, rank);
        }
        dl_text_free(&part[rank]);
    }
    return status;
}

/* Reads all tensors of an open checkpoint. DL_ERR_DATA when one is not what was written at its step: what a
 * test calls silent damage. */
static inline dl_status sample_compare(dl_checkpoint *c) {
    const dl_checkpoint_about *about = dl_checkpoint_about_of(c);
    DL_RETURN_ERROR_IF(dl_checkpoint_n_tensors(c) != SAMPLE_TENSORS || about->epoch != 1 + about->step / 10 ||
                           about->samples != about->step * 128 ||
                           json_integer_value(json_object_get(about->state, "position")) != about->step * 10,
                       DL_ERR_DATA, "another manifest than was written");
    for (int t = 0; t < SAMPLE_TENSORS; t++) {
        const dl_checkpoint_tensor found = dl_checkpoint_tensor_at(c, t);
        const int64_t origin[DL_MAX_DIMS] = {0};
        unsigned char bytes[4096];
        DL_RETURN_ERROR_IF(strcmp(found.name, sample_tensor[t].name) != 0 ||
                               found.dtype != sample_tensor[t].dtype ||
                               !dl_shape_equal(&found.shape, &sample_tensor[t].shape),
                           DL_ERR_DATA, "another tensor than was written");
        DL_RETURN_IF_ERROR(dl_checkpoint_read(c, t, origin, &found.shape, bytes));
        for (size_t i = 0; i < sample_bytes(t); i++) {
            DL_RETURN_ERROR_IF(bytes[i] != sample_byte(t, about->step, (int64_t)i), DL_ERR_DATA,
                               "byte %zu of %s is not what was written", i, found.name);
        }
    }
    return DL_OK;
}

/* Opens, verifies and compares the checkpoint in a folder. */
static inline dl_status sample_load(const char *path) {
    dl_checkpoint *c = NULL;
    DL_RETURN_IF_ERROR(dl_checkpoint_open(path, &c));
    dl_status status = dl_checkpoint_verify(c, 0, 1);
    if (status == DL_OK) {
        status = sample_compare(c);
    }
    dl_checkpoint_close(&c);
    return status;
}

/* The newest step that can be loaded, -1: none. *silent: some checkpoint was accepted with wrong content. */
static inline int64_t sample_newest(const char *folder, bool *silent) {
    int64_t *steps = NULL, found = -1;
    int n = 0;
    *silent = false;
    if (dl_checkpoint_scan(folder, &steps, &n) != DL_OK) {
        return -1;
    }
    for (int i = 0; i < n && found < 0; i++) {
        char path[4096];
        if (dl_checkpoint_path(folder, steps[i], path, sizeof path) == DL_OK) {
            const dl_status status = sample_load(path);
            *silent = *silent || status == DL_ERR_DATA;
            found = status == DL_OK ? steps[i] : -1;
        }
    }
    dl_free(&steps);
    return found;
}

/* Checkpoints that have a manifest and cannot be loaded: nothing but damage from outside makes them. */
static inline int sample_n_damaged(const char *folder) {
    int64_t *steps = NULL;
    int n = 0, n_damaged = 0;
    if (dl_checkpoint_scan(folder, &steps, &n) != DL_OK) {
        return 1;
    }
    for (int i = 0; i < n; i++) {
        char path[4096];
        n_damaged +=
            dl_checkpoint_path(folder, steps[i], path, sizeof path) != DL_OK || sample_load(path) != DL_OK;
    }
    dl_free(&steps);
    return n_damaged;
}

#endif
