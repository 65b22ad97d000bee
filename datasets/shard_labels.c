/* Labels of one file: read whole, checked, kept as int32. */
#include "base/mem.h"
#include "datasets/shard.h"

#include <inttypes.h>

enum { LABELS_AT_ONCE = 65536 };

/* Do steps have classes, not samples? */
static bool of_steps(const dl_shard *shard) {
    return shard->field[shard->label_field].kind == DL_FIELD_RAGGED;
}

static dl_status take(dl_shard *shard, void *rows) {
    const dl_h5_dataset *dataset = &shard->dataset[shard->label_field];
    const int64_t least = of_steps(shard) ? -1 : 0;
    for (int64_t first = 0; first < shard->n_labels; first += LABELS_AT_ONCE) {
        const int64_t left = shard->n_labels - first, n = left < LABELS_AT_ONCE ? left : LABELS_AT_ONCE;
        DL_RETURN_IF_ERROR(dl_h5_read_rows(shard->file, dataset, first, n, rows));
        for (int64_t i = 0; i < n; i++) {
            const int64_t label =
                dataset->dtype == DL_I64 ? ((const int64_t *)rows)[i] : ((const int32_t *)rows)[i];
            DL_RETURN_ERROR_IF(label < least || label >= DL_MAX_CLASSES, DL_ERR_DATA,
                               "%s: %s %" PRId64 " has label %" PRId64
                               "; class numbers from 0 to %d are expected%s",
                               shard->path, of_steps(shard) ? "step" : "sample", first + i, label,
                               DL_MAX_CLASSES - 1, of_steps(shard) ? ", or -1 for none" : "");
            shard->label[first + i] = (int32_t)label;
            if (label > shard->label[shard->largest_label]) {
                shard->largest_label = first + i;
            }
        }
    }
    return DL_OK;
}

dl_status dl_shard_take_labels(dl_shard *shard) {
    if (shard->label_field < 0) {
        return DL_OK;
    }
    void *rows = NULL;
    shard->n_labels = of_steps(shard) ? shard->n_steps : shard->n_samples;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)shard->n_labels, sizeof *shard->label, &shard->label));
    DL_RETURN_IF_ERROR(dl_alloc(LABELS_AT_ONCE, sizeof(int64_t), &rows));
    const dl_status status = take(shard, rows);
    dl_free(&rows);
    return status;
}

dl_status dl_shard_check_labels(const dl_shard *shard, int64_t n_classes) {
    if (shard->label_field < 0) {
        return DL_OK;
    }
    const int64_t number = shard->largest_label, label = shard->label[number];
    DL_RETURN_ERROR_IF(label >= n_classes, DL_ERR_DATA,
                       "%s: %s %" PRId64 " has label %" PRId64 " but there are only %" PRId64
                       " classes: labels run from 0 to %" PRId64,
                       shard->path, of_steps(shard) ? "step" : "sample", number, label, n_classes,
                       n_classes - 1);
    return DL_OK;
}
