/* Products as cuBLAS is asked for them, played on the host, column by column: what the dense kinds mean, and,
 * with the functions of the kernels between them, what the LSTM kinds mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/backend.h"
#include "kernels/common/lstm_step.h"
#include "kernels/cuda/matmul_shape.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Element (i, j) of op(m). */
static float at(const dl_blas_matrix *m, const float *values, int64_t i, int64_t j) {
    const int64_t row = m->transpose ? j : i, column = m->transpose ? i : j;
    assert_true(row >= 0 && row < m->rows && column >= 0 && column < m->columns && m->ld >= m->rows);
    return values[row + column * m->ld];
}

static void multiply(const dl_blas_product *p, const float *a, const float *b, float *d) {
    for (int64_t i = 0; i < p->m; i++) {
        for (int64_t j = 0; j < p->n; j++) {
            double sum = 0.0;
            for (int64_t k = 0; k < p->k; k++) {
                sum += (double)at(&p->a, a, i, k) * (double)at(&p->b, b, k, j);
            }
            d[i + j * p->d.ld] = (float)sum;
        }
    }
}

static dl_op_desc dense(dl_op_kind kind, dl_shape x, int64_t outputs) {
    const int64_t inputs = x.dim[x.n_dims - 1];
    dl_shape y = x;
    y.dim[y.n_dims - 1] = outputs;
    const struct {
        const char *name;
        dl_shape shape;
    } slots[] = {{"x", x},
                 {"dx", x},
                 {"y", y},
                 {"dy", y},
                 {"w", DL_SHAPE(outputs, inputs)},
                 {"dw", DL_SHAPE(outputs, inputs)}};
    dl_op_desc desc = {.kind = kind};
    for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++) {
        const int slot = dl_op_slot(dl_op_info_of(kind), slots[i].name);
        if (slot >= 0) {
            desc.slot[slot] = (dl_tensor_desc){.present = true, .dtype = DL_F32, .shape = slots[i].shape};
        }
    }
    return desc;
}

static float *numbers(const dl_tensor_desc *tensor, int seed) {
    const int64_t n = dl_shape_elements(&tensor->shape);
    float *values = test_malloc((size_t)n * sizeof *values);
    for (int64_t i = 0; i < n; i++) {
        values[i] = (float)((i * 7 + seed * 13) % 23) - 11.0F;
    }
    return values;
}

/* slots: left, right, out */
static void compare(dl_op_kind kind, dl_shape x, int64_t outputs, const int slots[3]) {
    const dl_device_options options = {.n_threads = 1};
    const dl_op_desc desc = dense(kind, x, outputs);
    dl_device *ref = NULL;
    dl_op *op = NULL;
    void *memory[DL_OP_MAX_SLOTS + 1] = {NULL};
    assert_int_equal(dl_device_open(dl_backend_find("ref"), &options, &ref), DL_OK);
    assert_int_equal(dl_op_prepare(ref, &desc, NULL, &op), DL_OK);
    for (int i = 0; i < 3; i++) {
        memory[slots[i]] = numbers(&desc.slot[slots[i]], i);
    }
    assert_int_equal(op->functions->run(op, memory, NULL), DL_OK);
    const dl_matmul_shape shape = dl_dense_shape_of(&desc);
    const dl_blas_product product = dl_blas_product_of(&shape);
    float *d = numbers(&desc.slot[slots[2]], 3);
    multiply(&product, memory[slots[1]], memory[slots[0]], d);
    const float *wanted = memory[slots[2]];
    for (int64_t i = 0; i < dl_shape_elements(&desc.slot[slots[2]].shape); i++) {
        assert_true(d[i] == wanted[i]); /* small whole numbers: exact */
    }
    test_free(d);
    for (int i = 0; i < 3; i++) {
        test_free(memory[slots[i]]);
    }
    dl_op_destroy(&op);
    dl_device_close(&ref);
}

static void products_are_the_kinds(void **state) {
    (void)state;
    static const int forward[] = {0, 1, 3}, data[] = {0, 1, 2}, weights[] = {1, 0, 2};
    const dl_shape shapes[] = {DL_SHAPE(1, 1), DL_SHAPE(5, 3), DL_SHAPE(4, 6), DL_SHAPE(2, 3, 7)};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        for (int64_t outputs = 1; outputs < 10; outputs += 4) {
            compare(DL_OP_DENSE_FORWARD, shapes[i], outputs, forward);
            compare(DL_OP_DENSE_BACKWARD_DATA, shapes[i], outputs, data);
            compare(DL_OP_DENSE_BACKWARD_WEIGHTS, shapes[i], outputs, weights);
        }
    }
}

/* A bias for each output is one for each row of d; the bias gradient one for each column. */
static void biases_are_on_the_side_of_outputs(void **state) {
    (void)state;
    dl_op_desc desc = dense(DL_OP_DENSE_FORWARD, DL_SHAPE(5, 3), 7);
    dl_matmul_shape shape = dl_dense_shape_of(&desc);
    assert_int_equal(dl_blas_product_of(&shape).m, 7);
    desc = dense(DL_OP_DENSE_BACKWARD_WEIGHTS, DL_SHAPE(5, 3), 7);
    shape = dl_dense_shape_of(&desc);
    assert_int_equal(dl_blas_product_of(&shape).n, 7);
    assert_int_equal(dl_blas_product_of(&shape).k, 5);
    assert_true(shape.left.transposed); /* dy, whose rows the gradient adds */
}

static void alignment_is_that_of_rows(void **state) {
    (void)state;
    dl_op_desc desc = dense(DL_OP_DENSE_FORWARD, DL_SHAPE(5, 8), 12);
    assert_int_equal(dl_dense_shape_of(&desc).alignment, 16);
    desc = dense(DL_OP_DENSE_FORWARD, DL_SHAPE(5, 8), 10); /* a sample of y has 40 bytes */
    assert_int_equal(dl_dense_shape_of(&desc).alignment, 8);
    desc.slot[3].dtype = DL_BF16;
    assert_int_equal(dl_dense_shape_of(&desc).alignment, 4);
}

/* --- LSTM --- */

enum { N = 3, T = 4, H = 5, UNITS = N * H, CELLS = N * T * H, GATES = 4 * CELLS };

/* Values of all slots of one layer; `ref` as the oracle makes them, the others as the GPU would. */
typedef struct layer {
    bool carried; /* h0, c0 are given */
    float z[GATES], w[4 * H * H], h0[UNITS], c0[UNITS], dy[CELLS];
    float y[CELLS], hn[UNITS], cn[UNITS], gates[GATES], cells[CELLS], dz[GATES], dw[4 * H * H];
} layer;

static void fill(float *values, int n, int seed) {
    for (int i = 0; i < n; i++) {
        values[i] = (float)((i * 29 + seed * 17) % 41 - 20) / 25.0F;
    }
}

static void product(const dl_op_desc *desc, bool initial, const float *left, const float *right, float *out) {
    const dl_matmul_shape shape = dl_lstm_shape_of(desc, initial);
    const dl_blas_product asked = dl_blas_product_of(&shape);
    multiply(&asked, right, left, out);
}

/* What lstm_cuda.c enqueues for the three kinds. */
static void play_forward(const dl_op_desc *desc, layer *l) {
    float sums[4 * UNITS];
    dl_lstm_forward_step step = {.n_positions = T,
                                 .h = H,
                                 .z = l->z,
                                 .c0 = l->carried ? l->c0 : NULL,
                                 .y = l->y,
                                 .hn = l->hn,
                                 .cn = l->cn,
                                 .gates = l->z, /* in z's memory, as plans put them */
                                 .cells = l->cells};
    for (step.t = 0; step.t < T; step.t++) {
        step.sums = step.t > 0 || l->carried ? sums : NULL;
        if (step.t > 0) {
            product(desc, false, l->y + (step.t - 1) * H, l->w, sums);
        } else if (l->carried) {
            product(desc, true, l->h0, l->w, sums);
        }
        for (int i = 0; i < UNITS; i++) {
            dl_lstm_forward_unit(&step, i);
        }
    }
}

static void play_backward(const dl_op_desc *desc, layer *l) {
    float sums[UNITS], dc[UNITS];
    dl_lstm_backward_step step = {.n_positions = T,
                                  .h = H,
                                  .gates = l->z,
                                  .cells = l->cells,
                                  .c0 = l->carried ? l->c0 : NULL,
                                  .dy = l->dy,
                                  .sums = sums,
                                  .dz = l->z, /* in the gates' memory */
                                  .dc = dc};
    for (int i = 0; i < UNITS; i++) {
        sums[i] = dc[i] = NAN; /* nobody reads what nobody wrote */
    }
    for (step.t = T - 1; step.t >= 0; step.t--) {
        if (step.t + 1 < T) {
            product(desc, false, l->z + (step.t + 1) * 4 * H, l->w, sums);
        }
        for (int i = 0; i < UNITS; i++) {
            dl_lstm_backward_unit(&step, i);
        }
    }
}

static void play_weights(const dl_op_desc *desc, layer *l) {
    float before[CELLS];
    for (int i = 0; i < CELLS; i++) {
        before[i] = dl_lstm_output_before(l->y, l->carried ? l->h0 : NULL, T, H, i);
    }
    product(desc, false, l->z, before, l->dw);
}

static dl_op_desc lstm(dl_op_kind kind, bool carried) {
    static const struct {
        const char *name;
        int last; /* dimension */
    } slots[] = {{"z", 4 * H}, {"gates", 4 * H}, {"dz", 4 * H}, {"y", H}, {"cells", H}, {"dy", H}};
    dl_op_desc desc = {.kind = kind};
    const dl_op_info *info = dl_op_info_of(kind);
    for (int i = 0; i < info->n_slots; i++) {
        const bool first = strcmp(info->slots[i].name, "h0") == 0 || strcmp(info->slots[i].name, "c0") == 0;
        desc.slot[i] =
            (dl_tensor_desc){.present = carried || !first,
                             .dtype = DL_F32,
                             .shape = info->slots[i].layout_free ? DL_SHAPE(4 * H, H) : DL_SHAPE(N, H)};
        for (size_t k = 0; k < sizeof slots / sizeof slots[0]; k++) {
            if (strcmp(info->slots[i].name, slots[k].name) == 0) {
                desc.slot[i].shape = DL_SHAPE(N, T, slots[k].last);
            }
        }
    }
    return desc;
}

static void run_ref(dl_device *ref, const dl_op_desc *desc, void *const *slots) {
    void *memory[DL_OP_MAX_SLOTS + 1] = {NULL};
    const int n = dl_op_info_of(desc->kind)->n_slots;
    dl_op *op = NULL;
    for (int i = 0; i < n; i++) {
        memory[i] = desc->slot[i].present ? slots[i] : NULL;
    }
    assert_int_equal(dl_op_prepare(ref, desc, NULL, &op), DL_OK);
    memory[n] = test_malloc(op->workspace_bytes + 1);
    assert_int_equal(op->functions->run(op, memory, NULL), DL_OK);
    test_free(memory[n]);
    dl_op_destroy(&op);
}

static void near(const char *what, const float *a, const float *b, int n) {
    for (int i = 0; i < n; i++) {
        if (!(fabsf(a[i] - b[i]) <= 2e-6F)) {
            fail_msg("%s[%d]: %.9g, not %.9g", what, i, (double)a[i], (double)b[i]);
        }
    }
}

static void lstms_are_the_kinds(void **state) {
    (void)state;
    const dl_device_options options = {.n_threads = 1};
    dl_device *ref = NULL;
    assert_int_equal(dl_device_open(dl_backend_find("ref"), &options, &ref), DL_OK);
    for (int carried = 0; carried <= 1; carried++) {
        static layer gpu, oracle;
        const dl_op_desc forward = lstm(DL_OP_LSTM_FORWARD, carried == 1),
                         data = lstm(DL_OP_LSTM_BACKWARD_DATA, carried == 1),
                         weights = lstm(DL_OP_LSTM_BACKWARD_WEIGHTS, carried == 1);
        gpu = (layer){.carried = carried == 1};
        fill(gpu.z, GATES, 1);
        fill(gpu.w, 4 * H * H, 2);
        fill(gpu.h0, UNITS, 3);
        fill(gpu.c0, UNITS, 4);
        fill(gpu.dy, CELLS, 5);
        oracle = gpu;
        layer *o = &oracle;
        run_ref(ref, &forward, (void *[]){o->z, o->w, o->h0, o->c0, o->y, o->hn, o->cn, o->gates, o->cells});
        run_ref(ref, &data, (void *[]){o->gates, o->cells, o->w, o->c0, o->dy, o->dz});
        run_ref(ref, &weights, (void *[]){o->y, o->h0, o->dz, o->dw});
        play_forward(&forward, &gpu);
        near("y", gpu.y, o->y, CELLS);
        near("hn", gpu.hn, o->hn, UNITS);
        near("cn", gpu.cn, o->cn, UNITS);
        near("gates", gpu.z, o->gates, GATES);
        play_backward(&data, &gpu);
        near("dz", gpu.z, o->dz, GATES);
        play_weights(&weights, &gpu);
        near("dw", gpu.dw, o->dw, 4 * H * H);
    }
    dl_device_close(&ref);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_the_kinds),
        cmocka_unit_test(biases_are_on_the_side_of_outputs),
        cmocka_unit_test(alignment_is_that_of_rows),
        cmocka_unit_test(lstms_are_the_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
