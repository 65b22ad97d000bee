/* Digests stored in a file against the bytes of its datasets. */
#define _GNU_SOURCE
#include "base/digest.h"
#include "base/mem.h"
#include "io/h5_private.h"

#include <stdio.h>
#include <string.h>

enum { MAX_DATASETS = 256, BLOCK_BYTES = 1 << 20 };
static const char digests_name[] = "/meta/digests";

/* The digest that is stored for a dataset, NULL: none. */
static const char *stored_digest(const dl_h5_texts *digests, const char *name) {
    const size_t length = strlen(name);
    for (int64_t i = 0; i < digests->n; i++) {
        const char *text = digests->text[i];
        if (strncmp(text, name, length) == 0 && text[length] == ' ') {
            return text + length + 1;
        }
    }
    return NULL;
}

/* Of the bytes as they are read: the same in a file that was stored anew in another layout. */
static dl_status digest_rows(dl_h5 *file, const dl_h5_dataset *dataset, dl_digest *digest) {
    const int64_t rows = dataset->shape.n_dims > 0 ? dataset->shape.dim[0] : 1;
    const size_t row = (size_t)dl_shape_stride(&dataset->shape, 1) * dl_dtype_bytes(dataset->dtype);
    const int64_t fit = BLOCK_BYTES / (int64_t)(row > 0 ? row : 1), at_once = fit > 1 ? fit : 1;
    char *block = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)at_once, row, &block));
    dl_status status = DL_OK;
    for (int64_t first = 0; first < rows && status == DL_OK; first += at_once) {
        const int64_t n = rows - first < at_once ? rows - first : at_once;
        status = dl_h5_read_rows(file, dataset, first, n, block);
        dl_digest_add(digest, block, status == DL_OK ? (size_t)n * row : 0);
    }
    dl_free(&block);
    return status;
}

static dl_status compare(dl_h5 *file, const dl_h5_dataset *dataset, const char *wanted) {
    char found[DL_DIGEST_TEXT_BYTES] = "";
    dl_digest *digest = NULL;
    DL_RETURN_IF_ERROR(dl_digest_create(&digest));
    const dl_status status = digest_rows(file, dataset, digest);
    dl_digest_text(digest, found);
    dl_digest_destroy(&digest);
    DL_RETURN_IF_ERROR(status);
    DL_RETURN_ERROR_IF(
        strcmp(found, wanted) != 0, DL_ERR_DATA,
        "%s: %s is damaged: its digest is %s, it was written with %.40s; copy or import it again", file->path,
        dataset->name, found, wanted);
    return DL_OK;
}

/* What a row of /meta/digests names must be there: numbers, or texts, which are compared only where they lie
 * in the file as they were written. */
static dl_status find_named(dl_h5 *file, const char *row, dl_h5_dataset *out, bool *readable) {
    char name[sizeof out->name] = "";
    const size_t length = strcspn(row, " ");
    bool found = false;
    *readable = true;
    if (length < sizeof name) {
        memcpy(name, row, length);
        const dl_status status = dl_h5_find_texts(file, name, out, &found);
        if (status == DL_ERR_DATA) {
            return dl_h5_find(file, name, out, &found);
        }
        DL_RETURN_IF_ERROR(status);
        *readable = out->offset >= 0;
    }
    DL_RETURN_ERROR_IF(!found, DL_ERR_DATA, "%s: %.60s is missing: it was there when the file was written",
                       file->path, row);
    return DL_OK;
}

static dl_status verify(dl_h5 *file, const dl_h5_texts *digests, dl_h5_dataset *all, int64_t *n_checked,
                        int64_t *n_without) {
    int n = 0;
    DL_RETURN_IF_ERROR(dl_h5_list(file, all, MAX_DATASETS, &n));
    for (int i = 0; i < n; i++) {
        *n_without += stored_digest(digests, all[i].name) == NULL;
    }
    for (int64_t i = 0; i < digests->n; i++) {
        dl_h5_dataset dataset;
        bool readable = false;
        DL_RETURN_IF_ERROR(find_named(file, digests->text[i], &dataset, &readable));
        if (!readable) {
            (*n_without)++;
            continue;
        }
        const char *wanted = stored_digest(digests, dataset.name);
        DL_RETURN_IF_ERROR(compare(file, &dataset, wanted != NULL ? wanted : ""));
        (*n_checked)++;
    }
    return DL_OK;
}

dl_status dl_h5_verify(dl_h5 *file, int64_t *n_checked, int64_t *n_without) {
    dl_h5_texts digests = {0};
    dl_h5_dataset *all = NULL;
    bool found = false;
    *n_checked = *n_without = 0;
    dl_status status = dl_h5_read_texts(file, digests_name, &digests, &found);
    if (status == DL_OK) {
        status = dl_alloc(MAX_DATASETS, sizeof *all, &all);
    }
    if (status == DL_OK) {
        status = verify(file, &digests, all, n_checked, n_without);
    }
    dl_free(&all);
    dl_h5_texts_free(&digests);
    return status;
}
