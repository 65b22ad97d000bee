/* Which layers are split over the tensor axis, and the model that is left for one rank. */
#include "program/partition.h"

#include "base/pieces.h"
#include "model/table.h"

#include <string.h>

enum { DENSE_X, DENSE_W, DENSE_B, DENSE_Y };

/* --- pairs --- */

/* How often operations, views, the output and the next step read a value; *op is the last operation. */
static int count_readers(const dl_model *model, int value, int *op) {
    const dl_output *output = &model->output;
    int n = output->value == value || output->scores == value;
    for (int i = 0; i < model->n_ops; i++) {
        for (int s = 0; s < dl_op_info_of(model->op[i].kind)->n_slots; s++) {
            if (model->op[i].slot[s] == value &&
                dl_op_info_of(model->op[i].kind)->slots[s].role == DL_SLOT_IN) {
                *op = i;
                n++;
            }
        }
    }
    for (int v = 0; v < model->n_values; v++) {
        n += model->value[v].kind == DL_VALUE_VIEW && model->value[v].source == value;
        n += model->value[v].kind == DL_VALUE_STATE && model->value[v].next == value;
    }
    return n;
}

/* Is each element of the output made from the same element of the input alone? */
static bool is_elementwise(dl_op_kind kind) {
    return kind == DL_OP_ACTIVATION_FORWARD || kind == DL_OP_DROPOUT_FORWARD;
}

static int output_of(const dl_model_op *op) {
    return op->slot[dl_op_info_of(op->kind)->n_slots - 1];
}

/* The dense operation that alone reads what the dense operation `first` gives, through elementwise ones; -1
 * when there is none. */
static int second_of_pair(const dl_model *model, int first) {
    int value = model->op[first].slot[DENSE_Y];
    for (int next = first;;) {
        if (count_readers(model, value, &next) != 1 || model->op[next].slot[0] != value) {
            return -1;
        }
        if (model->op[next].kind == DL_OP_DENSE_FORWARD) {
            return next;
        }
        if (!is_elementwise(model->op[next].kind)) {
            return -1;
        }
        value = output_of(&model->op[next]);
    }
}

static int64_t last_of(const dl_shape *shape) {
    return shape->dim[shape->n_dims - 1];
}

/* --- one rank's model --- */

/* What goes round while a model is partitioned. */
typedef struct splitter {
    dl_partition *p;
    dl_model *model;     /* p->model */
    dl_slice *slice;     /* by row of the whole model's table */
    const dl_range mine; /* of the pair's inner features */
    int64_t of;
} splitter;

/* This rank keeps its slice of dimension `dim` of the parameter that value v stands for. */
static void split_parameter(splitter *s, int v, int dim) {
    if (v < 0) {
        return;
    }
    dl_parameter *parameter = &s->model->parameter[s->model->value[v].source];
    const int64_t length = s->mine.end - s->mine.begin;
    s->slice[s->model->value[v].source] =
        (dl_slice){.dim = dim, .begin = s->mine.begin, .length = length, .of = s->of};
    parameter->split = true;
    parameter->shape.dim[dim] = length;
    parameter->n_elements = dl_shape_elements(&parameter->shape);
    s->model->value[v].shape = parameter->shape;
}

static void split_value(splitter *s, int v) {
    dl_shape *shape = &s->model->value[v].shape;
    shape->dim[shape->n_dims - 1] = s->mine.end - s->mine.begin;
    s->p->spread[v] = DL_SPREAD_SPLIT;
}

static void split_pair(splitter *s, int first, int second) {
    dl_model_op *op = s->model->op;
    split_parameter(s, op[first].slot[DENSE_W], 0);
    split_parameter(s, op[first].slot[DENSE_B], 0);
    split_value(s, op[first].slot[DENSE_Y]);
    for (int i = first, value = op[first].slot[DENSE_Y]; value != op[second].slot[DENSE_X];) {
        (void)count_readers(s->model, value, &i);
        value = output_of(&op[i]);
        split_value(s, value);
        if (op[i].kind == DL_OP_DROPOUT_FORWARD) {
            op[i].attr.u.dropout.row_begin = s->mine.begin;
            op[i].attr.u.dropout.whole_row = s->of;
        }
    }
    split_parameter(s, op[second].slot[DENSE_W], 1);
    s->p->spread[op[second].slot[DENSE_Y]] = DL_SPREAD_PARTIAL;
}

/* The first operation from *next on that begins a pair, or -1; *second is the other one. `taken` are seconds.
 */
static int find_pair(const dl_model *model, int size, const bool *taken, int *next, int *second) {
    for (; *next < model->n_ops; (*next)++) {
        const dl_model_op *op = &model->op[*next];
        if (op->kind == DL_OP_DENSE_FORWARD && !taken[*next] &&
            last_of(&model->value[op->slot[DENSE_Y]].shape) >= size) {
            *second = second_of_pair(model, *next);
            if (*second >= 0) {
                return (*next)++;
            }
        }
    }
    return -1;
}

static dl_status split_pairs(dl_partition *p, dl_slice *slice) {
    const dl_model *model = p->model;
    bool *taken = NULL;
    int n_pairs = 0, next = 0, second = -1;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)model->n_ops, sizeof *taken, &taken));
    for (int first; (first = find_pair(model, p->size, taken, &next, &second)) >= 0; n_pairs++) {
        const int64_t features = last_of(&model->value[model->op[first].slot[DENSE_Y]].shape);
        splitter s = {.p = p,
                      .model = p->model,
                      .slice = slice,
                      .mine = dl_range_part(features, p->size, p->index),
                      .of = features};
        split_pair(&s, first, second);
        taken[second] = true;
    }
    dl_free(&taken);
    DL_RETURN_ERROR_IF(
        n_pairs == 0, DL_ERR_USAGE,
        "%d ranks can share two dense layers, the first with %d units or more, that have "
        "nothing but activations and dropout between them; the model has no such pair: write 1",
        p->size, p->size);
    return DL_OK;
}

static dl_status copy_array(const void *from, int n, size_t size, void *out) {
    void *copy = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n, size, &copy));
    memcpy(copy, from, (size_t)n * size);
    *(void **)out = copy;
    return DL_OK;
}

/* A copy whose values, operations and parameters can be changed; what they point to stays the whole model's.
 */
static dl_status copy_model(const dl_model *whole, dl_model *copy) {
    *copy = *whole;
    copy->pool = NULL;
    copy->layer = NULL;
    copy->value = NULL;
    copy->op = NULL;
    copy->parameter = NULL;
    copy->table = (dl_parameter_table){0};
    copy->n_parameters = whole->table.n;
    DL_RETURN_IF_ERROR(dl_pool_create(&copy->pool));
    DL_RETURN_IF_ERROR(copy_array(whole->layer, whole->n_layers, sizeof *whole->layer, &copy->layer));
    DL_RETURN_IF_ERROR(copy_array(whole->value, whole->n_values, sizeof *whole->value, &copy->value));
    DL_RETURN_IF_ERROR(copy_array(whole->op, whole->n_ops, sizeof *whole->op, &copy->op));
    return copy_array(whole->table.parameter, whole->table.n, sizeof *whole->table.parameter,
                      &copy->parameter);
}

static dl_status make_table(dl_partition *p, const dl_model *whole, const dl_slice *slice) {
    dl_model *model = p->model;
    DL_RETURN_IF_ERROR(dl_parameter_table_make(model, whole->table.bucket_bytes));
    for (int i = 0; i < model->table.n; i++) {
        const dl_parameter *parameter = dl_parameter_find(&whole->table, model->table.parameter[i].path);
        DL_RETURN_ERROR_IF(parameter == NULL, DL_ERR_INTERNAL, "parameter %s is not in the whole model",
                           model->table.parameter[i].path);
        p->whole_row[i] = (int)(parameter - whole->table.parameter);
        p->slice[i] = slice[p->whole_row[i]];
    }
    return DL_OK;
}

static dl_status fill(dl_partition *p, const dl_model *whole) {
    dl_slice *slice = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *p->model, &p->model));
    DL_RETURN_IF_ERROR(copy_model(whole, p->model));
    dl_pool *pool = p->model->pool;
    const size_t n = (size_t)whole->table.n;
    DL_RETURN_IF_ERROR(dl_pool_alloc(pool, (size_t)whole->n_values, sizeof *p->spread, &p->spread));
    DL_RETURN_IF_ERROR(dl_pool_alloc(pool, n, sizeof *p->slice, &p->slice));
    DL_RETURN_IF_ERROR(dl_pool_alloc(pool, n, sizeof *p->whole_row, &p->whole_row));
    DL_RETURN_IF_ERROR(dl_pool_alloc(pool, n, sizeof *slice, &slice));
    for (int i = 0; i < whole->table.n; i++) {
        slice[i].dim = -1;
    }
    DL_RETURN_IF_ERROR(split_pairs(p, slice));
    return make_table(p, whole, slice);
}

dl_status dl_partition_create(const dl_model *whole, int size, int index, dl_partition **out) {
    dl_partition *p = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *p, &p));
    p->size = size;
    p->index = index;
    const dl_status status = fill(p, whole);
    if (status != DL_OK) {
        dl_partition_destroy(&p);
        return status;
    }
    *out = p;
    return DL_OK;
}

void dl_partition_destroy(dl_partition **partition) {
    if (*partition == NULL) {
        return;
    }
    dl_model_destroy(&(*partition)->model);
    dl_free(partition);
}

/* --- parameters of the whole model and of this rank --- */

/* A slice as runs of neighbouring elements: in the whole tensor a run of `length` begins every `step` from
 * `begin` on; in the part they follow each other. */
typedef struct runs {
    int64_t n, length, step, begin;
} runs;

static runs runs_of(const dl_slice *slice, const dl_parameter *parameter) {
    if (slice->dim < 0) {
        return (runs){.n = 1, .length = parameter->n_elements};
    }
    const int64_t inner = dl_shape_stride(&parameter->shape, slice->dim + 1);
    return (runs){.n = parameter->n_elements / (slice->length * inner),
                  .length = slice->length * inner,
                  .step = slice->of * inner,
                  .begin = slice->begin * inner};
}

void dl_partition_cut(const dl_partition *partition, const dl_parameter_table *whole_table, dl_arena arena,
                      const float *whole, float *part) {
    for (int i = 0; i < partition->model->table.n; i++) {
        const dl_parameter *parameter = &partition->model->table.parameter[i];
        const runs r = runs_of(&partition->slice[i], parameter);
        const int64_t offset = whole_table->parameter[partition->whole_row[i]].offset + r.begin;
        for (int64_t k = 0; k < r.n && dl_parameter_arena(parameter) == arena; k++) {
            memcpy(part + parameter->offset + k * r.length, whole + offset + k * r.step,
                   (size_t)r.length * sizeof *part);
        }
    }
}

void dl_partition_paste(const dl_partition *partition, const dl_parameter_table *whole_table, dl_arena arena,
                        const float *part, float *whole) {
    for (int i = 0; i < partition->model->table.n; i++) {
        const dl_parameter *parameter = &partition->model->table.parameter[i];
        const runs r = runs_of(&partition->slice[i], parameter);
        const int64_t offset = whole_table->parameter[partition->whole_row[i]].offset + r.begin;
        for (int64_t k = 0; k < r.n && dl_parameter_arena(parameter) == arena; k++) {
            memcpy(whole + offset + k * r.step, part + parameter->offset + k * r.length,
                   (size_t)r.length * sizeof *part);
        }
    }
}
