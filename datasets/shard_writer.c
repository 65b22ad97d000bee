#define _GNU_SOURCE
#include "datasets/shard_writer.h"

#include "base/mem.h"
#include "base/pieces.h"
#include "base/text.h"
#include "datasets/shard.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TOKENS_AT_ONCE = 4096 };

struct dl_shard_writer {
    dl_dataset_info info;
    dl_shard_extra extra;
    int64_t *offset; /* of a ragged field: steps before each sample, [n_samples + 1] */
    int n_shards;    /* asked for */
    int n_files;     /* begun */
    dl_h5_writer *file[DL_MAX_SHARDS];
    int dataset[DL_MAX_FIELDS];     /* the fields' numbers, the same in every file */
    int offsets, vocab;             /* those of /x/offsets and /meta/vocab */
    char made[DL_SHARD_PATH_BYTES]; /* the folder, where it was not there before; "": it was */
};

dl_status dl_shard_refuse_existing(const char *folder, const char *split) {
    DL_RETURN_ERROR_IF(dl_dataset_exists(folder, split), DL_ERR_USAGE,
                       "%s already holds %s-*.h5; name another folder or delete these files first", folder,
                       split);
    return DL_OK;
}

/* Steps that a range of samples has. */
static int64_t steps_of(const dl_shard_writer *writer, dl_range samples) {
    return writer->offset[samples.end] - writer->offset[samples.begin];
}

static dl_status declare_field(dl_shard_writer *writer, dl_h5_writer *file, int number, dl_range samples) {
    const dl_field *field = &writer->info.field[number];
    const bool ragged = field->kind == DL_FIELD_RAGGED;
    char dataset[DL_FIELD_NAME_BYTES + sizeof "//offsets"];
    const int64_t n = samples.end - samples.begin;
    dl_shape shape = {.n_dims = field->sample_shape.n_dims + 1,
                      .dim = {ragged ? steps_of(writer, samples) : n}};
    DL_RETURN_ERROR_IF(shape.n_dims > DL_MAX_DIMS, DL_ERR_USAGE, "/%s has more than %d dimensions",
                       field->name, DL_MAX_DIMS);
    memcpy(shape.dim + 1, field->sample_shape.dim, (size_t)field->sample_shape.n_dims * sizeof *shape.dim);
    if (ragged) {
        (void)snprintf(dataset, sizeof dataset, "/%s/offsets", field->name);
        DL_RETURN_IF_ERROR(dl_h5_writer_dataset(file, dataset, DL_I64, &DL_SHAPE(n + 1), &writer->offsets));
    }
    const bool narrow = field->kind == DL_FIELD_TOKENS && writer->info.vocab_size <= UINT16_MAX + 1;
    (void)snprintf(dataset, sizeof dataset, "/%s%s", field->name, ragged ? "/values" : "");
    return dl_h5_writer_dataset(file, dataset, narrow ? DL_U16 : field->dtype, &shape,
                                &writer->dataset[number]);
}

static int64_t longest_word(const dl_vocab *vocab) {
    size_t longest = 1;
    for (int64_t i = 0; i < vocab->n; i++) {
        const size_t length = strlen(vocab->word[i]);
        longest = length > longest ? length : longest;
    }
    return (int64_t)longest;
}

static dl_status declare_vocabulary(dl_shard_writer *writer, dl_h5_writer *file) {
    const dl_vocab *vocab = writer->extra.vocab;
    DL_RETURN_IF_ERROR(dl_h5_writer_attribute_int(file, "/tokens", "vocab_size", writer->info.vocab_size));
    DL_RETURN_IF_ERROR(dl_h5_writer_attribute_int(file, "/tokens", "unk_id", writer->info.unk_id));
    const int64_t width = longest_word(vocab);
    DL_RETURN_ERROR_IF(
        width > (INT64_C(64) << 20) / vocab->n, DL_ERR_DATA,
        "a vocabulary of %lld words, the longest of %lld bytes, is too large; use --vocab N, or divide "
        "the text into words",
        (long long)vocab->n, (long long)width);
    return dl_h5_writer_texts(file, "/meta/vocab", vocab->n, width, &writer->vocab);
}

static dl_status declare_attributes(const dl_shard_writer *writer, dl_h5_writer *file, const char *name) {
    DL_RETURN_IF_ERROR(dl_h5_writer_attribute_int(file, "/", "dltrain_format", DL_SHARD_FORMAT));
    DL_RETURN_IF_ERROR(dl_h5_writer_attribute_text(file, "/", "name", name));
    if (writer->info.n_classes > 0 && writer->info.vocab_size == 0) {
        DL_RETURN_IF_ERROR(dl_h5_writer_attribute_int(file, "/", "n_classes", writer->info.n_classes));
    }
    return DL_OK;
}

/* Offsets count from the file's own first step. */
static dl_status write_offsets(dl_shard_writer *writer, dl_h5_writer *file, dl_range samples) {
    for (int64_t i = samples.begin; i <= samples.end; i++) {
        const int64_t offset = writer->offset[i] - writer->offset[samples.begin];
        DL_RETURN_IF_ERROR(dl_h5_writer_write(
            file, writer->offsets, (i - samples.begin) * (int64_t)sizeof offset, &offset, sizeof offset));
    }
    return DL_OK;
}

static dl_status write_vocabulary(dl_shard_writer *writer, dl_h5_writer *file) {
    const dl_vocab *vocab = writer->extra.vocab;
    const int64_t width = longest_word(vocab);
    char *rows = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)vocab->n, (size_t)width, &rows));
    for (int64_t i = 0; i < vocab->n; i++) {
        memcpy(rows + i * width, vocab->word[i], strlen(vocab->word[i]));
    }
    const dl_status status = dl_h5_writer_write(file, writer->vocab, 0, rows, (size_t)(vocab->n * width));
    dl_free(&rows);
    return status;
}

static dl_status begin_file(dl_shard_writer *writer, int number, const char *folder, const char *split,
                            const char *name) {
    char path[DL_SHARD_PATH_BYTES], file_name[128];
    const int n =
        snprintf(file_name, sizeof file_name, "%s-%05d-of-%05d.h5", split, number, writer->n_shards);
    DL_RETURN_ERROR_IF(n < 0 || (size_t)n >= sizeof file_name, DL_ERR_USAGE,
                       "the split name %.60s is too long", split);
    DL_RETURN_IF_ERROR(dl_path_join(path, sizeof path, folder, file_name));
    DL_RETURN_IF_ERROR(dl_h5_writer_create(path, &writer->file[writer->n_files]));
    dl_h5_writer *file = writer->file[writer->n_files++];
    dl_h5_writer_keep_digests(file);
    const dl_range range = dl_range_part(writer->info.n_samples, writer->n_shards, number);
    for (int i = 0; i < writer->info.n_fields; i++) {
        DL_RETURN_IF_ERROR(declare_field(writer, file, i, range));
    }
    DL_RETURN_IF_ERROR(declare_attributes(writer, file, name));
    if (writer->extra.vocab != NULL) {
        DL_RETURN_IF_ERROR(declare_vocabulary(writer, file));
    }
    DL_RETURN_IF_ERROR_DOING(dl_h5_writer_layout(file), "laying out %.140s", path);
    if (writer->offset != NULL) {
        DL_RETURN_IF_ERROR(write_offsets(writer, file, range));
    }
    return writer->extra.vocab != NULL ? write_vocabulary(writer, file) : DL_OK;
}

static dl_status count_offsets(dl_shard_writer *writer) {
    if (writer->extra.length == NULL) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_alloc((size_t)writer->info.n_samples + 1, sizeof *writer->offset, &writer->offset));
    for (int64_t i = 0; i < writer->info.n_samples; i++) {
        writer->offset[i + 1] = writer->offset[i] + writer->extra.length[i];
    }
    return DL_OK;
}

static dl_status begin_files(dl_shard_writer *writer, const char *folder, const char *split,
                             const char *name) {
    const bool is_new = !dl_file_exists(folder);
    DL_RETURN_IF_ERROR(dl_make_folders(folder));
    (void)snprintf(writer->made, sizeof writer->made, "%s", is_new ? folder : "");
    DL_RETURN_IF_ERROR(dl_shard_refuse_existing(folder, split));
    DL_RETURN_IF_ERROR(count_offsets(writer));
    for (int i = 0; i < writer->n_shards; i++) {
        DL_RETURN_IF_ERROR(begin_file(writer, i, folder, split, name));
    }
    return DL_OK;
}

dl_status dl_shard_writer_create(const char *folder, const char *split, const char *name, int n_shards,
                                 const dl_dataset_info *info, const dl_shard_extra *extra,
                                 dl_shard_writer **out) {
    *out = NULL;
    DL_RETURN_ERROR_IF(n_shards < 1 || n_shards > DL_MAX_SHARDS || n_shards > info->n_samples, DL_ERR_USAGE,
                       "%lld %s cannot be written to %d files; 1 to %d are possible, at most one for each",
                       (long long)info->n_samples, info->vocab_size > 0 ? "tokens" : "samples", n_shards,
                       DL_MAX_SHARDS);
    dl_shard_writer *writer = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *writer, &writer));
    writer->info = *info;
    writer->extra = extra != NULL ? *extra : (dl_shard_extra){0};
    writer->n_shards = n_shards;
    const dl_status status = begin_files(writer, folder, split, name);
    if (status != DL_OK) {
        dl_shard_writer_destroy(&writer);
        return dl_error_add_frame(status, __FILE__, __LINE__, __func__, "beginning split %s in %.100s", split,
                                  folder);
    }
    *out = writer;
    return DL_OK;
}

/* Tokens of a text as they are stored. */
static dl_status write_tokens(dl_h5_writer *file, int dataset, int64_t first, int64_t n,
                              const int32_t *token) {
    uint16_t block[TOKENS_AT_ONCE];
    for (int64_t begin = 0; begin < n; begin += TOKENS_AT_ONCE) {
        const int64_t count = n - begin < TOKENS_AT_ONCE ? n - begin : TOKENS_AT_ONCE;
        for (int64_t i = 0; i < count; i++) {
            block[i] = (uint16_t)token[begin + i];
        }
        DL_RETURN_IF_ERROR(
            dl_h5_writer_write(file, dataset, 2 * (first + begin), block, (size_t)count * sizeof *block));
    }
    return DL_OK;
}

/* Samples begin .. end of file `number`, which holds `range`; *next is moved behind them. */
static dl_status write_part(dl_shard_writer *writer, int number, int field, dl_range range, dl_range samples,
                            const char **next) {
    const dl_field *each = &writer->info.field[field];
    dl_h5_writer *file = writer->file[number];
    int64_t first = samples.begin - range.begin, n = samples.end - samples.begin;
    if (each->kind == DL_FIELD_RAGGED) {
        first = steps_of(writer, (dl_range){range.begin, samples.begin});
        n = steps_of(writer, samples);
    }
    const char *bytes = *next;
    *next += (size_t)n * each->sample_bytes;
    if (each->kind == DL_FIELD_TOKENS && writer->info.vocab_size <= UINT16_MAX + 1) {
        return write_tokens(file, writer->dataset[field], first, n, (const int32_t *)(const void *)bytes);
    }
    return dl_h5_writer_write(file, writer->dataset[field], first * (int64_t)each->sample_bytes, bytes,
                              (size_t)n * each->sample_bytes);
}

dl_status dl_shard_writer_write(dl_shard_writer *writer, int field, int64_t first, int64_t n,
                                const void *samples) {
    DL_RETURN_ERROR_IF(field < 0 || field >= writer->info.n_fields || first < 0 || n < 0 ||
                           first > writer->info.n_samples - n,
                       DL_ERR_INTERNAL, "samples %lld to %lld of field %d do not exist", (long long)first,
                       (long long)(first + n), field);
    const char *next = samples;
    for (int i = 0; i < writer->n_files; i++) {
        const dl_range range = dl_range_part(writer->info.n_samples, writer->n_shards, i);
        const dl_range part = {first > range.begin ? first : range.begin,
                               first + n < range.end ? first + n : range.end};
        if (part.begin < part.end) {
            DL_RETURN_IF_ERROR(write_part(writer, i, field, range, part, &next));
        }
    }
    return DL_OK;
}

dl_status dl_shard_writer_finish(dl_shard_writer *writer) {
    for (int i = 0; i < writer->n_files; i++) {
        DL_RETURN_IF_ERROR(dl_h5_writer_finish(writer->file[i]));
    }
    return DL_OK;
}

dl_status dl_shard_writer_commit(dl_shard_writer *writer) {
    DL_RETURN_IF_ERROR(dl_shard_writer_finish(writer));
    for (int i = 0; i < writer->n_files; i++) {
        DL_RETURN_IF_ERROR(dl_h5_writer_commit(writer->file[i]));
    }
    return DL_OK;
}

void dl_shard_writer_destroy(dl_shard_writer **writer) {
    if (*writer == NULL) {
        return;
    }
    for (int i = 0; i < (*writer)->n_files; i++) {
        dl_h5_writer_destroy(&(*writer)->file[i]);
    }
    if ((*writer)->made[0] != '\0') {
        (void)rmdir((*writer)->made); /* if it is empty */
    }
    dl_free(&(*writer)->offset);
    dl_free(writer);
}
