/* Reads any bytes as CSV: the first byte says how many columns and which type are wanted. */
#define _GNU_SOURCE
#include "datasets/csv.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    if (n_bytes == 0) {
        return 0;
    }
    const int64_t n_columns = 1 + bytes[0] % 7;
    const dl_dtype dtype = bytes[0] >= 128 ? DL_U8 : DL_F32;
    const dl_csv csv = dl_csv_of("fuzz", (const char *)bytes + 1, n_bytes - 1);
    void *values = NULL;
    if (csv.n_rows < 0 || csv.n_rows > (int64_t)n_bytes) {
        abort();
    }
    /* room for as many rows as were counted, and not a byte more */
    if (dl_alloc((size_t)(csv.n_rows * n_columns), dl_dtype_bytes(dtype), &values) != DL_OK) {
        abort();
    }
    if (dl_csv_read(&csv, n_columns, dtype, values) == DL_OK && dtype == DL_F32) {
        for (int64_t i = 0; i < csv.n_rows * n_columns; i++) {
            if (!isfinite(((float *)values)[i])) {
                abort();
            }
        }
    }
    dl_free(&values);
    return 0;
}
