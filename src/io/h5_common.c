/* The library's state: lock, settings, messages, element types. */
#define _GNU_SOURCE
#include "io/h5_private.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t library;

static void start_library(void) {
    pthread_mutexattr_t attributes;
    (void)pthread_mutexattr_init(&attributes);
    (void)pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    (void)pthread_mutex_init(&library, &attributes);
    (void)pthread_mutexattr_destroy(&attributes);
    /* Must be the first call: the library's exit handler crashes after a failed close. */
    (void)H5dont_atexit();
    (void)H5open();
    /* HDF5_PLUGIN_PATH must not be able to load code. */
    (void)H5PLset_loading_state(0);
}

void dl_h5_lock(void) {
    (void)pthread_once(&once, start_library);
    (void)pthread_mutex_lock(&library);
    /* Error printing is a setting of each thread where the library is built for threads. */
    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

void dl_h5_unlock(void) {
    (void)pthread_mutex_unlock(&library);
}

/* What libhdf5 adds to the sentence, time, file and addresses on lines of their own, is of its own matters.
 */
static herr_t take_innermost(unsigned n, const H5E_error2_t *error, void *out) {
    if (n == 0 && error->desc != NULL) {
        const char *more = strstr(error->desc, ": time =");
        const size_t n_bytes = more == NULL ? strcspn(error->desc, "\n") : (size_t)(more - error->desc);
        (void)snprintf(out, DL_H5_REASON_BYTES, "%.*s", (int)n_bytes, error->desc);
    }
    return 0;
}

const char *dl_h5_reason(char *out) {
    (void)snprintf(out, DL_H5_REASON_BYTES, "no reason given");
    (void)H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_innermost, out);
    return out;
}

void dl_h5_close_id(hid_t id) {
    if (id < 0) {
        return;
    }
    switch (H5Iget_type(id)) {
    case H5I_FILE:
        (void)H5Fclose(id);
        break;
    case H5I_GROUP:
    case H5I_DATASET:
        (void)H5Oclose(id);
        break;
    case H5I_DATATYPE:
        (void)H5Tclose(id);
        break;
    case H5I_DATASPACE:
        (void)H5Sclose(id);
        break;
    case H5I_ATTR:
        (void)H5Aclose(id);
        break;
    default:
        (void)H5Pclose(id);
        break;
    }
}

/* A 16-bit float with the given fields: sign at bit 15, exponent above the mantissa. */
static hid_t small_float(size_t exponent_bits, size_t mantissa_bits, size_t bias) {
    const hid_t type = H5Tcopy(H5T_NATIVE_FLOAT);
    if (type < 0) {
        return type;
    }
    if (H5Tset_fields(type, 15, mantissa_bits, exponent_bits, 0, mantissa_bits) < 0 ||
        H5Tset_size(type, 2) < 0 || H5Tset_precision(type, 16) < 0 || H5Tset_ebias(type, bias) < 0) {
        dl_h5_close_id(type);
        return -1;
    }
    return type;
}

hid_t dl_h5_type_of(dl_dtype dtype) {
    switch (dtype) {
    case DL_F32:
        return H5Tcopy(H5T_NATIVE_FLOAT);
    case DL_F64:
        return H5Tcopy(H5T_NATIVE_DOUBLE);
    case DL_BF16:
        return small_float(8, 7, 127);
    case DL_F16:
        return small_float(5, 10, 15);
    case DL_U8:
        return H5Tcopy(H5T_NATIVE_UINT8);
    case DL_U16:
        return H5Tcopy(H5T_NATIVE_UINT16);
    case DL_I32:
        return H5Tcopy(H5T_NATIVE_INT32);
    case DL_I64:
        return H5Tcopy(H5T_NATIVE_INT64);
    default:
        return -1;
    }
}

bool dl_h5_dtype_of(hid_t type, dl_dtype *out, bool *native) {
    const H5T_class_t class = H5Tget_class(type);
    if (class != H5T_INTEGER && class != H5T_FLOAT) {
        return false;
    }
    for (int dtype = 0; dtype < DL_N_DTYPES; dtype++) {
        const hid_t candidate = dl_h5_type_of((dl_dtype)dtype);
        if (candidate < 0 || H5Tget_class(candidate) != class ||
            H5Tget_size(candidate) != H5Tget_size(type)) {
            dl_h5_close_id(candidate);
            continue;
        }
        const bool same = H5Tequal(candidate, type) > 0;
        const H5T_order_t order = H5Tget_order(candidate);
        (void)H5Tset_order(candidate, order == H5T_ORDER_LE ? H5T_ORDER_BE : H5T_ORDER_LE);
        const bool swapped = H5Tequal(candidate, type) > 0;
        dl_h5_close_id(candidate);
        if (same || swapped) {
            *out = (dl_dtype)dtype;
            *native = same || dl_dtype_bytes((dl_dtype)dtype) == 1;
            return true;
        }
    }
    return false;
}

void dl_h5_version(char *out, size_t n_bytes) {
    unsigned major = 0, minor = 0, release = 0;
    dl_h5_lock();
    (void)H5get_libversion(&major, &minor, &release);
    dl_h5_unlock();
    (void)snprintf(out, n_bytes, "%u.%u.%u", major, minor, release);
}
