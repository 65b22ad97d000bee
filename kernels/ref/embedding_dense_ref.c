/* Position by position, with the roundings of the kinds that are fused here: on ref a program has the same
 * bits with and without the fusion. */
#include "kernels/ops/sizes.h"
#include "kernels/ref/ref.h"

#include <math.h>

static float embedded(const dl_embedding_dense_sizes *z, const float *table, int32_t token, int64_t i) {
    return token >= 0 && token < z->vocabulary ? table[token * z->inputs + i] : NAN;
}

void dl_embedding_dense_forward_ref(const dl_op *op, void *const *slots) {
    const dl_embedding_dense_sizes z = dl_embedding_dense_sizes_of(&op->desc);
    const int32_t *x = slots[0];
    const float *table = slots[1], *w = slots[2], *b = slots[3];
    float *y = slots[4];
    for (int64_t n = 0; n < z.tokens; n++) {
        for (int64_t o = 0; o < z.outputs; o++) {
            double sum = 0;
            for (int64_t i = 0; i < z.inputs; i++) {
                sum += (double)embedded(&z, table, x[n], i) * (double)w[o * z.inputs + i];
            }
            y[n * z.outputs + o] = (float)(b == NULL ? sum : sum + (double)b[o]);
        }
    }
}

/* The gradient of an embedded position. */
static float position_gradient(const dl_embedding_dense_sizes *z, const float *dy, const float *w,
                               int64_t i) {
    double sum = 0;
    for (int64_t o = 0; o < z->outputs; o++) {
        sum += (double)dy[o] * (double)w[o * z->inputs + i];
    }
    return (float)sum;
}

static void table_gradient(const dl_embedding_dense_sizes *z, const int32_t *x, const float *dy,
                           const float *w, float *dtable) {
    for (int64_t v = 0; v < z->vocabulary; v++) {
        for (int64_t i = 0; i < z->inputs; i++) {
            double sum = 0;
            for (int64_t n = 0; n < z->tokens; n++) {
                sum += x[n] == v ? (double)position_gradient(z, dy + n * z->outputs, w, i) : 0.0;
            }
            dtable[v * z->inputs + i] = (float)sum;
        }
    }
}

void dl_embedding_dense_backward_weights_ref(const dl_op *op, void *const *slots) {
    const dl_embedding_dense_sizes z = dl_embedding_dense_sizes_of(&op->desc);
    const int32_t *x = slots[0];
    const float *table = slots[1], *dy = slots[3];
    float *dw = slots[5], *db = slots[6];
    table_gradient(&z, x, dy, slots[2], slots[4]);
    for (int64_t o = 0; o < z.outputs; o++) {
        for (int64_t i = 0; i < z.inputs; i++) {
            double sum = 0;
            for (int64_t n = 0; n < z.tokens; n++) {
                sum += (double)dy[n * z.outputs + o] * (double)embedded(&z, table, x[n], i);
            }
            dw[o * z.inputs + i] = (float)sum;
        }
        double sum = 0;
        for (int64_t n = 0; n < z.tokens && db != NULL; n++) {
            sum += (double)dy[n * z.outputs + o];
        }
        if (db != NULL) {
            db[o] = (float)sum;
        }
    }
}
