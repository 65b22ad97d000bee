/* What a tensor is: element type and shape. No arithmetic and no storage here. */
#ifndef DLTRAIN_BASE_TENSOR_H
#define DLTRAIN_BASE_TENSOR_H

#include "base/status.h"

#include <stdint.h>

/* ENTRY(enumerator, name in files and messages, bytes) */
#define DL_DTYPE_LIST(ENTRY)                                                                                 \
    ENTRY(DL_F32, "float32", 4)                                                                              \
    ENTRY(DL_F64, "float64", 8)                                                                              \
    ENTRY(DL_BF16, "bfloat16", 2)                                                                            \
    ENTRY(DL_F16, "float16", 2)                                                                              \
    ENTRY(DL_U8, "uint8", 1)                                                                                 \
    ENTRY(DL_U16, "uint16", 2)                                                                               \
    ENTRY(DL_I32, "int32", 4)                                                                                \
    ENTRY(DL_I64, "int64", 8)

typedef enum dl_dtype {
#define DL_DTYPE_ENUM(name, text, bytes) name,
    DL_DTYPE_LIST(DL_DTYPE_ENUM)
#undef DL_DTYPE_ENUM
        DL_N_DTYPES
} dl_dtype;

enum { DL_MAX_DIMS = 6, DL_SHAPE_TEXT_BYTES = 96 };

/* Dimensions, slowest first; n_dims = 0 is a scalar of one element. */
typedef struct dl_shape {
    int n_dims;
    int64_t dim[DL_MAX_DIMS];
} dl_shape;

size_t dl_dtype_bytes(dl_dtype dtype);
const char *dl_dtype_name(dl_dtype dtype);

/* A shape from its dimensions: DL_SHAPE(128, 28, 28, 1). */
#define DL_SHAPE(...)                                                                                        \
    ((dl_shape){.n_dims = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), .dim = {__VA_ARGS__}})

/* Number of elements; the product is checked where shapes are made (dl_shape_check). */
int64_t dl_shape_elements(const dl_shape *shape);

/* Elements from dimension `first` on: dl_shape_stride(&s, 1) is the number of elements of one sample. */
int64_t dl_shape_stride(const dl_shape *shape, int first);

bool dl_shape_equal(const dl_shape *a, const dl_shape *b);

/* DL_ERR_USAGE when a dimension is negative or the product exceeds 2^48 elements. */
DL_NODISCARD dl_status dl_shape_check(const dl_shape *shape);

/* "[128, 28, 28, 1]" into out (DL_SHAPE_TEXT_BYTES); returns out. */
const char *dl_shape_text(const dl_shape *shape, char *out);

#endif
