#include "datasets/npy.h"

#include "base/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { MAGIC_BYTES = 8, MAX_HEADER_BYTES = 65536, TYPE_BYTES = 16 };

struct dl_npy {
    char path[512]; /* for messages: cut off when longer */
    FILE *file;
    int64_t n_bytes; /* of the file */
    dl_npy_info info;
};

/* --- the dictionary --- */

typedef struct header {
    const char *path, *text;
    size_t n, at;
    size_t begin; /* where the text begins in the file */
    char type[TYPE_BYTES];
    bool has_type, has_order, has_shape;
    dl_shape shape;
} header;

static dl_status mistake(const header *h, const char *expected) {
    DL_RETURN_ERROR(DL_ERR_DATA, "%s: byte %zu of the header: %s is expected; write the file with numpy.save",
                    h->path, h->begin + h->at, expected);
}

static void skip_blanks(header *h) {
    while (h->at < h->n && strchr(" \t\n", h->text[h->at]) != NULL && h->text[h->at] != '\0') {
        h->at++;
    }
}

static bool take(header *h, char c) {
    skip_blanks(h);
    if (h->at < h->n && h->text[h->at] == c) {
        h->at++;
        return true;
    }
    return false;
}

static bool take_word(header *h, const char *word) {
    const size_t n = strlen(word);
    skip_blanks(h);
    if (n <= h->n - h->at && memcmp(h->text + h->at, word, n) == 0) {
        h->at += n;
        return true;
    }
    return false;
}

/* A text in quotes without escapes. */
static dl_status take_text(header *h, char *out, size_t room) {
    skip_blanks(h);
    const char quote = h->at < h->n ? h->text[h->at] : '\0';
    if (quote != '\'' && quote != '"') {
        return mistake(h, "a text in quotes (records and objects are not supported)");
    }
    size_t length = 0;
    h->at++;
    while (h->at + length < h->n && h->text[h->at + length] != quote && length < room) {
        length++;
    }
    if (h->at + length >= h->n || length >= room) {
        return mistake(h, "a short text in quotes");
    }
    memset(out, 0, room);
    memcpy(out, h->text + h->at, length);
    h->at += length + 1;
    return DL_OK;
}

static dl_status take_number(header *h, int64_t *out) {
    skip_blanks(h);
    if (h->at >= h->n || h->text[h->at] < '0' || h->text[h->at] > '9') {
        return mistake(h, "a number");
    }
    *out = 0;
    for (; h->at < h->n && h->text[h->at] >= '0' && h->text[h->at] <= '9'; h->at++) {
        if (*out > (INT64_C(1) << 48)) {
            return mistake(h, "a dimension of at most 2^48");
        }
        *out = *out * 10 + (h->text[h->at] - '0');
    }
    return DL_OK;
}

static dl_status take_shape(header *h) {
    if (!take(h, '(')) {
        return mistake(h, "'('");
    }
    bool comma = true;
    while (!take(h, ')')) {
        if (!comma || h->shape.n_dims == DL_MAX_DIMS) {
            return mistake(h, comma ? "a shape of at most 6 dimensions" : "',' or ')'");
        }
        DL_RETURN_IF_ERROR(take_number(h, &h->shape.dim[h->shape.n_dims++]));
        comma = take(h, ',');
    }
    return DL_OK;
}

static dl_status take_order(header *h) {
    DL_RETURN_ERROR_IF(
        take_word(h, "True"), DL_ERR_DATA,
        "%s is stored in Fortran order; write it with numpy.save(name, numpy.ascontiguousarray(x))", h->path);
    return take_word(h, "False") ? DL_OK : mistake(h, "True or False");
}

static dl_status take_entry(header *h) {
    char key[TYPE_BYTES];
    DL_RETURN_IF_ERROR(take_text(h, key, sizeof key));
    bool *const seen = strcmp(key, "descr") == 0           ? &h->has_type
                       : strcmp(key, "fortran_order") == 0 ? &h->has_order
                       : strcmp(key, "shape") == 0         ? &h->has_shape
                                                           : NULL;
    if (seen == NULL || *seen || !take(h, ':')) {
        return mistake(h, "one of descr, fortran_order, shape, each once, and ':'");
    }
    *seen = true;
    return seen == &h->has_type    ? take_text(h, h->type, sizeof h->type)
           : seen == &h->has_order ? take_order(h)
                                   : take_shape(h);
}

static dl_status parse(header *h) {
    if (!take(h, '{')) {
        return mistake(h, "'{'");
    }
    bool comma = true;
    while (!take(h, '}')) {
        if (!comma) {
            return mistake(h, "',' or '}'");
        }
        DL_RETURN_IF_ERROR(take_entry(h));
        comma = take(h, ',');
    }
    skip_blanks(h);
    if (h->at != h->n || !h->has_type || !h->has_order || !h->has_shape) {
        return mistake(h, "a dictionary of descr, fortran_order and shape, and nothing behind it,");
    }
    return DL_OK;
}

static dl_status take_type(const header *h, dl_npy_info *out) {
    static const struct {
        const char *name;
        dl_dtype dtype;
    } types[] = {{"u1", DL_U8}, {"f4", DL_F32}, {"f8", DL_F64}, {"i4", DL_I32}, {"i8", DL_I64}};
    const char order = h->type[0];
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        const bool ordered = order == '<' || order == '>' || (order == '|' && types[i].dtype == DL_U8);
        if (ordered && strcmp(h->type + 1, types[i].name) == 0) {
            out->dtype = types[i].dtype;
            out->big_endian = order == '>';
            return DL_OK;
        }
    }
    DL_RETURN_ERROR(
        DL_ERR_DATA,
        "%s holds elements of type '%s'; uint8, float32, float64, int32 and int64 are supported: convert "
        "with x.astype('float32'), classes with y.astype('int32')",
        h->path, h->type);
}

/* --- the file --- */

static uint32_t little_endian(const unsigned char *byte, int n) {
    uint32_t value = 0;
    for (int i = n - 1; i >= 0; i--) {
        value = value << 8 | byte[i];
    }
    return value;
}

/* What stands before the dictionary: where it begins, and its length. */
static dl_status read_magic(dl_npy *npy, size_t *begin, size_t *n) {
    unsigned char byte[MAGIC_BYTES + 4] = {0};
    DL_RETURN_ERROR_IF(fread(byte, 1, MAGIC_BYTES, npy->file) != MAGIC_BYTES ||
                           memcmp(byte, "\x93NUMPY", 6) != 0,
                       DL_ERR_DATA, "%s is not a .npy file: it does not begin with \\x93NUMPY", npy->path);
    DL_RETURN_ERROR_IF(byte[6] < 1 || byte[6] > 3 || byte[7] != 0, DL_ERR_DATA,
                       "%s is of .npy version %d.%d; 1.0, 2.0 and 3.0 are supported", npy->path, byte[6],
                       byte[7]);
    const int width = byte[6] == 1 ? 2 : 4;
    DL_RETURN_ERROR_IF(fread(byte + MAGIC_BYTES, 1, (size_t)width, npy->file) != (size_t)width, DL_ERR_DATA,
                       "%s is cut off within its header", npy->path);
    *begin = MAGIC_BYTES + (size_t)width;
    *n = little_endian(byte + MAGIC_BYTES, width);
    DL_RETURN_ERROR_IF(*n > MAX_HEADER_BYTES, DL_ERR_DATA,
                       "%s has a header of %zu bytes; at most %d are supported", npy->path, *n,
                       MAX_HEADER_BYTES);
    return DL_OK;
}

static dl_status check_size(const dl_npy *npy, size_t header_bytes) {
    char text[DL_SHAPE_TEXT_BYTES];
    const dl_shape *shape = &npy->info.shape;
    DL_RETURN_ERROR_IF(dl_shape_check(shape) != DL_OK, DL_ERR_DATA, "%s declares more than 2^48 elements",
                       npy->path);
    const int64_t wanted = dl_shape_elements(shape) * (int64_t)dl_dtype_bytes(npy->info.dtype);
    const int64_t held = npy->n_bytes - (int64_t)header_bytes;
    DL_RETURN_ERROR_IF(wanted != held, DL_ERR_DATA,
                       "%s is %s: its shape %s needs %" PRId64 " bytes after the header, it has %" PRId64,
                       npy->path, wanted > held ? "cut off" : "too long", dl_shape_text(shape, text), wanted,
                       held);
    return DL_OK;
}

static dl_status read_header(dl_npy *npy, char *text) {
    header h = {.path = npy->path, .text = text};
    DL_RETURN_IF_ERROR(read_magic(npy, &h.begin, &h.n));
    DL_RETURN_ERROR_IF(fread(text, 1, h.n, npy->file) != h.n, DL_ERR_DATA, "%s is cut off within its header",
                       npy->path);
    DL_RETURN_IF_ERROR(parse(&h));
    DL_RETURN_IF_ERROR(take_type(&h, &npy->info));
    npy->info.shape = h.shape;
    return check_size(npy, h.begin + h.n);
}

static dl_status open_file(const char *path, dl_npy *npy) {
    struct stat info;
    char *text = NULL;
    (void)snprintf(npy->path, sizeof npy->path, "%s", path);
    DL_RETURN_ERROR_IF(stat(path, &info) != 0, errno == ENOENT ? DL_ERR_USAGE : DL_ERR_IO,
                       "cannot open %s: %s", path, strerror(errno));
    DL_RETURN_ERROR_IF(!S_ISREG(info.st_mode), DL_ERR_DATA, "%s is not a file", path);
    npy->n_bytes = info.st_size;
    npy->file = fopen(path, "rb");
    DL_RETURN_ERROR_IF(npy->file == NULL, DL_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    DL_RETURN_IF_ERROR(dl_alloc(MAX_HEADER_BYTES, 1, &text));
    const dl_status status = read_header(npy, text);
    dl_free(&text);
    return status;
}

dl_status dl_npy_open(const char *path, dl_npy **out) {
    dl_npy *npy = NULL;
    *out = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *npy, &npy));
    const dl_status status = open_file(path, npy);
    if (status != DL_OK) {
        dl_npy_close(&npy);
        return status;
    }
    *out = npy;
    return DL_OK;
}

void dl_npy_close(dl_npy **npy) {
    if (*npy != NULL && (*npy)->file != NULL) {
        (void)fclose((*npy)->file);
    }
    dl_free(npy);
}

const dl_npy_info *dl_npy_info_of(const dl_npy *npy) {
    return &npy->info;
}

static void swap_bytes(char *element, size_t n) {
    for (size_t i = 0; i < n / 2; i++) {
        const char taken = element[i];
        element[i] = element[n - 1 - i];
        element[n - 1 - i] = taken;
    }
}

dl_status dl_npy_read(dl_npy *npy, int64_t n, void *out) {
    const size_t each = dl_dtype_bytes(npy->info.dtype);
    DL_RETURN_ERROR_IF(fread(out, each, (size_t)n, npy->file) != (size_t)n,
                       ferror(npy->file) ? DL_ERR_IO : DL_ERR_DATA, "cannot read %s: %s", npy->path,
                       ferror(npy->file) ? strerror(errno) : "it became shorter");
    for (int64_t i = 0; npy->info.big_endian && i < n; i++) {
        swap_bytes((char *)out + (size_t)i * each, each);
    }
    return DL_OK;
}
