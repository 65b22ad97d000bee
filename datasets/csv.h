/* Samples as lines of numbers between commas, semicolons or tabs; between blanks where a line has none of
 * these. */
#ifndef DLTRAIN_DATASETS_CSV_H
#define DLTRAIN_DATASETS_CSV_H

#include "base/tensor.h"

/* The rows of a text: lines that are not blank, without a first line of names (in which no column is a
 * number). */
typedef struct dl_csv {
    const char *name; /* for messages; borrowed */
    const char *text; /* borrowed */
    size_t n_bytes;
    int64_t n_rows;
    size_t first;       /* byte where the first row begins */
    int64_t first_line; /* its line, from 1 */
} dl_csv;

/* Finds the rows; nothing is allocated. */
dl_csv dl_csv_of(const char *name, const char *text, size_t n_bytes);

/* The numbers of all rows into out [n_rows, n_columns], as uint8 or float32. DL_ERR_DATA, FILE:LINE:COLUMN,
 * for what is no number (NaN and infinity are none), no whole number from 0 to 255 where pixels are wanted,
 * beyond float32, and for a row of more or fewer columns. */
DL_NODISCARD dl_status dl_csv_read(const dl_csv *csv, int64_t n_columns, dl_dtype dtype, void *out);

#endif
