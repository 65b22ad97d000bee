/* Opens shards of any content: datasets of any name, type and shape, attributes of any value, cut off
 * anywhere.
 *
 * The input is a recipe; the file made from it is well-formed HDF5 up to the cut. Arbitrary bytes would test
 * the parser of libhdf5 instead of the checks made here: it is known to crash on malformed metadata, and
 * opening files of unknown origin is not promised to be safe (datasets/FORMAT.md). */
#define _GNU_SOURCE
#include "base/log.h"
#include "base/mem.h"
#include "datasets/dataset.h"
#include "io/h5.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_DATASETS = 6, MAX_BYTES = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);
int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    if (setenv("DLTRAIN_LOG", "error", 1) != 0 || dl_log_init() != DL_OK) {
        abort();
    }
    return 0;
}

typedef struct recipe {
    const uint8_t *next;
    size_t left;
} recipe;

/* The next byte, 0 after the last. */
static uint8_t take(recipe *r) {
    if (r->left == 0) {
        return 0;
    }
    r->left--;
    return *r->next++;
}

static int64_t take_int64(recipe *r) {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value = value << 8 | take(r);
    }
    return (int64_t)value;
}

typedef struct planned {
    int index;
    dl_dtype dtype;
    size_t n_bytes;
} planned;

/* False when the dataset cannot be declared: a name that is taken, more bytes than a test should write. */
static bool declare(dl_h5_writer *writer, recipe *r, unsigned *used, planned *out) {
    static const char *const names[] = {
        "/x",      "/y",          "/weight",    "/a",
        "/meta/x", "/meta/names", "/b",         "/c",
        "/tokens", "/d",          "/x/offsets", "/x/values",
        "/g",      "/h",          "/i",         "/a_field_name_that_is_longer_than_thirty_one"};
    const unsigned name = take(r) % 16u;
    const uint8_t kind = take(r);
    dl_shape shape = {.n_dims = kind / 16 % (DL_MAX_DIMS + 1)};
    int64_t elements = 1;
    for (int i = 0; i < shape.n_dims; i++) {
        shape.dim[i] = take(r);
        elements *= shape.dim[i] < 1 ? 1 : shape.dim[i] < 1000 ? shape.dim[i] : 1000;
        if (elements > MAX_BYTES) {
            return false;
        }
    }
    if ((*used >> name & 1u) != 0) {
        return false;
    }
    *used |= 1u << name;
    out->dtype = (dl_dtype)(kind % DL_N_DTYPES);
    out->n_bytes = (size_t)dl_shape_elements(&shape) * dl_dtype_bytes(out->dtype);
    return dl_h5_writer_dataset(writer, names[name], out->dtype, &shape, &out->index) == DL_OK;
}

static bool add_attributes(dl_h5_writer *writer, recipe *r) {
    static const char *const names[] = {"n_classes", "dltrain_format"};
    const uint8_t which = take(r);
    bool good = true;
    for (unsigned i = 0; i < 2 && good; i++) {
        switch (which >> (2 * i) & 3u) {
        case 1:
            good = dl_h5_writer_attribute_int(writer, "/", names[i], take(r)) == DL_OK;
            break;
        case 2:
            good = dl_h5_writer_attribute_int(writer, "/", names[i], take_int64(r)) == DL_OK;
            break;
        case 3:
            good = dl_h5_writer_attribute_text(writer, "/", names[i], "ten") == DL_OK;
            break;
        default:
            break;
        }
    }
    return good;
}

static bool fill(dl_h5_writer *writer, recipe *r, const planned *dataset) {
    static uint8_t bytes[MAX_BYTES * 8];
    /* Small numbers of any width: one recipe byte for each element. */
    const size_t each = dl_dtype_bytes(dataset->dtype);
    memset(bytes, 0, dataset->n_bytes);
    for (size_t i = 0; i < dataset->n_bytes && r->left > 0; i += each) {
        const uint8_t value = take(r);
        bytes[i] = value;
        if (value == 0xff) {
            bytes[i + each - 1] = take(r);
        }
    }
    return dl_h5_writer_write(writer, dataset->index, 0, bytes, dataset->n_bytes) == DL_OK;
}

static bool make_file(dl_h5_writer *writer, recipe *r) {
    planned dataset[MAX_DATASETS];
    unsigned used = 0;
    const int n = take(r) % (MAX_DATASETS + 1);
    for (int i = 0; i < n; i++) {
        if (!declare(writer, r, &used, &dataset[i])) {
            return false;
        }
    }
    bool good = add_attributes(writer, r) && dl_h5_writer_layout(writer) == DL_OK;
    for (int i = 0; i < n && good; i++) {
        good = fill(writer, r, &dataset[i]);
    }
    return good && dl_h5_writer_commit(writer) == DL_OK;
}

static void check_field(dl_dataset *dataset, int64_t i, int number) {
    static uint8_t sample[MAX_BYTES * 8];
    const dl_dataset_info *info = dl_dataset_info_of(dataset);
    const dl_field *field = &info->field[number];
    const int64_t steps = field->kind == DL_FIELD_RAGGED ? dl_dataset_length(dataset, i) : 1;
    int32_t label = 0;
    if (steps < 1 || field->sample_bytes * (size_t)steps > sizeof sample ||
        dl_dataset_read(dataset, i, number, sample) != DL_OK) {
        abort();
    }
    memcpy(&label, sample, sizeof label);
    const bool is_class =
        (strcmp(field->name, "y") == 0 && field->dtype == DL_I32) || field->kind == DL_FIELD_TOKENS;
    if (is_class && (label < 0 || label >= info->n_classes)) {
        abort();
    }
}

/* Every view of it delivers an epoch whole. */
static void check_view(dl_dataset *dataset, const dl_view_options *options) {
    dl_view *view = NULL;
    dl_prefetch *prefetch = NULL;
    if (dl_view_open(dataset, options, &view) != DL_OK) {
        return;
    }
    const dl_view_info *info = dl_view_info_of(view);
    const dl_view_reading reading = {.shuffled = true, .end_batch = info->n_batches, .n_buffers = 2};
    int64_t weight = 0;
    const dl_batch *batch = NULL;
    if (dl_view_start(view, &reading, &prefetch) != DL_OK || dl_prefetch_next(prefetch, &batch) != DL_OK) {
        abort();
    }
    while (batch != NULL) {
        weight += batch->weight;
        dl_prefetch_release(prefetch, batch);
        if (dl_prefetch_next(prefetch, &batch) != DL_OK) {
            abort();
        }
    }
    if (weight != info->weight) {
        abort();
    }
    dl_prefetch_stop(&prefetch);
    dl_view_close(&view);
}

/* What was accepted keeps its promises. */
static void check(dl_dataset *dataset) {
    const dl_dataset_info *info = dl_dataset_info_of(dataset);
    const char *first = info->field[0].kind == DL_FIELD_TOKENS ? "tokens" : "x";
    if (info->n_samples < 1 || info->n_fields < 1 || strcmp(info->field[0].name, first) != 0) {
        abort();
    }
    for (int64_t i = 0; i < info->n_samples; i++) {
        for (int field = 0; field < info->n_fields; field++) {
            check_field(dataset, i, field);
        }
    }
    for (dl_view_kind kind = DL_VIEW_SAMPLES; kind <= DL_VIEW_STREAM; kind++) {
        const dl_view_options options = {.kind = kind, .batch_size = 7, .window = 3, .stride = 2};
        check_view(dataset, &options);
    }
}

static void cut(const char *path, unsigned n) {
    struct stat info;
    if (n > 0 && stat(path, &info) == 0 && truncate(path, info.st_size > n ? info.st_size - n : 0) != 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    char path[64];
    recipe r = {bytes, n_bytes};
    dl_h5_writer *writer = NULL;
    (void)snprintf(path, sizeof path, "/dev/shm/fuzz-shard-%ld.h5", (long)getpid());
    if (dl_h5_writer_create(path, &writer) != DL_OK) {
        abort();
    }
    unsigned n_cut = take(&r);
    n_cut = n_cut << 8 | take(&r);
    const bool made = make_file(writer, &r);
    dl_h5_writer_destroy(&writer);
    if (made) {
        cut(path, n_cut);
        dl_dataset *dataset = NULL;
        if (dl_dataset_open_file(path, &dataset) == DL_OK) {
            check(dataset);
        } else if (dl_error_last()->message[0] == '\0') {
            abort();
        }
        dl_dataset_close(&dataset);
        (void)unlink(path);
    }
    return 0;
}
