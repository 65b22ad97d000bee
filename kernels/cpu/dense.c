/* Dense layers by products of our own (loops/matrix.c): the three kinds are one product with other sides.
 *
 *   forward   y[n,o]  = b[o] + sum over i of x[n,i] w[o,i]       weights packed, else packed in every run
 *   data      dx[n,i] = sum over o of dy[n,o] w[o,i]             weights as they are
 *   weights   dw[o,i] = sum over n of dy[n,o] x[n,i]             all as it is, dw too: no copy, no unpacking
 */
#include "kernels/cpu/cpu.h"

#include "base/mem.h"
#include "kernels/ops/sizes.h"

#include <omp.h>
#include <stdio.h>

/* Narrower layers waste most of a tile; below so many multiplications one thread does it. */
enum { LEAST_WIDTH = 32, PRODUCTS_WORTH_A_THREAD = 1 << 20 };

typedef struct dense_op {
    dl_op base;
    dl_cpu_matrices m;        /* without addresses */
    int64_t rows;             /* of c */
    int a, b, c, start, sums; /* their slots; -1: none */
    bool packs;               /* weights into the workspace */
    size_t room_bytes;        /* of the workspace, behind packed weights, for each thread */
    const dl_cpu_loops *loops;
} dense_op;

dl_status dl_cpu_packed_weights(int64_t outputs, int64_t inputs, const dl_layout **out) {
    const dnnl_dims_t dims = {outputs, inputs};
    return dl_onednn_layout_tag(2, dims, dnnl_f32, dnnl_AB16b64a, "oi", out);
}

dl_cpu_matrices dl_cpu_packed_matrices(int64_t outputs, int64_t inputs) {
    const int64_t padded = (int64_t)dl_round_up((size_t)inputs, 16); /* the layout's inner blocks */
    return (dl_cpu_matrices){.n = outputs,
                             .k = inputs,
                             .a_row = inputs,
                             .a_step = 1,
                             .b_step = DL_CPU_PANEL,
                             .b_panel = padded * DL_CPU_PANEL,
                             .c_row = outputs};
}

size_t dl_cpu_packed_bytes(int64_t outputs, int64_t inputs) {
    const int64_t n_panels = (outputs + DL_CPU_PANEL - 1) / DL_CPU_PANEL;
    return (size_t)(n_panels * dl_cpu_packed_matrices(outputs, inputs).b_panel) * sizeof(float);
}

/* The slot of the weights or their gradient. */
static int weights_of(dl_op_kind kind) {
    return kind == DL_OP_DENSE_BACKWARD_WEIGHTS ? 2 : 1;
}

static bool takes_layout(const dl_op_desc *desc) {
    const dl_layout *asked = desc->slot[weights_of(desc->kind)].layout, *packed = NULL;
    if (asked == &dl_layout_any) {
        return true;
    }
    if (desc->kind != DL_OP_DENSE_FORWARD) {
        return asked == NULL;
    }
    const dl_dense_sizes z = dl_dense_sizes_of(desc);
    return asked == NULL || (dl_cpu_packed_weights(z.outputs, z.inputs, &packed) == DL_OK && asked == packed);
}

bool dl_cpu_dense_takes(const dl_device *device, const dl_op_desc *desc) {
    const dl_cpu_device *cpu = (const dl_cpu_device *)(const void *)device;
    const bool dense = desc->kind == DL_OP_DENSE_FORWARD || desc->kind == DL_OP_DENSE_BACKWARD_DATA ||
                       desc->kind == DL_OP_DENSE_BACKWARD_WEIGHTS;
    if (cpu->loops->matrix_product == NULL || !dense || desc->attr.activation != DL_ACT_NONE ||
        dl_op_has_half(desc) || !dl_cpu_product_takes(device, desc) || desc->algorithm != 0) {
        return false;
    }
    const dl_dense_sizes z = dl_dense_sizes_of(desc);
    return z.n > 0 && z.inputs >= LEAST_WIDTH && z.outputs >= LEAST_WIDTH && takes_layout(desc);
}

void dl_cpu_pack_weights(const dl_cpu_matrices *m, const float *w, float *packed) {
    for (int64_t column = 0; column < m->n; column++) {
        float *to = packed + column / DL_CPU_PANEL * m->b_panel + column % DL_CPU_PANEL;
        for (int64_t k = 0; k < m->k; k++) {
            to[k * m->b_step] = w[column * m->k + k];
        }
    }
}

void dl_cpu_pack_columns(const dl_cpu_matrices *m, const float *b, float *packed) {
    for (int64_t column = 0; column < m->n; column += DL_CPU_PANEL) {
        const int64_t width = m->n - column < DL_CPU_PANEL ? m->n - column : DL_CPU_PANEL;
        float *to = packed + column / DL_CPU_PANEL * m->b_panel;
        for (int64_t k = 0; k < m->k; k++, to += m->b_step) {
            memcpy(to, b + k * m->n + column, (size_t)width * sizeof *to);
        }
    }
}

dl_cpu_matrices dl_cpu_data_matrices(int64_t outputs, int64_t inputs) {
    return (dl_cpu_matrices){.n = inputs,
                             .k = outputs,
                             .a_row = outputs,
                             .a_step = 1,
                             .b_step = inputs,
                             .b_panel = DL_CPU_PANEL,
                             .c_row = inputs};
}

dl_cpu_matrices dl_cpu_weight_matrices(int64_t n, int64_t outputs, int64_t inputs) {
    return (dl_cpu_matrices){.n = inputs,
                             .k = n,
                             .a_row = 1,
                             .a_step = outputs,
                             .b_step = inputs,
                             .b_panel = DL_CPU_PANEL,
                             .c_row = inputs};
}

size_t dl_cpu_room_bytes(const dl_cpu_matrices *m, int64_t n_rows) {
    const int64_t n_floats = dl_cpu_room_of_a(m) + dl_cpu_room_of_b(m, n_rows);
    return dl_round_up((size_t)n_floats * sizeof(float), DL_CACHE_LINE);
}

/* A thread's part. */
static void run_range(const dense_op *op, dl_cpu_matrices m, char *rooms, int thread, dl_range rows) {
    m.room = op->room_bytes > 0 ? (float *)(void *)(rooms + (size_t)thread * op->room_bytes) : NULL;
    op->loops->matrix_product(&m, rows);
}

static dl_status run_dense(const dl_op *base, void *const *slots, dl_stream *stream) {
    (void)stream;
    const dense_op *op = (const dense_op *)(const void *)base;
    const int n_threads = base->device->n_threads;
    dl_cpu_matrices m = op->m;
    m.a = slots[op->a];
    m.b = slots[op->b];
    m.c = slots[op->c];
    m.start = op->start >= 0 ? slots[op->start] : NULL;
    m.sums = op->sums >= 0 ? slots[op->sums] : NULL;
    char *workspace = slots[dl_op_info_of(base->desc.kind)->n_slots];
    if (op->packs) {
        float *packed = (float *)(void *)workspace;
        dl_cpu_pack_weights(&m, slots[op->b], packed);
        m.b = packed;
    }
    if (n_threads == 1 || op->rows * m.n * m.k < PRODUCTS_WORTH_A_THREAD) {
        run_range(op, m, workspace, 0, (dl_range){0, op->rows});
        return DL_OK;
    }
#pragma omp parallel num_threads(n_threads)
    run_range(op, m, workspace, omp_get_thread_num(),
              dl_range_part(op->rows, omp_get_num_threads(), omp_get_thread_num()));
    return DL_OK;
}

static void destroy_dense(dl_op *base) {
    dense_op *op = (dense_op *)(void *)base;
    dl_free(&op);
}

static const dl_op_functions dense_functions = {.run = run_dense, .destroy = destroy_dense};

static void set_sides(dense_op *op, const dl_op_desc *desc) {
    const dl_dense_sizes z = dl_dense_sizes_of(desc);
    op->start = op->sums = -1;
    if (desc->kind == DL_OP_DENSE_FORWARD) {
        op->m = dl_cpu_packed_matrices(z.outputs, z.inputs);
        op->rows = z.n;
        op->a = 0, op->b = 1, op->c = 3;
        op->start = desc->slot[2].present ? 2 : -1;
    } else if (desc->kind == DL_OP_DENSE_BACKWARD_DATA) {
        op->m = dl_cpu_data_matrices(z.outputs, z.inputs);
        op->rows = z.n;
        op->a = 0, op->b = 1, op->c = 2;
    } else {
        op->m = dl_cpu_weight_matrices(z.n, z.outputs, z.inputs);
        op->rows = z.outputs;
        op->a = 1, op->b = 0, op->c = 2;
        op->sums = desc->slot[3].present ? 3 : -1;
    }
}

dl_status dl_cpu_prepare_dense(dl_device *device, const dl_op_desc *desc, const dl_op *forward, dl_op **out) {
    (void)forward;
    const dl_dense_sizes z = dl_dense_sizes_of(desc);
    const dl_layout *layout = NULL;
    dense_op *op = NULL;
    if (desc->kind == DL_OP_DENSE_FORWARD && desc->slot[1].layout != NULL) {
        DL_RETURN_IF_ERROR(dl_cpu_packed_weights(z.outputs, z.inputs, &layout));
    }
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *op, &op));
    op->base.functions = &dense_functions;
    op->base.device = device;
    op->base.desc = *desc;
    op->base.batch_invariant = desc->kind != DL_OP_DENSE_BACKWARD_WEIGHTS;
    op->loops = dl_cpu_device_of(device)->loops;
    op->base.desc.slot[weights_of(desc->kind)].layout = op->base.layout[weights_of(desc->kind)] = layout;
    set_sides(op, desc);
    if (desc->kind == DL_OP_DENSE_FORWARD && layout == NULL) {
        op->packs = true;
        op->base.workspace_bytes = dl_cpu_packed_bytes(z.outputs, z.inputs);
    }
    op->room_bytes = dl_cpu_room_bytes(&op->m, op->rows); /* none where weights are packed */
    op->base.workspace_bytes += op->room_bytes * (size_t)device->n_threads;
    (void)snprintf(op->base.implementation, sizeof op->base.implementation, "product:%s", op->loops->isa);
    *out = &op->base;
    return DL_OK;
}
