#define _GNU_SOURCE
#include "datasets/inputs.h"

#include "base/mem.h"
#include "base/text.h"
#include "datasets/csv.h"
#include "datasets/idx.h"
#include "datasets/sequences.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const size_t max_text_bytes = (size_t)64 << 30;

typedef enum kind { OF_HDF5, OF_IDX, OF_CSV, OF_SEQUENCES, OF_LINES } kind;

/* One file. */
typedef struct input {
    const char *path;
    kind kind;
    int64_t first, n; /* its samples among all */
    dl_dataset *dataset;
    int32_t *token; /* [n_tokens] of a text in HDF5 */
    int64_t n_tokens;
    dl_text text;
    dl_csv csv;
    dl_sequences sequences;
    int64_t *begin;       /* [n + 1]: lines, their first bytes; sequences, their first steps */
    dl_shape shape;       /* of a sample, IDX */
    unsigned char *value; /* of all samples, in the model's form: IDX, CSV */
    size_t value_bytes, sample_bytes;
} input;

struct dl_inputs {
    int n_files;
    int64_t n_samples, window;
    dl_field field; /* of a sample, after dl_inputs_fit */
    input *file;
};

/* --- opening --- */

static dl_status read_first(const char *path, unsigned char first[4]) {
    struct stat info;
    errno = 0;
    FILE *file = stat(path, &info) == 0 && S_ISREG(info.st_mode) ? fopen(path, "rb") : NULL;
    DL_RETURN_ERROR_IF(file == NULL && errno == 0 && S_ISDIR(info.st_mode), DL_ERR_USAGE,
                       "the input %s is a folder; name the files in it, %s/test-*.h5 say", path, path);
    DL_RETURN_ERROR_IF(file == NULL, DL_ERR_USAGE,
                       "cannot open the input %s: %s; name files of samples: HDF5, IDX, CSV or text", path,
                       errno != 0 ? strerror(errno) : "it is no regular file");
    memset(first, 0xff, 4);
    const size_t n = fread(first, 1, 4, file);
    (void)fclose(file);
    DL_RETURN_ERROR_IF(n == 0, DL_ERR_DATA, "the input %s is empty", path);
    return DL_OK;
}

static dl_status open_tokens(input *f, int64_t window) {
    const dl_dataset_info *info = dl_dataset_info_of(f->dataset);
    DL_RETURN_ERROR_IF(window == 0, DL_ERR_USAGE,
                       "%s holds a text, but the model does not read tokens; give it samples (/x)", f->path);
    DL_RETURN_IF_ERROR(dl_alloc((size_t)info->n_samples, sizeof *f->token, &f->token));
    f->n_tokens = info->n_samples;
    f->n = (f->n_tokens + window - 1) / window;
    return dl_dataset_read_tokens(f->dataset, 0, f->n_tokens, f->token);
}

static dl_status open_hdf5(input *f, int64_t window) {
    DL_RETURN_IF_ERROR(dl_dataset_open_file(f->path, &f->dataset));
    const dl_dataset_info *info = dl_dataset_info_of(f->dataset);
    if (info->field[0].kind == DL_FIELD_TOKENS) {
        return open_tokens(f, window);
    }
    DL_RETURN_ERROR_IF(window > 0, DL_ERR_USAGE,
                       "%s holds samples (/x), but the model reads tokens; give it a text", f->path);
    f->n = info->n_samples;
    return DL_OK;
}

static dl_status open_idx(input *f) {
    dl_idx *idx = NULL;
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, dl_idx_open(f->path, &idx), done);
    f->shape = *dl_idx_shape(idx);
    DL_GOTO_ERROR_IF(status, f->shape.n_dims < 2, done, DL_ERR_USAGE,
                     "%s holds labels; name the file of the images", f->path);
    f->n = f->shape.dim[0];
    f->sample_bytes = (size_t)dl_shape_stride(&f->shape, 1);
    memmove(f->shape.dim, f->shape.dim + 1, (DL_MAX_DIMS - 1) * sizeof *f->shape.dim);
    f->shape.n_dims--;
    f->value_bytes = (size_t)f->n * f->sample_bytes;
    DL_GOTO_IF_ERROR(status, dl_alloc((size_t)f->n, f->sample_bytes, &f->value), done);
    DL_GOTO_IF_ERROR(status, dl_idx_read(idx, f->value, f->value_bytes), done);
    status = dl_idx_expect_end(idx);
done:
    dl_idx_close(&idx);
    return status;
}

/* Every line is a sample, an empty one too. */
static dl_status open_lines(input *f) {
    int64_t capacity = 0;
    for (size_t at = 0; at < f->text.size;) {
        const char *end = memchr(f->text.data + at, '\n', f->text.size - at);
        DL_RETURN_IF_ERROR(dl_grow(&f->begin, &capacity, f->n + 2, sizeof *f->begin));
        f->begin[f->n++] = (int64_t)at;
        at = end == NULL ? f->text.size : (size_t)(end - f->text.data) + 1;
    }
    f->begin[f->n] = (int64_t)f->text.size;
    return DL_OK;
}

static dl_status open_sequences(input *f) {
    DL_RETURN_IF_ERROR(dl_sequences_parse(f->path, f->text.data, f->text.size, &f->sequences));
    f->n = f->sequences.n;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)f->n + 1, sizeof *f->begin, &f->begin));
    for (int64_t i = 0; i < f->n; i++) {
        f->begin[i + 1] = f->begin[i] + f->sequences.length[i];
    }
    return DL_OK;
}

static dl_status open_text(input *f, dl_inputs_text text) {
    DL_RETURN_IF_ERROR(dl_file_read(f->path, max_text_bytes, &f->text));
    switch (text) {
    case DL_TEXT_LINES:
        f->kind = OF_LINES;
        return open_lines(f);
    case DL_TEXT_SEQUENCES:
        f->kind = OF_SEQUENCES;
        return open_sequences(f);
    case DL_TEXT_CSV:
        break;
    }
    f->kind = OF_CSV;
    f->csv = dl_csv_of(f->path, f->text.data, f->text.size);
    f->n = f->csv.n_rows;
    return DL_OK;
}

static dl_status open_file(dl_inputs *inputs, input *f, dl_inputs_text text) {
    static const unsigned char hdf5[] = {0x89, 'H', 'D', 'F'};
    unsigned char first[4];
    DL_RETURN_IF_ERROR(read_first(f->path, first));
    const bool zipped = first[0] == 0x1f && first[1] == 0x8b, idx = first[0] == 0 && first[1] == 0;
    if (memcmp(first, hdf5, sizeof first) == 0) {
        f->kind = OF_HDF5;
        DL_RETURN_IF_ERROR(open_hdf5(f, inputs->window));
    } else if (zipped || idx) {
        f->kind = OF_IDX;
        DL_RETURN_ERROR_IF(text != DL_TEXT_CSV, DL_ERR_USAGE,
                           "%s is an IDX file of images, which is nothing for this model", f->path);
        DL_RETURN_IF_ERROR(open_idx(f));
    } else {
        DL_RETURN_IF_ERROR(open_text(f, text));
    }
    DL_RETURN_ERROR_IF(f->n == 0, DL_ERR_DATA, "%s holds no samples", f->path);
    f->first = inputs->n_samples;
    inputs->n_samples += f->n;
    return DL_OK;
}

dl_status dl_inputs_open(const char *const *paths, int n, dl_inputs_text text, int64_t window,
                         dl_inputs **out) {
    dl_inputs *inputs = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *inputs, &inputs));
    *out = inputs;
    inputs->window = window;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n, sizeof *inputs->file, &inputs->file));
    for (int i = 0; i < n; i++) {
        inputs->file[i].path = paths[i];
        inputs->n_files++;
        DL_RETURN_IF_ERROR(open_file(inputs, &inputs->file[i], text));
    }
    return DL_OK;
}

void dl_inputs_close(dl_inputs **inputs) {
    if (*inputs == NULL) {
        return;
    }
    for (int i = 0; i < (*inputs)->n_files; i++) {
        input *f = &(*inputs)->file[i];
        dl_dataset_close(&f->dataset);
        dl_text_free(&f->text);
        dl_sequences_free(&f->sequences);
        dl_free(&f->token);
        dl_free(&f->begin);
        dl_free(&f->value);
    }
    dl_free(&(*inputs)->file);
    dl_free(inputs);
}

int64_t dl_inputs_count(const dl_inputs *inputs) {
    return inputs->n_samples;
}

static int64_t length_in(const input *f, int64_t i) {
    switch (f->kind) {
    case OF_HDF5:
        return dl_dataset_length(f->dataset, i);
    case OF_SEQUENCES:
        return f->sequences.length[i];
    default:
        return 1;
    }
}

int64_t dl_inputs_longest(const dl_inputs *inputs) {
    int64_t longest = 1;
    for (int k = 0; k < inputs->n_files; k++) {
        const input *f = &inputs->file[k];
        for (int64_t i = 0; i < f->n && f->token == NULL && f->kind != OF_LINES; i++) {
            const int64_t length = length_in(f, i);
            longest = length > longest ? length : longest;
        }
    }
    return longest;
}

/* --- what the model reads --- */

/* Equal but for dimensions of 1 at the end: [28, 28] and [28, 28, 1]. */
static bool same_shape(const dl_shape *a, const dl_shape *b) {
    const int n = a->n_dims > b->n_dims ? a->n_dims : b->n_dims;
    for (int i = 0; i < n; i++) {
        if ((i < a->n_dims ? a->dim[i] : 1) != (i < b->n_dims ? b->dim[i] : 1)) {
            return false;
        }
    }
    return true;
}

static dl_status check_form(const input *f, const dl_field *wanted, dl_dtype dtype, const dl_shape *shape,
                            bool ragged) {
    char have[DL_SHAPE_TEXT_BYTES], want[DL_SHAPE_TEXT_BYTES];
    const bool sequences = wanted->kind == DL_FIELD_RAGGED;
    DL_RETURN_ERROR_IF(ragged != sequences, DL_ERR_USAGE,
                       "%s: the samples %s, those that the model was trained on %s", f->path,
                       ragged ? "are sequences of different lengths" : "have one shape",
                       sequences ? "are sequences of different lengths" : "have one shape");
    DL_RETURN_ERROR_IF(!same_shape(shape, &wanted->sample_shape), DL_ERR_USAGE,
                       "%s: a %s has shape %s, the model reads %s; bring the samples to that shape", f->path,
                       sequences ? "step" : "sample", dl_shape_text(shape, have),
                       dl_shape_text(&wanted->sample_shape, want));
    DL_RETURN_ERROR_IF(dtype != wanted->dtype, DL_ERR_USAGE,
                       "%s: the samples are %s, the model was trained on %s%s; convert them", f->path,
                       dl_dtype_name(dtype), dl_dtype_name(wanted->dtype),
                       wanted->dtype == DL_U8 ? " (pixels, 0 to 255)" : "");
    return DL_OK;
}

static dl_status fit_csv(input *f, const dl_field *field) {
    const int64_t n_columns = dl_shape_elements(&field->sample_shape);
    size_t n = 0;
    f->sample_bytes = field->sample_bytes;
    DL_RETURN_IF_ERROR(dl_mul_size((size_t)f->n, f->sample_bytes, &n));
    f->value_bytes = n;
    DL_RETURN_IF_ERROR(dl_alloc(n, 1, &f->value));
    DL_RETURN_IF_ERROR(dl_csv_read(&f->csv, n_columns, field->dtype, f->value));
    dl_text_free(&f->text);
    return DL_OK;
}

static dl_status fit_file(input *f, const dl_field *field) {
    switch (f->kind) {
    case OF_HDF5: {
        const dl_field *x = &dl_dataset_info_of(f->dataset)->field[0];
        return check_form(f, field, x->dtype, &x->sample_shape, x->kind == DL_FIELD_RAGGED);
    }
    case OF_IDX:
        return check_form(f, field, DL_U8, &f->shape, false);
    case OF_SEQUENCES:
        dl_text_free(&f->text);
        return check_form(f, field, DL_F32, &DL_SHAPE(f->sequences.n_features), true);
    case OF_CSV:
        return fit_csv(f, field);
    case OF_LINES:
        break;
    }
    DL_RETURN_ERROR(DL_ERR_INTERNAL, "%s: lines have no form", f->path);
}

dl_status dl_inputs_fit(dl_inputs *inputs, const dl_field *field) {
    inputs->field = *field;
    for (int i = 0; i < inputs->n_files; i++) {
        DL_RETURN_IF_ERROR(fit_file(&inputs->file[i], field));
    }
    return DL_OK;
}

/* --- samples --- */

static const input *find_file(const dl_inputs *inputs, int64_t index) {
    int low = 0, high = inputs->n_files - 1; /* the last whose first sample is not behind it */
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (inputs->file[middle].first <= index) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return &inputs->file[low];
}

const char *dl_inputs_place(const dl_inputs *inputs, int64_t index, int64_t *number) {
    const input *f = find_file(inputs, index);
    *number = index - f->first;
    return f->path;
}

int64_t dl_inputs_length(const dl_inputs *inputs, int64_t index) {
    const input *f = find_file(inputs, index);
    return length_in(f, index - f->first);
}

dl_status dl_inputs_read(const dl_inputs *inputs, int64_t index, void *out) {
    const input *f = find_file(inputs, index);
    const int64_t i = index - f->first;
    if (f->kind == OF_HDF5) {
        return dl_dataset_read(f->dataset, i, 0, out);
    }
    if (f->kind == OF_SEQUENCES) {
        const int64_t width = f->sequences.n_features;
        memcpy(out, f->sequences.value + f->begin[i] * width,
               (size_t)(f->sequences.length[i] * width) * sizeof(float));
        return DL_OK;
    }
    memcpy(out, f->value + (size_t)i * f->sample_bytes, f->sample_bytes);
    return DL_OK;
}

dl_input_text dl_inputs_text_at(const dl_inputs *inputs, int64_t index) {
    const input *f = find_file(inputs, index);
    const int64_t i = index - f->first;
    if (f->token != NULL) {
        const int64_t begin = i * inputs->window, left = f->n_tokens - begin;
        return (dl_input_text){.token = f->token + begin,
                               .n_tokens = left < inputs->window ? left : inputs->window};
    }
    const char *line = f->text.data + f->begin[i];
    size_t n = (size_t)(f->begin[i + 1] - f->begin[i]);
    n -= n > 0 && line[n - 1] == '\n' ? 1 : 0;
    n -= n > 0 && line[n - 1] == '\r' ? 1 : 0;
    return (dl_input_text){.line = line, .n_bytes = n, .line_number = i + 1};
}

int64_t dl_inputs_largest_token(const dl_inputs *inputs) {
    int64_t largest = -1;
    for (int k = 0; k < inputs->n_files; k++) {
        const input *f = &inputs->file[k];
        for (int64_t i = 0; i < f->n_tokens; i++) {
            largest = f->token[i] > largest ? f->token[i] : largest;
        }
    }
    return largest;
}

size_t dl_inputs_bytes(const dl_inputs *inputs) {
    size_t total = 0;
    for (int i = 0; i < inputs->n_files; i++) {
        const input *f = &inputs->file[i];
        total += f->value_bytes + f->text.size + (size_t)f->n_tokens * sizeof *f->token +
                 (size_t)(f->sequences.n_steps * f->sequences.n_features) * sizeof(float);
    }
    return total;
}
