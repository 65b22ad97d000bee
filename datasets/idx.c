#include "datasets/idx.h"

#include "base/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

enum { HEADER_BYTES = 4, UNSIGNED_BYTE = 0x08, BUFFER_BYTES = 1 << 17 };
/* deflate cannot compress by more than 1032 to 1. */
static const int64_t max_inflation = 1040;

struct dl_idx {
    char path[512]; /* for messages: cut off when longer */
    gzFile file;
    int64_t n_bytes; /* of the file */
    int64_t n_read;  /* elements */
    dl_shape shape;
};

static dl_status read_bytes(dl_idx *idx, void *out, size_t n_bytes, size_t *n_read) {
    char *next = out;
    *n_read = 0;
    while (*n_read < n_bytes) {
        const size_t left = n_bytes - *n_read;
        const int n = gzread(idx->file, next, left < INT_MAX ? (unsigned)left : (unsigned)INT_MAX);
        if (n > 0) {
            next += n;
            *n_read += (size_t)n;
            continue;
        }
        int code = Z_OK;
        const char *text = gzerror(idx->file, &code);
        if (code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR) {
            return DL_OK;
        }
        DL_RETURN_ERROR_IF(code == Z_ERRNO, DL_ERR_IO, "cannot read %s: %s", idx->path, strerror(errno));
        DL_RETURN_ERROR_IF(code == Z_MEM_ERROR, DL_ERR_MEMORY, "no memory to read %s", idx->path);
        DL_RETURN_ERROR(DL_ERR_DATA, "%s is damaged: %s", idx->path, text);
    }
    return DL_OK;
}

static uint32_t big_endian(const uint8_t *byte) {
    return (uint32_t)byte[0] << 24 | (uint32_t)byte[1] << 16 | (uint32_t)byte[2] << 8 | byte[3];
}

static dl_status read_header(dl_idx *idx) {
    uint8_t header[HEADER_BYTES + 4 * DL_MAX_DIMS] = {0};
    size_t n = 0;
    DL_RETURN_IF_ERROR(read_bytes(idx, header, HEADER_BYTES, &n));
    DL_RETURN_ERROR_IF(n < HEADER_BYTES, DL_ERR_DATA, "%s ends after %zu bytes: it is no IDX file", idx->path,
                       n);
    DL_RETURN_ERROR_IF(header[0] != 0 || header[1] != 0, DL_ERR_DATA,
                       "%s is not an IDX file: it starts with 0x%08" PRIx32
                       "; 0x00000803 (images) or 0x00000801 (labels) is expected",
                       idx->path, big_endian(header));
    DL_RETURN_ERROR_IF(header[2] != UNSIGNED_BYTE, DL_ERR_DATA,
                       "%s has elements of IDX type 0x%02x; only unsigned bytes (0x08) are supported",
                       idx->path, header[2]);
    const int rank = header[3];
    DL_RETURN_ERROR_IF(rank < 1 || rank > DL_MAX_DIMS, DL_ERR_DATA,
                       "%s has %d dimensions; 1 to %d are supported", idx->path, rank, DL_MAX_DIMS);
    DL_RETURN_IF_ERROR(read_bytes(idx, header + HEADER_BYTES, 4 * (size_t)rank, &n));
    DL_RETURN_ERROR_IF(n < 4 * (size_t)rank, DL_ERR_DATA, "%s is cut off within its header", idx->path);
    idx->shape.n_dims = rank;
    for (int i = 0; i < rank; i++) {
        idx->shape.dim[i] = big_endian(header + HEADER_BYTES + (size_t)(4 * i));
    }
    return DL_OK;
}

/* What the header declares must be what the file can hold, before anything of that size is made. */
static dl_status check_size(const dl_idx *idx) {
    char text[DL_SHAPE_TEXT_BYTES];
    int64_t elements = 1;
    for (int i = 0; i < idx->shape.n_dims; i++) {
        DL_RETURN_ERROR_IF(__builtin_mul_overflow(elements, idx->shape.dim[i], &elements), DL_ERR_DATA,
                           "%s declares dimensions %s, which is more than any file holds", idx->path,
                           dl_shape_text(&idx->shape, text));
    }
    DL_RETURN_ERROR_IF(elements == 0, DL_ERR_DATA, "%s is empty: its dimensions are %s", idx->path,
                       dl_shape_text(&idx->shape, text));
    const int64_t header = HEADER_BYTES + 4 * idx->shape.n_dims;
    if (gzdirect(idx->file) == 0) {
        DL_RETURN_ERROR_IF(elements / max_inflation > idx->n_bytes, DL_ERR_DATA,
                           "%s declares dimensions %s, which %" PRId64 " compressed bytes cannot hold",
                           idx->path, dl_shape_text(&idx->shape, text), idx->n_bytes);
        return DL_OK;
    }
    DL_RETURN_ERROR_IF(elements != idx->n_bytes - header, DL_ERR_DATA,
                       "%s is %s: its dimensions %s need %" PRId64 " bytes after the header, it has %" PRId64,
                       idx->path, elements > idx->n_bytes - header ? "cut off" : "too long",
                       dl_shape_text(&idx->shape, text), elements, idx->n_bytes - header);
    return DL_OK;
}

static dl_status open_file(const char *path, dl_idx *idx) {
    struct stat info;
    (void)snprintf(idx->path, sizeof idx->path, "%s", path);
    DL_RETURN_ERROR_IF(stat(path, &info) != 0, errno == ENOENT ? DL_ERR_USAGE : DL_ERR_IO,
                       "cannot open %s: %s", path, strerror(errno));
    DL_RETURN_ERROR_IF(!S_ISREG(info.st_mode), DL_ERR_DATA, "%s is not a file", path);
    DL_RETURN_ERROR_IF(info.st_size == 0, DL_ERR_DATA, "%s is empty", path);
    idx->n_bytes = info.st_size;
    errno = 0;
    idx->file = gzopen(path, "rb");
    DL_RETURN_ERROR_IF(idx->file == NULL, errno == 0 ? DL_ERR_MEMORY : DL_ERR_IO, "cannot open %s: %s", path,
                       errno == 0 ? "out of memory" : strerror(errno));
    (void)gzbuffer(idx->file, BUFFER_BYTES);
    DL_RETURN_IF_ERROR(read_header(idx));
    return check_size(idx);
}

dl_status dl_idx_open(const char *path, dl_idx **out) {
    *out = NULL;
    dl_idx *idx = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *idx, &idx));
    const dl_status status = open_file(path, idx);
    if (status != DL_OK) {
        dl_idx_close(&idx);
        return status;
    }
    *out = idx;
    return DL_OK;
}

void dl_idx_close(dl_idx **idx) {
    if (*idx != NULL && (*idx)->file != NULL) {
        (void)gzclose_r((*idx)->file);
    }
    dl_free(idx);
}

const dl_shape *dl_idx_shape(const dl_idx *idx) {
    return &idx->shape;
}

dl_status dl_idx_read(dl_idx *idx, void *out, size_t n_bytes) {
    size_t n = 0;
    DL_RETURN_IF_ERROR(read_bytes(idx, out, n_bytes, &n));
    idx->n_read += (int64_t)n;
    DL_RETURN_ERROR_IF(n < n_bytes, DL_ERR_DATA,
                       "%s is cut off: it ends after %" PRId64 " of %" PRId64 " elements", idx->path,
                       idx->n_read, dl_shape_elements(&idx->shape));
    return DL_OK;
}

dl_status dl_idx_expect_end(dl_idx *idx) {
    char more = 0;
    size_t n = 0;
    DL_RETURN_IF_ERROR(read_bytes(idx, &more, 1, &n));
    DL_RETURN_ERROR_IF(n != 0, DL_ERR_DATA, "%s is too long: more follows its %" PRId64 " elements",
                       idx->path, idx->n_read);
    /* A gzip'd file that ends within its checksum is a buffer error only here. */
    int code = Z_OK;
    (void)gzerror(idx->file, &code);
    DL_RETURN_ERROR_IF(code != Z_OK && code != Z_STREAM_END, DL_ERR_DATA, "%s is cut off within its checksum",
                       idx->path);
    return DL_OK;
}
