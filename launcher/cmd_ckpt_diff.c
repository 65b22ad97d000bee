#define _GNU_SOURCE
#include "base/mem.h"
#include "launcher/ckpt_paths.h"
#include "launcher/command.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* How two tensors of one name differ. */
typedef struct difference {
    int64_t n, n_elements;   /* elements that differ, bit for bit */
    double max_abs, max_rel; /* of those that are numbers; relative to the larger of both */
    bool is_number;          /* false where only one is a number (NaN) */
} difference;

static double float_of_bits(uint32_t bits) {
    float value = 0;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

/* IEEE 754 binary16. */
static double half_of_bits(uint16_t bits) {
    const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
    if (exponent == 31) {
        return mantissa != 0 ? (double)NAN : sign * (double)INFINITY;
    }
    return sign * (exponent == 0 ? ldexp(mantissa, -24) : ldexp(mantissa + 1024, exponent - 25));
}

static double value_of(dl_dtype dtype, const unsigned char *at) {
    union {
        uint8_t u8;
        uint16_t u16;
        uint32_t u32;
        int32_t i32;
        int64_t i64;
        double f64;
    } v = {0};
    memcpy(&v, at, dl_dtype_bytes(dtype));
    switch (dtype) {
    case DL_F32:
        return float_of_bits(v.u32);
    case DL_F64:
        return v.f64;
    case DL_BF16:
        return float_of_bits((uint32_t)v.u16 << 16);
    case DL_F16:
        return half_of_bits(v.u16);
    case DL_U8:
        return v.u8;
    case DL_U16:
        return v.u16;
    case DL_I32:
        return v.i32;
    default:
        return (double)v.i64;
    }
}

static void compare_bytes(dl_dtype dtype, const unsigned char *a, const unsigned char *b, int64_t n,
                          difference *out) {
    const size_t each = dl_dtype_bytes(dtype);
    for (int64_t i = 0; i < n; i++, a += each, b += each) {
        if (memcmp(a, b, each) == 0) {
            continue;
        }
        const double x = value_of(dtype, a), y = value_of(dtype, b), apart = fabs(x - y);
        const double larger = fmax(fabs(x), fabs(y));
        out->n++;
        if (isnan(apart)) {
            out->is_number = out->is_number && isnan(x) == isnan(y) && !isinf(x);
            continue;
        }
        out->max_abs = fmax(out->max_abs, apart);
        out->max_rel = fmax(out->max_rel, larger > 0 && !isinf(larger) ? apart / larger : larger > 0 ? 1 : 0);
    }
}

/* Reads both tensors by rows, a few MiB at a time. */
static dl_status compare(dl_checkpoint *a, int in_a, dl_checkpoint *b, int in_b, difference *out) {
    const dl_checkpoint_tensor tensor = dl_checkpoint_tensor_at(a, in_a);
    const int64_t rows = tensor.shape.n_dims > 0 ? tensor.shape.dim[0] : 1;
    const int64_t row = dl_shape_stride(&tensor.shape, 1),
                  row_bytes = row * (int64_t)dl_dtype_bytes(tensor.dtype);
    const int64_t fit = (4 << 20) / (row_bytes > 0 ? row_bytes : 1), step = fit < 1      ? 1
                                                                            : fit < rows ? fit
                                                                                         : rows;
    unsigned char *bytes = NULL;
    *out = (difference){.n_elements = rows * row, .is_number = true};
    dl_status status = dl_alloc((size_t)(step > 0 ? step : 1), 2 * (size_t)row_bytes, &bytes);
    for (int64_t first = 0; first < rows && status == DL_OK; first += step) {
        int64_t offset[DL_MAX_DIMS] = {first};
        dl_shape box = tensor.shape;
        const int64_t n = rows - first < step ? rows - first : step;
        box.dim[0] = tensor.shape.n_dims > 0 ? n : 0;
        status = dl_checkpoint_read(a, in_a, offset, &box, bytes);
        if (status == DL_OK) {
            status = dl_checkpoint_read(b, in_b, offset, &box, bytes + n * row_bytes);
        }
        if (status == DL_OK) {
            compare_bytes(tensor.dtype, bytes, bytes + n * row_bytes, n * row, out);
        }
    }
    dl_free(&bytes);
    return status;
}

/* --- what is said --- */

typedef struct report {
    json_t *list; /* NULL: text */
    int n_compared, n_different;
} report;

static dl_status say(report *r, json_t *each, int printed) {
    r->n_different++;
    if (r->list == NULL) {
        json_decref(each);
        return dl_ckpt_printed(printed);
    }
    DL_RETURN_ERROR_IF(json_array_append_new(r->list, each) != 0, DL_ERR_MEMORY,
                       "cannot print JSON: out of memory");
    return DL_OK;
}

static dl_status say_missing(report *r, const char *name, const char *where) {
    return say(r, json_pack("{s:s, s:s}", "name", name, "only_in", where),
               r->list != NULL ? 0 : printf("%-48s only in %s\n", name, where));
}

static dl_status say_kind(report *r, dl_checkpoint_tensor a, dl_checkpoint_tensor b) {
    char one[DL_SHAPE_TEXT_BYTES], other[DL_SHAPE_TEXT_BYTES];
    (void)dl_shape_text(&a.shape, one);
    (void)dl_shape_text(&b.shape, other);
    return say(r,
               json_pack("{s:s, s:[s,s], s:[s,s]}", "name", a.name, "dtype", dl_dtype_name(a.dtype),
                         dl_dtype_name(b.dtype), "shape", one, other),
               r->list != NULL ? 0
                               : printf("%-48s %s %s against %s %s\n", a.name, dl_dtype_name(a.dtype), one,
                                        dl_dtype_name(b.dtype), other));
}

static dl_status say_values(report *r, const char *name, const difference *d) {
    json_t *each = json_pack("{s:s, s:I, s:I, s:b, s:f, s:f}", "name", name, "count", (json_int_t)d->n,
                             "elements", (json_int_t)d->n_elements, "nan", !d->is_number, "max_abs",
                             isinf(d->max_abs) ? -1.0 : d->max_abs, "max_rel", d->max_rel);
    if (each != NULL && isinf(d->max_abs)) {
        (void)json_object_set_new(each, "max_abs", json_null());
    }
    return say(r, each,
               r->list != NULL
                   ? 0
                   : printf("%-48s %" PRId64 " of %" PRId64 " elements, by up to %.9g, relative %.3g%s\n",
                            name, d->n, d->n_elements, d->max_abs, d->max_rel,
                            d->is_number ? "" : ", some only in one a number"));
}

static dl_status compare_named(dl_checkpoint *a, int in_a, dl_checkpoint *b, int in_b, report *r) {
    const dl_checkpoint_tensor one = dl_checkpoint_tensor_at(a, in_a),
                               other = dl_checkpoint_tensor_at(b, in_b);
    difference d;
    r->n_compared++;
    if (one.dtype != other.dtype || !dl_shape_equal(&one.shape, &other.shape)) {
        return say_kind(r, one, other);
    }
    DL_RETURN_IF_ERROR(compare(a, in_a, b, in_b, &d));
    return d.n > 0 ? say_values(r, one.name, &d) : DL_OK;
}

static dl_status compare_all(dl_checkpoint *a, dl_checkpoint *b, const char *const *path, report *r) {
    for (int i = 0; i < dl_checkpoint_n_tensors(a); i++) {
        const char *name = dl_checkpoint_tensor_at(a, i).name;
        const int other = dl_checkpoint_find(b, name);
        DL_RETURN_IF_ERROR(other < 0 ? say_missing(r, name, path[0]) : compare_named(a, i, b, other, r));
    }
    for (int i = 0; i < dl_checkpoint_n_tensors(b); i++) {
        const char *name = dl_checkpoint_tensor_at(b, i).name;
        if (dl_checkpoint_find(a, name) < 0) {
            DL_RETURN_IF_ERROR(say_missing(r, name, path[1]));
        }
    }
    return DL_OK;
}

static dl_status run(const dl_arguments *arguments) {
    dl_checkpoint *a = NULL, *b = NULL;
    const char *const *path = arguments->positional;
    report r = {0};
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, dl_ckpt_paths_open(path[0], &a), done);
    DL_GOTO_IF_ERROR(status, dl_ckpt_paths_open(path[1], &b), done);
    r.list = dl_arguments_flag(arguments, "json") != NULL ? json_array() : NULL;
    DL_GOTO_IF_ERROR(status, compare_all(a, b, path, &r), done);
    if (r.list != NULL) {
        status = dl_ckpt_print_json(json_pack("{s:b, s:i, s:O}", "equal", r.n_different == 0, "compared",
                                              r.n_compared, "different", r.list));
    } else {
        status = dl_ckpt_printed(printf("%d tensors compared, %d differ\n", r.n_compared, r.n_different));
    }
done:
    json_decref(r.list);
    dl_checkpoint_close(&a);
    dl_checkpoint_close(&b);
    return status;
}

const dl_command dl_command_ckpt_diff = {
    .name = "ckpt diff",
    .usage = "PATH PATH [--json]",
    .doc = "name the tensors in which two checkpoints differ, and by how much",
    .help =
        "Each PATH is a checkpoint, or a run or folder of checkpoints, of which the newest is taken. Elements\n"
        "differ when their bits do. The largest difference is given as it is, and relative to the larger of\n"
        "both values. Different tensors are no failure: the exit status is 0. With --json: {\"equal\",\n"
        "\"compared\": N, \"different\": [{\"name\", \"count\", \"elements\", \"nan\", \"max_abs\",\n"
        "\"max_rel\"}]}; tensors that only one has are {\"name\", \"only_in\"}, others of another kind\n"
        "{\"name\", \"dtype\", \"shape\"}.",
    .flags =
        (const dl_flag[]){
            {"json", NULL, "one JSON object instead of text"},
            {NULL, NULL, NULL},
        },
    .min_positional = 2,
    .max_positional = 2,
    .run = run,
};
