/* Samples of different lengths: all steps one after another in /x/values, where each begins in /x/offsets. */
#include "base/mem.h"
#include "datasets/shard.h"

#include <inttypes.h>
#include <string.h>

static const dl_h5_dataset *find(const dl_h5_dataset *all, int n, const char *name) {
    for (int i = 0; i < n; i++) {
        if (strcmp(all[i].name, name) == 0) {
            return &all[i];
        }
    }
    return NULL;
}

static dl_status check_forms(const char *path, const dl_h5_dataset *values, const dl_h5_dataset *offsets) {
    char text[DL_SHAPE_TEXT_BYTES];
    DL_RETURN_ERROR_IF(values->dtype != DL_U8 && values->dtype != DL_F32, DL_ERR_DATA,
                       "%s: /x/values is %s; uint8 or float32 is expected", path,
                       dl_dtype_name(values->dtype));
    DL_RETURN_ERROR_IF(values->shape.n_dims < 2 || dl_shape_elements(&values->shape) == 0, DL_ERR_DATA,
                       "%s: /x/values has shape %s; [sum of lengths, F] is expected: a row for each step",
                       path, dl_shape_text(&values->shape, text));
    DL_RETURN_ERROR_IF(offsets->dtype != DL_I64, DL_ERR_DATA, "%s: /x/offsets is %s; int64 is expected", path,
                       dl_dtype_name(offsets->dtype));
    DL_RETURN_ERROR_IF(
        offsets->shape.n_dims != 1 || offsets->shape.dim[0] < 2, DL_ERR_DATA,
        "%s: /x/offsets has shape %s; [N + 1] is expected: where each sample begins, and the end", path,
        dl_shape_text(&offsets->shape, text));
    return DL_OK;
}

/* The offsets rise from 0 to the number of steps; no sample is empty. */
static dl_status check_offsets(dl_shard *shard, int64_t n_steps) {
    const int64_t *offset = shard->offset, n = shard->n_samples;
    DL_RETURN_ERROR_IF(offset[0] != 0, DL_ERR_DATA, "%s: /x/offsets begins with %" PRId64 "; 0 is expected",
                       shard->path, offset[0]);
    for (int64_t i = 0; i < n; i++) {
        DL_RETURN_ERROR_IF(offset[i + 1] == offset[i], DL_ERR_DATA,
                           "%s: sample %" PRId64 " has length 0 (/x/offsets is %" PRId64
                           " before and behind it); leave empty samples out",
                           shard->path, i, offset[i]);
        DL_RETURN_ERROR_IF(offset[i + 1] < offset[i], DL_ERR_DATA,
                           "%s: /x/offsets falls from %" PRId64 " to %" PRId64 " at sample %" PRId64
                           "; it must rise from 0 to the number of steps",
                           shard->path, offset[i], offset[i + 1], i);
        DL_RETURN_ERROR_IF(offset[i + 1] > n_steps, DL_ERR_DATA,
                           "%s: sample %" PRId64 " ends at step %" PRId64 " but /x/values has %" PRId64
                           " rows",
                           shard->path, i, offset[i + 1], n_steps);
        const int64_t length = offset[i + 1] - offset[i];
        shard->min_length = i == 0 || length < shard->min_length ? length : shard->min_length;
        shard->max_length = length > shard->max_length ? length : shard->max_length;
    }
    DL_RETURN_ERROR_IF(offset[n] != n_steps, DL_ERR_DATA,
                       "%s: /x/offsets ends with %" PRId64 " but /x/values has %" PRId64 " rows", shard->path,
                       offset[n], n_steps);
    shard->n_steps = n_steps;
    return DL_OK;
}

dl_status dl_shard_take_ragged(dl_shard *shard, const dl_h5_dataset *all, int n,
                               const dl_h5_dataset **values) {
    const dl_h5_dataset *offsets = find(all, n, "/x/offsets");
    *values = find(all, n, "/x/values");
    if (*values == NULL && offsets == NULL) {
        return DL_OK;
    }
    DL_RETURN_ERROR_IF(*values == NULL || offsets == NULL, DL_ERR_DATA,
                       "%s has no %s; sequences of different lengths are /x/values and /x/offsets",
                       shard->path, *values == NULL ? "/x/values" : "/x/offsets");
    DL_RETURN_IF_ERROR(check_forms(shard->path, *values, offsets));
    shard->n_samples = offsets->shape.dim[0] - 1;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)shard->n_samples + 1, sizeof *shard->offset, &shard->offset));
    DL_RETURN_IF_ERROR(dl_h5_read_rows(shard->file, offsets, 0, shard->n_samples + 1, shard->offset));
    return check_offsets(shard, (*values)->shape.dim[0]);
}

/* --- classes of steps --- */

static dl_status check_label_offsets(dl_shard *shard, const dl_h5_dataset *offsets) {
    const int64_t n = shard->n_samples + 1;
    DL_RETURN_ERROR_IF(offsets->dtype != DL_I64 || offsets->shape.n_dims != 1 || offsets->shape.dim[0] != n,
                       DL_ERR_DATA, "%s: /y/offsets is not like /x/offsets; leave it out or copy that",
                       shard->path);
    int64_t *have = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n, sizeof *have, &have));
    dl_status status = dl_h5_read_rows(shard->file, offsets, 0, n, have);
    for (int64_t i = 0; i < n && status == DL_OK; i++) {
        DL_GOTO_ERROR_IF(status, have[i] != shard->offset[i], done, DL_ERR_DATA,
                         "%s: /y/offsets[%" PRId64 "] is %" PRId64 ", /x/offsets[%" PRId64 "] %" PRId64
                         "; a step has one class",
                         shard->path, i, have[i], i, shard->offset[i]);
    }
done:
    dl_free(&have);
    return status;
}

dl_status dl_shard_find_step_labels(dl_shard *shard, const dl_h5_dataset *all, int n, dl_h5_dataset *labels,
                                    bool *found) {
    const dl_h5_dataset *values = find(all, n, "/y/values"), *offsets = find(all, n, "/y/offsets");
    char text[DL_SHAPE_TEXT_BYTES];
    *found = values != NULL;
    if (values == NULL) {
        return DL_OK;
    }
    DL_RETURN_ERROR_IF(shard->offset == NULL, DL_ERR_DATA,
                       "%s has /y/values but no /x/values: classes of steps belong to sequences",
                       shard->path);
    DL_RETURN_ERROR_IF(values->dtype != DL_I32 && values->dtype != DL_I64, DL_ERR_DATA,
                       "%s: /y/values is %s; int32 or int64 is expected", shard->path,
                       dl_dtype_name(values->dtype));
    DL_RETURN_ERROR_IF(values->shape.n_dims != 1 || values->shape.dim[0] != shard->n_steps, DL_ERR_DATA,
                       "%s: /y/values has shape %s, but /x/values has %" PRId64 " rows; a step has one class",
                       shard->path, dl_shape_text(&values->shape, text), shard->n_steps);
    *labels = *values;
    return offsets == NULL ? DL_OK : check_label_offsets(shard, offsets);
}
