/* Importer `cifar`: the binary version of CIFAR-10 (Krizhevsky, 2009), records of a label and three planes.
 */
#include "base/mem.h"
#include "datasets/shard_writer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { SIDE = 32, PIXELS = SIDE * SIDE, CHANNELS = 3, N_CLASSES = 10 };
enum { RECORD_BYTES = 1 + CHANNELS * PIXELS, AT_ONCE = 256 };

typedef struct cifar_import {
    int64_t n; /* records of all files */
    FILE *file;
    dl_shard_writer *writer;
    uint8_t record[AT_ONCE * RECORD_BYTES];
    uint8_t image[AT_ONCE * CHANNELS * PIXELS];
    int32_t label[AT_ONCE];
} cifar_import;

static dl_status count_records(const char *path, int64_t *n) {
    struct stat info;
    DL_RETURN_ERROR_IF(stat(path, &info) != 0, errno == ENOENT ? DL_ERR_USAGE : DL_ERR_IO,
                       "cannot open %s: %s", path, strerror(errno));
    DL_RETURN_ERROR_IF(!S_ISREG(info.st_mode), DL_ERR_DATA, "%s is not a file", path);
    DL_RETURN_ERROR_IF(info.st_size == 0 || info.st_size % RECORD_BYTES != 0, DL_ERR_DATA,
                       "%s has %" PRId64
                       " bytes, which is no multiple of %d (a label, 3 x 32 x 32 pixels): it is cut "
                       "off, packed, or not CIFAR-10's binary version%s",
                       path, (int64_t)info.st_size, RECORD_BYTES,
                       info.st_size > 0 && info.st_size % (RECORD_BYTES + 1) == 0
                           ? " (CIFAR-100's, with two labels, is not supported)"
                           : "");
    *n = info.st_size / RECORD_BYTES;
    return DL_OK;
}

/* Planes become pixels: [3, 32, 32] to [32, 32, 3]. */
static void interleave(const uint8_t *planes, uint8_t *image) {
    for (int i = 0; i < PIXELS; i++) {
        for (int c = 0; c < CHANNELS; c++) {
            image[i * CHANNELS + c] = planes[c * PIXELS + i];
        }
    }
}

static dl_status unpack(cifar_import *work, const char *path, int64_t first, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *record = work->record + i * RECORD_BYTES;
        DL_RETURN_ERROR_IF(record[0] >= N_CLASSES, DL_ERR_DATA,
                           "%s: record %" PRId64 " (byte %" PRId64
                           ") has label %d; 0 to 9 are expected: the file is "
                           "damaged or not CIFAR-10",
                           path, first + i, (first + i) * RECORD_BYTES, record[0]);
        work->label[i] = record[0];
        interleave(record + 1, work->image + i * CHANNELS * PIXELS);
    }
    return DL_OK;
}

/* Copies a file of n records to samples `before` and following. */
static dl_status copy_file(const dl_import_request *request, cifar_import *work, const char *path,
                           int64_t before, int64_t n) {
    work->file = fopen(path, "rb");
    DL_RETURN_ERROR_IF(work->file == NULL, DL_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    for (int64_t first = 0; first < n; first += AT_ONCE) {
        const int64_t count = n - first < AT_ONCE ? n - first : AT_ONCE;
        const size_t n_read = fread(work->record, RECORD_BYTES, (size_t)count, work->file);
        DL_RETURN_ERROR_IF(n_read != (size_t)count, ferror(work->file) ? DL_ERR_IO : DL_ERR_DATA,
                           "cannot read %s: %s", path,
                           ferror(work->file) ? strerror(errno) : "it became shorter");
        DL_RETURN_IF_ERROR(unpack(work, path, first, count));
        DL_RETURN_IF_ERROR(dl_shard_writer_write(work->writer, 0, before + first, count, work->image));
        DL_RETURN_IF_ERROR(dl_shard_writer_write(work->writer, 1, before + first, count, work->label));
        if (request->progress != NULL) {
            request->progress(request->split, (double)(before + first + count) / (double)work->n);
        }
    }
    (void)fclose(work->file);
    work->file = NULL;
    return DL_OK;
}

static dl_status run(const dl_import_request *request, cifar_import *work) {
    dl_dataset_info info = {.n_classes = N_CLASSES, .n_fields = 2};
    info.field[0] = (dl_field){.name = "x",
                               .dtype = DL_U8,
                               .sample_shape = DL_SHAPE(SIDE, SIDE, CHANNELS),
                               .sample_bytes = CHANNELS * PIXELS};
    info.field[1] = (dl_field){.name = "y", .dtype = DL_I32, .sample_bytes = sizeof(int32_t)};
    DL_RETURN_IF_ERROR(dl_shard_refuse_existing(request->folder, request->split));
    for (int i = 0; i < request->n_inputs; i++) {
        int64_t n = 0;
        DL_RETURN_IF_ERROR(count_records(request->input[i], &n));
        work->n += n;
    }
    info.n_samples = work->n;
    DL_RETURN_IF_ERROR(dl_shard_writer_create(request->folder, request->split, "cifar", request->n_shards,
                                              &info, NULL, &work->writer));
    int64_t before = 0;
    for (int i = 0; i < request->n_inputs; i++) {
        int64_t n = 0;
        DL_RETURN_IF_ERROR(count_records(request->input[i], &n));
        DL_RETURN_ERROR_IF(n > work->n - before, DL_ERR_DATA, "%s became longer while it was read",
                           request->input[i]);
        DL_RETURN_IF_ERROR(copy_file(request, work, request->input[i], before, n));
        before += n;
    }
    return dl_shard_writer_commit(work->writer);
}

static dl_status import_cifar(const dl_import_request *request) {
    cifar_import *work = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *work, &work));
    const dl_status status = run(request, work);
    if (work->file != NULL) {
        (void)fclose(work->file);
    }
    dl_shard_writer_destroy(&work->writer);
    dl_free(&work);
    return status;
}

const dl_importer dl_importer_cifar = {
    .name = "cifar",
    .usage = "FILE...",
    .doc = "CIFAR-10's binary version: records of 3,073 bytes, a label and 3 x 32 x 32 pixels",
    .min_inputs = 1,
    .max_inputs = INT32_MAX,
    .import = import_cifar,
};
