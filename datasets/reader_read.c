/* Reading from an open data set: which file, which row. */
#include "base/mem.h"
#include "datasets/reader.h"

#include <inttypes.h>

static const dl_shard *shard_of(const dl_dataset *dataset, int64_t index) {
    int low = 0, high = dataset->n_shards - 1;
    while (low < high) {
        const int middle = low + (high - low + 1) / 2;
        if (dataset->shard[middle].first <= index) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return &dataset->shard[low];
}

dl_status dl_dataset_read(dl_dataset *dataset, int64_t index, int field, void *out) {
    DL_RETURN_ERROR_IF(index < 0 || index >= dataset->info.n_samples || field < 0 ||
                           field >= dataset->info.n_fields,
                       DL_ERR_INTERNAL, "sample %" PRId64 " or field %d does not exist", index, field);
    const dl_shard *shard = shard_of(dataset, index);
    return dl_shard_read(shard, field, index - shard->first, out);
}

int64_t dl_dataset_length(const dl_dataset *dataset, int64_t index) {
    if (dataset->info.n_steps == 0) {
        return 1;
    }
    const dl_shard *shard = shard_of(dataset, index);
    const int64_t row = index - shard->first;
    return shard->offset[row + 1] - shard->offset[row];
}

dl_status dl_dataset_read_tokens(dl_dataset *dataset, int64_t first, int64_t n, int32_t *out) {
    DL_RETURN_ERROR_IF(dataset->info.field[0].kind != DL_FIELD_TOKENS || first < 0 || n < 0 ||
                           first > dataset->info.n_samples - n,
                       DL_ERR_INTERNAL, "tokens %" PRId64 " to %" PRId64 " do not exist", first, first + n);
    while (n > 0) {
        const dl_shard *shard = shard_of(dataset, first);
        const int64_t begin = first - shard->first, left = shard->n_samples - begin,
                      count = n < left ? n : left;
        DL_RETURN_IF_ERROR(dl_shard_read_tokens(shard, begin, count, out));
        first += count;
        out += count;
        n -= count;
    }
    return DL_OK;
}

dl_status dl_dataset_vocab(const dl_dataset *dataset, dl_vocab *out) {
    const char *path = dataset->shard[0].path;
    dl_h5_texts texts = {0};
    dl_h5 *file = NULL;
    bool found = false;
    *out = (dl_vocab){0};
    DL_RETURN_IF_ERROR(dl_h5_open(path, &file));
    dl_status status = dl_h5_read_texts(file, "/meta/vocab", &texts, &found);
    dl_h5_close(&file);
    *out = (dl_vocab){texts.n, texts.text, texts.bytes};
    DL_RETURN_IF_ERROR(status);
    DL_RETURN_ERROR_IF(!found, DL_ERR_DATA, "%s has no /meta/vocab: which words the tokens are is not known",
                       path);
    DL_RETURN_ERROR_IF(texts.n != dataset->info.vocab_size, DL_ERR_DATA,
                       "%s: /meta/vocab has %" PRId64 " words but vocab_size is %" PRId64, path, texts.n,
                       dataset->info.vocab_size);
    return DL_OK;
}

dl_status dl_dataset_class_names(const dl_dataset *dataset, dl_vocab *out) {
    dl_h5_texts texts = {0};
    dl_h5 *file = NULL;
    bool found = false;
    *out = (dl_vocab){0};
    DL_RETURN_IF_ERROR(dl_h5_open(dataset->shard[0].path, &file));
    const dl_status status = dl_h5_read_texts(file, "/meta/class_names", &texts, &found);
    dl_h5_close(&file);
    *out = (dl_vocab){texts.n, texts.text, texts.bytes};
    return status;
}

void dl_vocab_free(dl_vocab *vocab) {
    dl_free(&vocab->word);
    dl_free(&vocab->bytes);
    vocab->n = 0;
}

dl_status dl_dataset_verify(dl_dataset *dataset, int64_t *n_checked, int64_t *n_without) {
    *n_checked = *n_without = 0;
    for (int i = 0; i < dataset->n_shards; i++) {
        dl_h5 *file = NULL;
        int64_t checked = 0, without = 0;
        DL_RETURN_IF_ERROR(dl_h5_open(dataset->shard[i].path, &file));
        const dl_status status = dl_h5_verify(file, &checked, &without);
        dl_h5_close(&file);
        DL_RETURN_IF_ERROR(status);
        *n_checked += checked;
        *n_without += without;
    }
    return DL_OK;
}
