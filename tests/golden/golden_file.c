#include "golden.h"

#include "base/mem.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "NAME DIM DIM ..." */
static dl_status parse_head(char *line, golden_record *record) {
    char *name = strtok(line, " \n");
    DL_RETURN_ERROR_IF(name == NULL || strlen(name) >= GOLDEN_NAME_BYTES, DL_ERR_DATA,
                       "a record without a name");
    (void)snprintf(record->name, sizeof record->name, "%s", name);
    record->shape = (dl_shape){0};
    for (const char *dim = strtok(NULL, " \n"); dim != NULL; dim = strtok(NULL, " \n")) {
        DL_RETURN_ERROR_IF(record->shape.n_dims == DL_MAX_DIMS, DL_ERR_DATA, "%s: too many dimensions", name);
        record->shape.dim[record->shape.n_dims++] = strtoll(dim, NULL, 10);
    }
    DL_RETURN_IF_ERROR(dl_shape_check(&record->shape));
    return DL_OK;
}

static dl_status read_records(FILE *stream, const char *path, golden_file *out) {
    char line[256];
    while (fgets(line, sizeof line, stream) != NULL) {
        DL_RETURN_ERROR_IF(out->n == GOLDEN_MAX_RECORDS, DL_ERR_DATA, "%s: too many records", path);
        golden_record *record = &out->record[out->n];
        DL_RETURN_IF_ERROR_DOING(parse_head(line, record), "reading %s", path);
        const size_t n = (size_t)dl_shape_elements(&record->shape);
        DL_RETURN_IF_ERROR(dl_alloc(n, sizeof(float), &record->values));
        out->n++;
        DL_RETURN_ERROR_IF(fread(record->values, sizeof(float), n, stream) != n || fgetc(stream) != '\n',
                           DL_ERR_DATA, "%s: record %s is cut off", path, record->name);
    }
    return DL_OK;
}

dl_status golden_load(const char *path, golden_file *out) {
    *out = (golden_file){0};
    FILE *stream = fopen(path, "rb");
    DL_RETURN_ERROR_IF(stream == NULL, DL_ERR_USAGE, "%s: %s; make_golden.py writes it", path,
                       strerror(errno));
    const dl_status status = read_records(stream, path, out);
    (void)fclose(stream);
    return status;
}

void golden_free(golden_file *file) {
    for (int i = 0; i < file->n; i++) {
        dl_free(&file->record[i].values);
    }
}

const golden_record *golden_find(const golden_file *file, const char *prefix, const char *name) {
    char whole[2 * GOLDEN_NAME_BYTES];
    (void)snprintf(whole, sizeof whole, "%s%s", prefix, name);
    for (int i = 0; i < file->n; i++) {
        if (strcmp(file->record[i].name, whole) == 0) {
            return &file->record[i];
        }
    }
    return NULL;
}

double golden_difference(int64_t n, const float *a, const float *b) {
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        const double d = (double)a[i] - (double)b[i];
        difference += d * d;
        norm += (double)b[i] * (double)b[i];
    }
    return difference == 0 ? 0 : sqrt(difference / norm); /* NaN stays NaN */
}

void golden_compare(golden_score *score, const golden_file *file, const char *prefix, const char *name,
                    const float *got, double allowed) {
    const golden_record *expected = golden_find(file, prefix, name);
    const double difference =
        expected == NULL ? NAN
                         : golden_difference(dl_shape_elements(&expected->shape), got, expected->values);
    if (difference <= allowed) {
        score->passed++;
        score->worst = fmax(score->worst, difference);
    } else {
        score->failed++;
        (void)printf("FAIL  %s%s differs from PyTorch by %.3g, allowed are %.3g\n", prefix, name, difference,
                     allowed);
    }
}
