#include "datasets/shard_writer.h"

#include "base/mem.h"
#include "base/pieces.h"
#include "base/text.h"
#include "datasets/shard.h"

#include <stdio.h>
#include <string.h>

struct dl_shard_writer {
    dl_dataset_info info;
    int n_shards; /* asked for */
    int n_files;  /* begun */
    dl_h5_writer *file[DL_MAX_SHARDS];
    int dataset[DL_MAX_FIELDS]; /* the fields' numbers, the same in every file */
};

dl_status dl_shard_refuse_existing(const char *folder, const char *split) {
    DL_RETURN_ERROR_IF(dl_dataset_exists(folder, split), DL_ERR_USAGE,
                       "%s already holds %s-*.h5; name another folder or delete these files first", folder,
                       split);
    return DL_OK;
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
    const dl_range range = dl_range_part(writer->info.n_samples, writer->n_shards, number);
    for (int i = 0; i < writer->info.n_fields; i++) {
        const dl_field *field = &writer->info.field[i];
        char dataset[DL_FIELD_NAME_BYTES + 1];
        (void)snprintf(dataset, sizeof dataset, "/%s", field->name);
        dl_shape shape = {.n_dims = field->sample_shape.n_dims + 1, .dim = {range.end - range.begin}};
        DL_RETURN_ERROR_IF(shape.n_dims > DL_MAX_DIMS, DL_ERR_USAGE, "%s has more than %d dimensions",
                           dataset, DL_MAX_DIMS);
        memcpy(shape.dim + 1, field->sample_shape.dim,
               (size_t)field->sample_shape.n_dims * sizeof *shape.dim);
        DL_RETURN_IF_ERROR(dl_h5_writer_dataset(file, dataset, field->dtype, &shape, &writer->dataset[i]));
    }
    DL_RETURN_IF_ERROR(dl_h5_writer_attribute_int(file, "/", "dltrain_format", DL_SHARD_FORMAT));
    DL_RETURN_IF_ERROR(dl_h5_writer_attribute_text(file, "/", "name", name));
    if (writer->info.n_classes > 0) {
        DL_RETURN_IF_ERROR(dl_h5_writer_attribute_int(file, "/", "n_classes", writer->info.n_classes));
    }
    DL_RETURN_IF_ERROR_DOING(dl_h5_writer_layout(file), "laying out %.140s", path);
    return DL_OK;
}

static dl_status begin_files(dl_shard_writer *writer, const char *folder, const char *split,
                             const char *name) {
    DL_RETURN_IF_ERROR(dl_make_folders(folder));
    DL_RETURN_IF_ERROR(dl_shard_refuse_existing(folder, split));
    for (int i = 0; i < writer->n_shards; i++) {
        DL_RETURN_IF_ERROR(begin_file(writer, i, folder, split, name));
    }
    return DL_OK;
}

dl_status dl_shard_writer_create(const char *folder, const char *split, const char *name, int n_shards,
                                 const dl_dataset_info *info, dl_shard_writer **out) {
    *out = NULL;
    DL_RETURN_ERROR_IF(
        n_shards < 1 || n_shards > DL_MAX_SHARDS || n_shards > info->n_samples, DL_ERR_USAGE,
        "%lld samples cannot be written to %d files; 1 to %d are possible, at most one for each sample",
        (long long)info->n_samples, n_shards, DL_MAX_SHARDS);
    dl_shard_writer *writer = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *writer, &writer));
    writer->info = *info;
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

dl_status dl_shard_writer_write(dl_shard_writer *writer, int field, int64_t first, int64_t n,
                                const void *samples) {
    DL_RETURN_ERROR_IF(field < 0 || field >= writer->info.n_fields || first < 0 || n < 0 ||
                           first > writer->info.n_samples - n,
                       DL_ERR_INTERNAL, "samples %lld to %lld of field %d do not exist", (long long)first,
                       (long long)(first + n), field);
    const size_t row = writer->info.field[field].sample_bytes;
    const char *next = samples;
    for (int i = 0; i < writer->n_files; i++) {
        const dl_range range = dl_range_part(writer->info.n_samples, writer->n_shards, i);
        const int64_t begin = first > range.begin ? first : range.begin;
        const int64_t end = first + n < range.end ? first + n : range.end;
        if (begin >= end) {
            continue;
        }
        const size_t n_bytes = (size_t)(end - begin) * row;
        DL_RETURN_IF_ERROR(dl_h5_writer_write(writer->file[i], writer->dataset[field],
                                              (begin - range.begin) * (int64_t)row, next, n_bytes));
        next += n_bytes;
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
    dl_free(writer);
}
