#include "model/table.h"

#include "base/rng.h"
#include "model/init.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_BUCKET_BYTES = 25 << 20, FIRST_BUCKET_BYTES = 1 << 20 };

/* A parameter and what decides its place. */
typedef struct placed {
    dl_parameter parameter;
    int first_use; /* operation: the earliest user's gradient comes last in the backward pass */
    int declared;
} placed;

static int first_use_of(const dl_model *model, int parameter) {
    for (int i = 0; i < model->n_ops; i++) {
        for (int s = 0; s < DL_OP_MAX_SLOTS; s++) {
            const int value = model->op[i].slot[s];
            if (value >= 0 && model->value[value].kind == DL_VALUE_PARAMETER &&
                model->value[value].source == parameter) {
                return i;
            }
        }
    }
    return model->n_ops;
}

dl_arena dl_parameter_arena(const dl_parameter *parameter) {
    return parameter->statistic   ? DL_ARENA_STATISTICS
           : parameter->trainable ? DL_ARENA_TRAINABLE
                                  : DL_ARENA_FROZEN;
}

/* Where the table counts an arena's elements. */
static int64_t *elements_of(dl_parameter_table *table, dl_arena arena) {
    int64_t *const elements[DL_N_ARENAS] = {&table->trainable_elements, &table->frozen_elements,
                                            &table->statistics_elements};
    return elements[arena];
}

int64_t dl_arena_elements(const dl_parameter_table *table, dl_arena arena) {
    const int64_t elements[DL_N_ARENAS] = {table->trainable_elements, table->frozen_elements,
                                           table->statistics_elements};
    return elements[arena];
}

static int compare(const void *left, const void *right) {
    const placed *a = left, *b = right;
    const dl_arena in_a = dl_parameter_arena(&a->parameter), in_b = dl_parameter_arena(&b->parameter);
    if (in_a != in_b) {
        return in_a < in_b ? -1 : 1;
    }
    if (a->parameter.stage != b->parameter.stage) {
        return a->parameter.stage < b->parameter.stage ? -1 : 1;
    }
    if (a->first_use != b->first_use) {
        return a->first_use > b->first_use ? -1 : 1;
    }
    return a->declared < b->declared ? -1 : 1;
}

static int64_t aligned(int64_t n) {
    return (n + DL_PARAMETER_ALIGN - 1) / DL_PARAMETER_ALIGN * DL_PARAMETER_ALIGN;
}

static void place(dl_parameter_table *table) {
    for (int i = 0; i < table->n; i++) {
        dl_parameter *parameter = &table->parameter[i];
        int64_t *end = elements_of(table, dl_parameter_arena(parameter));
        parameter->offset = *end;
        *end += aligned(parameter->n_elements);
        table->n_total += parameter->statistic ? 0 : parameter->n_elements;
        table->n_trainable += parameter->trainable ? parameter->n_elements : 0;
    }
}

static void fill_buckets(dl_parameter_table *table, int64_t bucket_bytes) {
    for (int i = 0; i < table->n && table->parameter[i].trainable; i++) {
        dl_parameter *parameter = &table->parameter[i];
        dl_bucket *last = table->n_buckets > 0 ? &table->bucket[table->n_buckets - 1] : NULL;
        const int64_t limit =
            table->n_buckets == 1 && bucket_bytes > FIRST_BUCKET_BYTES ? FIRST_BUCKET_BYTES : bucket_bytes;
        const int64_t size = aligned(parameter->n_elements);
        if (last == NULL || table->parameter[last->first].stage != parameter->stage ||
            table->parameter[last->first].split != parameter->split ||
            (last->n_elements + size) * (int64_t)sizeof(float) > limit) {
            last = &table->bucket[table->n_buckets++];
            *last = (dl_bucket){.first = i, .offset = parameter->offset};
        }
        parameter->bucket = table->n_buckets - 1;
        last->n++;
        last->n_elements += size;
    }
}

/* The table takes the parameters over; values that named a declaration now name its row in the table. */
static dl_status renumber(dl_model *model, const placed *order) {
    int *row = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)model->n_parameters, sizeof *row, &row));
    for (int i = 0; i < model->table.n; i++) {
        model->table.parameter[i] = order[i].parameter;
        row[order[i].declared] = i;
    }
    for (int v = 0; v < model->n_values; v++) {
        if (model->value[v].kind == DL_VALUE_PARAMETER) {
            model->value[v].source = row[model->value[v].source];
        }
    }
    dl_free(&row);
    return DL_OK;
}

dl_status dl_parameter_table_make(dl_model *model, int64_t bucket_bytes) {
    dl_parameter_table *table = &model->table;
    const size_t n = (size_t)model->n_parameters;
    placed *order = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(n, sizeof *order, &order));
    for (int i = 0; i < model->n_parameters; i++) {
        order[i] = (placed){model->parameter[i], first_use_of(model, i), i};
    }
    qsort(order, n, sizeof *order, compare);
    dl_status status = dl_pool_alloc(model->pool, n, sizeof *table->parameter, &table->parameter);
    if (status == DL_OK) {
        status = dl_pool_alloc(model->pool, n, sizeof *table->bucket, &table->bucket);
    }
    if (status == DL_OK) {
        table->n = model->n_parameters;
        table->bucket_bytes = bucket_bytes;
        status = renumber(model, order);
    }
    if (status == DL_OK) {
        place(table);
        fill_buckets(table, bucket_bytes > 0 ? bucket_bytes : DEFAULT_BUCKET_BYTES);
    }
    dl_free(&order);
    return status;
}

float *dl_parameter_data(const dl_parameter *parameter, const dl_host_arenas *arenas) {
    return arenas->of[dl_parameter_arena(parameter)] + parameter->offset;
}

const dl_parameter *dl_parameter_find(const dl_parameter_table *table, const char *path) {
    for (int i = 0; i < table->n; i++) {
        if (strcmp(table->parameter[i].path, path) == 0) {
            return &table->parameter[i];
        }
    }
    return NULL;
}

/* A stable number for a path, so that initial values do not depend on other layers (FNV-1a). */
static uint64_t path_number(const char *path) {
    uint64_t hash = 14695981039346656037u;
    for (; *path != '\0'; path++) {
        hash = (hash ^ (unsigned char)*path) * 1099511628211u;
    }
    return hash;
}

/* U(-limit, limit). */
static void init_uniform(const dl_parameter *parameter, uint64_t seed, double limit, float *out) {
    const uint64_t number = path_number(parameter->path);
    uint32_t random[4] = {0};
    for (int64_t i = 0; i < parameter->n_elements; i++) {
        if (i % 4 == 0) {
            dl_rng_4x32(seed, DL_RNG_INIT, (uint64_t)(i / 4), number, random);
        }
        out[i] = (float)((((double)random[i % 4] + 0.5) * 0x1p-31 - 1.0) * limit);
    }
}

static void fill(float *out, int64_t n, float value) {
    for (int64_t i = 0; i < n; i++) {
        out[i] = value;
    }
}

static dl_status init_one(const dl_parameter *parameter, uint64_t seed, float *out) {
    const int64_t n = parameter->n_elements;
    switch (parameter->init) {
    case DL_INIT_ZERO:
        fill(out, n, 0.0f);
        break;
    case DL_INIT_ONE:
        fill(out, n, 1.0f);
        break;
    case DL_INIT_GLOROT_UNIFORM: /* U(-l, l), l = sqrt(6 / (fan_in + fan_out)): Glorot and Bengio, 2010 */
        init_uniform(parameter, seed, sqrt(6.0 / (parameter->fan_in + parameter->fan_out + 1e-300)), out);
        break;
    case DL_INIT_SMALL_UNIFORM:
        init_uniform(parameter, seed, 0.05, out);
        break;
    case DL_INIT_ORTHOGONAL:
        return dl_init_orthogonal(seed, path_number(parameter->path), parameter->shape.dim[0],
                                  parameter->shape.dim[1], out);
    case DL_INIT_FORGET_BIAS: /* Jozefowicz, Zaremba and Sutskever, 2015 */
        fill(out, n, 0.0f);
        fill(out + n / 4, n / 4, 1.0f);
        break;
    }
    return DL_OK;
}

dl_status dl_parameters_init(const dl_parameter_table *table, uint64_t seed, const dl_host_arenas *arenas) {
    for (int i = 0; i < table->n; i++) {
        const dl_parameter *parameter = &table->parameter[i];
        DL_RETURN_IF_ERROR(init_one(parameter, seed, dl_parameter_data(parameter, arenas)));
    }
    return DL_OK;
}
