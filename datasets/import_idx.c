/* Importer `idx`: a file of images and a file of labels become one split. */
#include "base/mem.h"
#include "datasets/idx.h"
#include "datasets/shard_writer.h"

#include <inttypes.h>
#include <stdio.h>

enum { BLOCK_BYTES = 1 << 20 };

static dl_status check_images(const char *path, const dl_shape *shape) {
    DL_RETURN_ERROR_IF(shape->n_dims == 1, DL_ERR_DATA,
                       "%s holds labels (0x00000801) where images are expected; the order is IMAGES LABELS",
                       path);
    DL_RETURN_ERROR_IF(
        shape->n_dims != 3 && shape->n_dims != 4, DL_ERR_DATA,
        "%s has %d dimensions; images have 3 (0x00000803: count, rows, columns) or 4 (0x00000804: with "
        "channels)",
        path, shape->n_dims);
    return DL_OK;
}

static dl_status check_labels(const char *path, const char *images_path, const dl_shape *images,
                              const dl_shape *shape) {
    DL_RETURN_ERROR_IF(shape->n_dims != 1, DL_ERR_DATA,
                       "%s has %d dimensions; labels have 1 (0x00000801); the order is IMAGES LABELS", path,
                       shape->n_dims);
    DL_RETURN_ERROR_IF(shape->dim[0] != images->dim[0], DL_ERR_DATA,
                       "%s has %" PRId64 " labels but %s has %" PRId64 " images", path, shape->dim[0],
                       images_path, images->dim[0]);
    return DL_OK;
}

/* All labels, as int32, and the number of classes they need. */
static dl_status read_labels(dl_idx *idx, int64_t n, int32_t *label, int64_t *n_classes) {
    uint8_t block[4096];
    *n_classes = 0;
    for (int64_t first = 0; first < n; first += (int64_t)sizeof block) {
        const int64_t left = n - first, count = left < (int64_t)sizeof block ? left : (int64_t)sizeof block;
        DL_RETURN_IF_ERROR(dl_idx_read(idx, block, (size_t)count));
        for (int64_t i = 0; i < count; i++) {
            label[first + i] = block[i];
            *n_classes = block[i] >= *n_classes ? (int64_t)block[i] + 1 : *n_classes;
        }
    }
    return dl_idx_expect_end(idx);
}

static dl_dataset_info describe(const dl_shape *images, int64_t n_classes) {
    dl_dataset_info info = {.n_samples = images->dim[0], .n_classes = n_classes, .n_fields = 2};
    dl_field *x = &info.field[0], *y = &info.field[1];
    *x = (dl_field){.name = "x", .dtype = DL_U8, .sample_shape = {3, {images->dim[1], images->dim[2], 1}}};
    if (images->n_dims == 4) {
        x->sample_shape.dim[2] = images->dim[3];
    }
    x->sample_bytes = (size_t)dl_shape_elements(&x->sample_shape);
    *y = (dl_field){.name = "y", .dtype = DL_I32, .sample_bytes = sizeof(int32_t)};
    return info;
}

static dl_status copy_images(dl_idx *images, const dl_dataset_info *info, dl_shard_writer *writer,
                             const dl_import_request *request) {
    const size_t each = info->field[0].sample_bytes;
    const int64_t fit = BLOCK_BYTES / (int64_t)each, at_once = fit < 1 ? 1 : fit;
    uint8_t *block = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)at_once, each, &block));
    dl_status status = DL_OK;
    for (int64_t first = 0; first < info->n_samples; first += at_once) {
        const int64_t left = info->n_samples - first, n = left < at_once ? left : at_once;
        DL_GOTO_IF_ERROR(status, dl_idx_read(images, block, (size_t)n * each), done);
        DL_GOTO_IF_ERROR(status, dl_shard_writer_write(writer, 0, first, n, block), done);
        if (request->progress != NULL) {
            request->progress(request->split, (double)(first + n) / (double)info->n_samples);
        }
    }
    status = dl_idx_expect_end(images);
done:
    dl_free(&block);
    return status;
}

typedef struct idx_import {
    dl_idx *images, *labels;
    int32_t *label;
    dl_shard_writer *writer;
} idx_import;

static dl_status run(idx_import *work, const dl_import_request *request) {
    const char *const *inputs = request->input;
    int64_t n_classes = 0;
    DL_RETURN_IF_ERROR(dl_shard_refuse_existing(request->folder, request->split));
    DL_RETURN_IF_ERROR(dl_idx_open(inputs[0], &work->images));
    const dl_shape *shape = dl_idx_shape(work->images);
    DL_RETURN_IF_ERROR(check_images(inputs[0], shape));
    DL_RETURN_IF_ERROR(dl_idx_open(inputs[1], &work->labels));
    DL_RETURN_IF_ERROR(check_labels(inputs[1], inputs[0], shape, dl_idx_shape(work->labels)));
    DL_RETURN_IF_ERROR(dl_alloc((size_t)shape->dim[0], sizeof *work->label, &work->label));
    DL_RETURN_IF_ERROR(read_labels(work->labels, shape->dim[0], work->label, &n_classes));
    const dl_dataset_info info = describe(shape, n_classes);
    DL_RETURN_IF_ERROR(dl_shard_writer_create(request->folder, request->split, "idx", request->n_shards,
                                              &info, NULL, &work->writer));
    DL_RETURN_IF_ERROR(copy_images(work->images, &info, work->writer, request));
    DL_RETURN_IF_ERROR(dl_shard_writer_write(work->writer, 1, 0, info.n_samples, work->label));
    return dl_shard_writer_commit(work->writer);
}

static dl_status import_idx(const dl_import_request *request) {
    idx_import work = {0};
    const dl_status status = run(&work, request);
    dl_shard_writer_destroy(&work.writer);
    dl_free(&work.label);
    dl_idx_close(&work.labels);
    dl_idx_close(&work.images);
    return status;
}

const dl_importer dl_importer_idx = {
    .name = "idx",
    .usage = "IMAGES LABELS",
    .doc = "images and labels in IDX files (MNIST, Fashion-MNIST, EMNIST), plain or gzip'd",
    .min_inputs = 2,
    .max_inputs = 2,
    .import = import_idx,
};
