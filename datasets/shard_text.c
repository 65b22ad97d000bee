/* A text as the splits of a data set. */
#include "datasets/shard_writer.h"

enum { MAX_SPLITS = 3, AT_ONCE = 1 << 20 };

static dl_status write_tokens(dl_shard_writer *writer, const dl_text_split *split,
                              void (*progress)(const char *what, double share)) {
    for (int64_t first = 0; first < split->n; first += AT_ONCE) {
        const int64_t n = split->n - first < AT_ONCE ? split->n - first : AT_ONCE;
        DL_RETURN_IF_ERROR(dl_shard_writer_write(writer, 0, first, n, split->token + first));
        if (progress != NULL) {
            progress(split->split, (double)(first + n) / (double)split->n);
        }
    }
    return dl_shard_writer_finish(writer);
}

dl_status dl_shard_write_text(const char *folder, const char *name, int n_shards, const dl_vocab *vocab,
                              int64_t unk_id, const dl_text_split *splits, int n_splits,
                              void (*progress)(const char *what, double share)) {
    dl_shard_writer *writer[MAX_SPLITS] = {NULL};
    const dl_shard_extra extra = {.vocab = vocab};
    dl_dataset_info info = {.vocab_size = vocab->n, .unk_id = unk_id, .n_fields = 1};
    info.field[0] = (dl_field){
        .name = "tokens", .kind = DL_FIELD_TOKENS, .dtype = DL_I32, .sample_bytes = sizeof(int32_t)};
    dl_status status = DL_OK;
    DL_GOTO_ERROR_IF(status, n_splits > MAX_SPLITS, done, DL_ERR_INTERNAL, "%d splits of a text", n_splits);
    for (int i = 0; i < n_splits; i++) {
        info.n_samples = splits[i].n;
        if (splits[i].n > 0) {
            DL_GOTO_IF_ERROR(
                status,
                dl_shard_writer_create(folder, splits[i].split, name, n_shards, &info, &extra, &writer[i]),
                done);
            DL_GOTO_IF_ERROR(status, write_tokens(writer[i], &splits[i], progress), done);
        }
    }
    for (int i = 0; i < n_splits; i++) {
        if (writer[i] != NULL) {
            DL_GOTO_IF_ERROR(status, dl_shard_writer_commit(writer[i]), done);
        }
    }
done:
    for (int i = MAX_SPLITS - 1; i >= 0; i--) {
        dl_shard_writer_destroy(&writer[i]);
    }
    return status;
}
