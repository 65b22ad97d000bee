/* The functions of one value that GPU kernels normalize with, played on the host against ref. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/backend.h"
#include "kernels/common/batch_norm_image.h"

#include <math.h>

enum { N = 6, CELLS = 4, C = 5, GROUP = 4, GROUPS = 2, VALUES = N * CELLS * C };

typedef struct images {
    float x[VALUES], residual[VALUES], y[VALUES], dy[VALUES], dx[VALUES];
    float gamma[C], beta[C], stat[GROUPS * DL_N_STATS * C];
    double sums[GROUPS * (2 * C + 1)], dstat[GROUPS * 2 * C];
} images;

static void fill(float *values, int n, int seed) {
    for (int i = 0; i < n; i++) {
        values[i] = (float)((i * 37 + seed * 23) % 53 - 26) / 9.0F;
    }
}

static dl_tensor_desc tensor(dl_dtype dtype, dl_shape shape) {
    return (dl_tensor_desc){.present = true, .dtype = dtype, .shape = shape};
}

static void run(dl_device *ref, const dl_op_desc *desc, void *const *slots) {
    dl_op *op = NULL;
    assert_int_equal(dl_op_prepare(ref, desc, NULL, &op), DL_OK);
    assert_int_equal(op->functions->run(op, slots, NULL), DL_OK);
    dl_op_destroy(&op);
}

/* ref's results for x, dy, gamma and beta. */
static void ask_ref(images *v, dl_activation activation, bool residual) {
    const dl_device_options options = {.n_threads = 1};
    dl_device *ref = NULL;
    const dl_tensor_desc image = tensor(DL_F32, DL_SHAPE(N, 2, 2, C)), vector = tensor(DL_F32, DL_SHAPE(C)),
                         sums = tensor(DL_F64, DL_SHAPE(GROUPS, 2 * C + 1)),
                         stat = tensor(DL_F32, DL_SHAPE(GROUPS, DL_N_STATS, C)),
                         dstat = tensor(DL_F64, DL_SHAPE(GROUPS, 2, C));
    const dl_op_attr attr = {.u.norm = {.group = GROUP, .epsilon = 1e-5}};
    dl_op_attr fused = attr;
    fused.activation = activation;
    assert_int_equal(dl_device_open(dl_backend_find("ref"), &options, &ref), DL_OK);
    run(ref, &(dl_op_desc){.kind = DL_OP_BATCH_NORM_SUMS, .attr = attr, .slot = {image, sums}},
        (void *[]){v->x, v->sums, NULL});
    run(ref,
        &(dl_op_desc){
            .kind = DL_OP_BATCH_NORM_STATISTICS, .attr = attr, .slot = {sums, vector, vector, stat}},
        (void *[]){v->sums, v->gamma, v->beta, v->stat, NULL});
    dl_op_desc forward = {
        .kind = DL_OP_BATCH_NORM_FORWARD, .attr = fused, .slot = {image, stat, image, image}};
    forward.slot[2].present = residual;
    run(ref, &forward, (void *[]){v->x, v->stat, residual ? v->residual : NULL, v->y, NULL});
    run(ref,
        &(dl_op_desc){
            .kind = DL_OP_BATCH_NORM_BACKWARD_SUMS, .attr = fused, .slot = {image, image, stat, dstat}},
        (void *[]){v->dy, v->x, v->stat, v->dstat, NULL});
    run(ref,
        &(dl_op_desc){.kind = DL_OP_BATCH_NORM_BACKWARD_DATA,
                      .attr = fused,
                      .slot = {image, image, stat, dstat, image}},
        (void *[]){v->dy, v->x, v->stat, v->dstat, v->dx, NULL});
    dl_device_close(&ref);
}

static void near(const char *what, double a, double b) {
    if (!(fabs(a - b) <= 2e-6 * (1.0 + fabs(b)))) {
        fail_msg("%s: %.9g, not %.9g", what, a, b);
    }
}

/* One channel of one group, as a strip of threads sees it. */
static void compare_channel(const images *v, dl_activation activation, bool residual, int group, int c) {
    const dl_channel_stat s = dl_channel_stat_at(v->stat, C, group, c);
    const double *dstat = v->dstat + 2 * group * C + c;
    const float mean = (float)(dstat[0] * (double)s.inverse_count),
                along = (float)(dstat[C] * (double)s.inverse_count);
    dl_channel_sums moments = {0.0, 0.0}, gradients = {0.0, 0.0};
    for (int n = group * GROUP; n < N && n < (group + 1) * GROUP; n++) {
        for (int cell = 0; cell < CELLS; cell++) {
            const int at = (n * CELLS + cell) * C + c;
            near("y", dl_channel_forward(s, activation, v->x[at], residual ? v->residual[at] : 0.0F),
                 v->y[at]);
            near("dx", dl_channel_backward(s, activation, v->x[at], v->dy[at], mean, along), v->dx[at]);
            dl_channel_add_moments(v->x[at], &moments);
            dl_channel_add_gradients(s, activation, v->x[at], v->dy[at], &gradients);
        }
    }
    near("sum of x", moments.first, v->sums[group * (2 * C + 1) + c]);
    near("sum of squares", moments.second, v->sums[group * (2 * C + 1) + C + c]);
    near("sum of dy", gradients.first, dstat[0]);
    near("sum along", gradients.second, dstat[C]);
}

static void values_are_those_of_ref(void **state) {
    (void)state;
    static images v;
    static const dl_activation activations[] = {DL_ACT_NONE, DL_ACT_RELU};
    fill(v.x, VALUES, 1);
    fill(v.dy, VALUES, 2);
    fill(v.residual, VALUES, 3);
    fill(v.gamma, C, 4);
    fill(v.beta, C, 5);
    for (int a = 0; a < 2; a++) {
        for (int residual = 0; residual <= 1; residual++) {
            ask_ref(&v, activations[a], residual == 1);
            for (int i = 0; i < GROUPS * C; i++) {
                compare_channel(&v, activations[a], residual == 1, i / C, i % C);
            }
        }
    }
}

/* The gradient passes exactly where relu's output is positive: both come from one rounding. */
static void relu_and_its_gradient_agree(void **state) {
    (void)state;
    const dl_channel_stat s = {.scale = 0.1F, .shift = -0.3F}; /* 0 at x = 3, within rounding */
    float x = 2.999999F;
    for (int i = 0; i < 100; i++, x = nextafterf(x, 4.0F)) {
        const bool positive = dl_channel_forward(s, DL_ACT_RELU, x, 0.0F) > 0.0F;
        assert_true((dl_channel_passed(s, DL_ACT_RELU, x, 1.0F) > 0.0F) == positive);
    }
    assert_true(isnan(dl_channel_forward(s, DL_ACT_RELU, NAN, 0.0F)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_those_of_ref),
        cmocka_unit_test(relu_and_its_gradient_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
