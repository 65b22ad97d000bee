/* Importer `sequences`: a text of sequences and their classes become one split. */
#include "base/mem.h"
#include "base/text.h"
#include "datasets/sequences.h"
#include "datasets/shard.h"
#include "datasets/shard_writer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_LABELS, AT_ONCE = 4096 };

static const dl_data_option options[] = {
    {"labels", "N,N,...|FILE",
     "sequences: how many belong to class 0, 1, ... one after another, or a file with the class of each"},
    {NULL, NULL, NULL},
};

typedef struct sequence_import {
    dl_text text;
    dl_sequences sequences;
    int32_t *label; /* [n] */
    int64_t n_labels, capacity;
    int64_t n_classes;
    dl_shard_writer *writer;
} sequence_import;

static dl_status add_label(sequence_import *work, int64_t label, int64_t times) {
    for (int64_t i = 0; i < times; i++) {
        DL_RETURN_IF_ERROR(dl_grow(&work->label, &work->capacity, work->n_labels + 1, sizeof *work->label));
        work->label[work->n_labels++] = (int32_t)label;
    }
    work->n_classes = label >= work->n_classes ? label + 1 : work->n_classes;
    return DL_OK;
}

enum { NUMBER_BYTES = 24 }; /* digits of an int64, and more */

/* A whole number of n bytes that is not negative; the text of it for messages, cut off when it is long. */
static bool parse_number(const char *word, size_t n, char text[NUMBER_BYTES], int64_t *out) {
    memset(text, 0, NUMBER_BYTES);
    memcpy(text, word, n < NUMBER_BYTES ? n : NUMBER_BYTES - 1);
    return n < NUMBER_BYTES && dl_parse_int64(text, out) && *out >= 0;
}

static dl_status read_label_file(const char *path, sequence_import *work) {
    static const char between[] = " \t\r\n,";
    char word[NUMBER_BYTES];
    dl_text text = {0};
    dl_status status = dl_file_read(path, SIZE_MAX / 4, &text);
    const char *next = text.data != NULL ? text.data : "";
    for (size_t n = 0; status == DL_OK && *(next += strspn(next, between)) != '\0'; next += n) {
        int64_t label = 0;
        n = strcspn(next, between);
        DL_GOTO_ERROR_IF(
            status, !parse_number(next, n, word, &label) || label >= DL_MAX_CLASSES, done, DL_ERR_DATA,
            "%s: label %" PRId64 " (counted from 0) is '%s'; class numbers from 0 to %d are expected", path,
            work->n_labels, word, DL_MAX_CLASSES - 1);
        status = add_label(work, label, 1);
    }
done:
    dl_text_free(&text);
    return status;
}

static dl_status read_label_counts(const char *list, sequence_import *work) {
    char word[NUMBER_BYTES];
    const char *next = list;
    for (int64_t class = 0;; class ++) {
        const size_t n = strcspn(next, ",");
        int64_t times = 0;
        DL_RETURN_ERROR_IF(!parse_number(next, n, word, &times) || times > work->sequences.n, DL_ERR_USAGE,
                           "--labels: '%s' is neither a file nor a number of samples from 0 to %" PRId64,
                           word, work->sequences.n);
        DL_RETURN_IF_ERROR(add_label(work, class, times));
        if (next[n] == '\0') {
            return DL_OK;
        }
        next += n + 1;
    }
}

static dl_status take_labels(const dl_import_request *request, sequence_import *work) {
    const char *labels = request->option[OPTION_LABELS];
    if (labels == NULL) {
        return DL_OK;
    }
    const bool is_file = dl_file_exists(labels);
    DL_RETURN_IF_ERROR(is_file ? read_label_file(labels, work) : read_label_counts(labels, work));
    DL_RETURN_ERROR_IF(work->n_labels != work->sequences.n, is_file ? DL_ERR_DATA : DL_ERR_USAGE,
                       "%s%s gives %" PRId64 " labels but %s has %" PRId64 " sequences",
                       is_file ? "" : "--labels ", labels, work->n_labels, request->input[0],
                       work->sequences.n);
    return DL_OK;
}

static dl_dataset_info describe(const sequence_import *work) {
    const int64_t n_features = work->sequences.n_features;
    dl_dataset_info info = {.n_samples = work->sequences.n,
                            .n_classes = work->n_classes,
                            .n_fields = work->label != NULL ? 2 : 1};
    info.field[0] = (dl_field){.name = "x",
                               .kind = DL_FIELD_RAGGED,
                               .dtype = DL_F32,
                               .sample_shape = DL_SHAPE(n_features),
                               .sample_bytes = (size_t)n_features * sizeof(float)};
    info.field[1] = (dl_field){.name = "y", .dtype = DL_I32, .sample_bytes = sizeof(int32_t)};
    return info;
}

static dl_status write_values(const dl_import_request *request, sequence_import *work) {
    const dl_sequences *all = &work->sequences;
    const float *next = all->value;
    for (int64_t first = 0; first < all->n; first += AT_ONCE) {
        const int64_t n = all->n - first < AT_ONCE ? all->n - first : AT_ONCE;
        DL_RETURN_IF_ERROR(dl_shard_writer_write(work->writer, 0, first, n, next));
        for (int64_t i = first; i < first + n; i++) {
            next += all->length[i] * all->n_features;
        }
        if (request->progress != NULL) {
            request->progress(request->split, (double)(first + n) / (double)all->n);
        }
    }
    return DL_OK;
}

static dl_status run(const dl_import_request *request, sequence_import *work) {
    DL_RETURN_IF_ERROR(dl_shard_refuse_existing(request->folder, request->split));
    DL_RETURN_IF_ERROR(dl_file_read(request->input[0], SIZE_MAX / 4, &work->text));
    DL_RETURN_IF_ERROR(dl_sequences_parse(request->input[0], work->text.data != NULL ? work->text.data : "",
                                          work->text.size, &work->sequences));
    DL_RETURN_IF_ERROR(take_labels(request, work));
    const dl_dataset_info info = describe(work);
    const dl_shard_extra extra = {.length = work->sequences.length};
    DL_RETURN_IF_ERROR(dl_shard_writer_create(request->folder, request->split, "sequences", request->n_shards,
                                              &info, &extra, &work->writer));
    DL_RETURN_IF_ERROR(write_values(request, work));
    if (work->label != NULL) {
        DL_RETURN_IF_ERROR(dl_shard_writer_write(work->writer, 1, 0, info.n_samples, work->label));
    }
    return dl_shard_writer_commit(work->writer);
}

static dl_status import_sequences(const dl_import_request *request) {
    sequence_import work = {0};
    const dl_status status = run(request, &work);
    dl_shard_writer_destroy(&work.writer);
    dl_free(&work.label);
    dl_sequences_free(&work.sequences);
    dl_text_free(&work.text);
    return status;
}

const dl_importer dl_importer_sequences = {
    .name = "sequences",
    .usage = "FILE",
    .doc =
        "sequences of different lengths: a line of numbers for each step, a blank line after each sequence "
        "(Japanese Vowels)",
    .options = options,
    .min_inputs = 1,
    .max_inputs = 1,
    .import = import_sequences,
};
