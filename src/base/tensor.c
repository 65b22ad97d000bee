#include "base/tensor.h"

#include <inttypes.h>
#include <stdio.h>

static const struct {
    const char *name;
    size_t bytes;
} dtypes[DL_N_DTYPES] = {
#define DL_DTYPE_ROW(name, text, bytes) [name] = {text, bytes},
    DL_DTYPE_LIST(DL_DTYPE_ROW)
#undef DL_DTYPE_ROW
};

size_t dl_dtype_bytes(dl_dtype dtype) {
    return dtypes[dtype].bytes;
}

const char *dl_dtype_name(dl_dtype dtype) {
    return dtypes[dtype].name;
}

int64_t dl_shape_elements(const dl_shape *shape) {
    return dl_shape_stride(shape, 0);
}

int64_t dl_shape_stride(const dl_shape *shape, int first) {
    int64_t n = 1;
    for (int i = first; i < shape->n_dims; i++) {
        n *= shape->dim[i];
    }
    return n;
}

bool dl_shape_equal(const dl_shape *a, const dl_shape *b) {
    if (a->n_dims != b->n_dims) {
        return false;
    }
    for (int i = 0; i < a->n_dims; i++) {
        if (a->dim[i] != b->dim[i]) {
            return false;
        }
    }
    return true;
}

dl_status dl_shape_check(const dl_shape *shape) {
    const int64_t limit = (int64_t)1 << 48;
    char text[DL_SHAPE_TEXT_BYTES];
    int64_t n = 1;
    for (int i = 0; i < shape->n_dims; i++) {
        DL_RETURN_ERROR_IF(shape->dim[i] < 0 || __builtin_mul_overflow(n, shape->dim[i], &n) || n > limit,
                           DL_ERR_USAGE, "shape %s is negative or too large", dl_shape_text(shape, text));
    }
    return DL_OK;
}

const char *dl_shape_text(const dl_shape *shape, char *out) {
    size_t used = (size_t)snprintf(out, DL_SHAPE_TEXT_BYTES, "[");
    for (int i = 0; i < shape->n_dims && used < DL_SHAPE_TEXT_BYTES; i++) {
        used += (size_t)snprintf(out + used, DL_SHAPE_TEXT_BYTES - used, "%s%" PRId64, i > 0 ? ", " : "",
                                 shape->dim[i]);
    }
    if (used < DL_SHAPE_TEXT_BYTES) {
        (void)snprintf(out + used, DL_SHAPE_TEXT_BYTES - used, "]");
    }
    return out;
}
