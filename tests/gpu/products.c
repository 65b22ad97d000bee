/* Products as cuBLAS is asked for them, played on the host: what the dense kinds mean, column by column. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/backend.h"
#include "kernels/cuda/matmul_shape.h"

#include <math.h>
#include <stdlib.h>

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_the_kinds),
        cmocka_unit_test(biases_are_on_the_side_of_outputs),
        cmocka_unit_test(alignment_is_that_of_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
