/* The recurrence of an LSTM: at each position one product with the packed W_hh and one loop over the units.
 *
 * Not oneDNN's LSTM: its workspace belongs to a whole batch, so a reproducible sum in pieces would have to
 * walk through time piece by piece, and its gradient kind adds to weights that must be cleared first. The
 * products here are the dense layer's operations, so what holds there (packed weights, rows that keep their
 * bits whatever the batch) holds here. The product for all positions' inputs is a dense_forward of its own.
 */
#include "kernels/cpu/cpu.h"

#include "base/mem.h"
#include "kernels/ops/sizes.h"

#include <omp.h>
#include <stdio.h>

/* Below this many units of a position, over all samples, one thread does it. */
enum { UNITS_WORTH_A_THREAD = 4096 };
/* W_hh is packed for so many positions. */
enum { POSITIONS_WORTH_PACKING = 8 };

typedef struct lstm_op {
    dl_op base;
    dl_lstm_sizes s;
    const dl_cpu_loops *loops;
    dl_op *product;                   /* over one position, or over all for the weights' gradient */
    size_t product_at;                /* its workspace */
    size_t a_at, b_at, c_at, zero_at; /* floats between positions, see the users; zeros of 4 h */
    bool packs;                       /* W_hh, once for all positions, to packed_at; backwards only */
    size_t packed_at;
} lstm_op;

static lstm_op *lstm_of(const dl_op *op) {
    return (lstm_op *)(uintptr_t)op;
}

bool dl_cpu_lstm_takes(const dl_device *device, const dl_op_desc *desc) {
    (void)device;
    return (desc->kind == DL_OP_LSTM_FORWARD || desc->kind == DL_OP_LSTM_BACKWARD_DATA ||
            desc->kind == DL_OP_LSTM_BACKWARD_WEIGHTS) &&
           desc->algorithm == 0 && dl_op_samples(desc) > 0;
}

/* --- running --- */

typedef void (*step_function)(const dl_cpu_lstm_step *step, dl_range samples);

static void run_step(const lstm_op *op, step_function function, const dl_cpu_lstm_step *step) {
    const int n_threads = op->base.device->n_threads;
    if (n_threads == 1 || op->s.n * op->s.h < UNITS_WORTH_A_THREAD) {
        function(step, (dl_range){0, op->s.n});
        return;
    }
#pragma omp parallel num_threads(n_threads)
    function(step, dl_range_part(op->s.n, omp_get_num_threads(), omp_get_thread_num()));
}

/* A place in the workspace. */
static float *at(void *workspace, size_t offset) {
    return (float *)(void *)((char *)workspace + offset);
}

/* Where the cells before position t are. */
static void set_cells_before(const lstm_op *op, const float *cells, const float *c0, const float *zeros,
                             int64_t t, dl_cpu_lstm_step *step) {
    const float *first = c0 != NULL ? c0 : zeros;
    step->c_before = t > 0 ? cells + (t - 1) * op->s.h : first;
    step->c_before_stride = t > 0 ? op->s.t * op->s.h : c0 != NULL ? op->s.h : 0;
}

/* Workspace: a: the output of the position before, b: its product with W_hh, c: gates that nobody keeps. */
static dl_status run_forward(const dl_op *base, void *const *slots, dl_stream *stream) {
    const lstm_op *op = lstm_of(base);
    const int64_t h = op->s.h, t_all = op->s.t;
    void *workspace = slots[9], *h0 = slots[2];
    float *y = slots[4], *cells = slots[8], *gates = slots[7], *zeros = at(workspace, op->zero_at);
    float *h_now = at(workspace, op->a_at), *recurrent = at(workspace, op->b_at);
    memset(zeros, 0, (size_t)(4 * h) * sizeof *zeros);
    for (int64_t t = 0; t < t_all; t++) {
        void *const product[] = {t > 0 ? h_now : h0, slots[1], NULL, recurrent,
                                 at(workspace, op->product_at)};
        const bool multiply = t > 0 || h0 != NULL;
        if (multiply) {
            DL_RETURN_IF_ERROR(op->product->functions->run(op->product, product, stream));
        }
        dl_cpu_lstm_step step = {.h = h,
                                 .z = (const float *)slots[0] + t * 4 * h,
                                 .z_stride = t_all * 4 * h,
                                 .recurrent = multiply ? recurrent : zeros,
                                 .recurrent_stride = multiply ? 4 * h : 0,
                                 .gates = gates != NULL ? gates + t * 4 * h : at(workspace, op->c_at),
                                 .gates_stride = gates != NULL ? t_all * 4 * h : 4 * h,
                                 .c = cells + t * h,
                                 .y = y + t * h,
                                 .y_stride = t_all * h,
                                 .h_now = h_now};
        set_cells_before(op, cells, slots[3], zeros, t, &step);
        run_step(op, op->loops->lstm_forward, &step);
    }
    for (int64_t n = 0; n < op->s.n; n++) {
        const size_t last = (size_t)((n * t_all + t_all - 1) * h);
        if (slots[5] != NULL) {
            memcpy((float *)slots[5] + n * h, y + last, (size_t)h * sizeof *y);
        }
        if (slots[6] != NULL) {
            memcpy((float *)slots[6] + n * h, cells + last, (size_t)h * sizeof *cells);
        }
    }
    return DL_OK;
}

/* Workspace: a: the gradient of a position's output from the next one, b: a position's dz, c: of its cell. */
static dl_status run_backward_data(const dl_op *base, void *const *slots, dl_stream *stream) {
    const lstm_op *op = lstm_of(base);
    const int64_t h = op->s.h, t_all = op->s.t;
    const size_t n_bytes = (size_t)(op->s.n * h) * sizeof(float);
    void *workspace = slots[6];
    float *dh = at(workspace, op->a_at), *dz_now = at(workspace, op->b_at), *dc = at(workspace, op->c_at);
    float *zeros = at(workspace, op->zero_at), *weights = slots[2];
    if (op->packs) {
        const dl_cpu_matrices m = dl_cpu_packed_matrices(h, 4 * h);
        weights = at(workspace, op->packed_at);
        dl_cpu_pack_columns(&m, slots[2], weights);
    }
    void *const plain[] = {dz_now, weights, dh, at(workspace, op->product_at)};
    void *const packed[] = {dz_now, weights, NULL, dh, at(workspace, op->product_at)};
    void *const *product = op->packs ? packed : plain;
    memset(zeros, 0, (size_t)(4 * h) * sizeof *zeros);
    memset(dh, 0, n_bytes);
    memset(dc, 0, n_bytes);
    for (int64_t t = t_all - 1; t >= 0; t--) {
        dl_cpu_lstm_step step = {.h = h,
                                 .gates = (float *)slots[0] + t * 4 * h,
                                 .gates_stride = t_all * 4 * h,
                                 .c = (float *)slots[1] + t * h,
                                 .y_stride = t_all * h,
                                 .h_now = dh,
                                 .dy = (const float *)slots[4] + t * h,
                                 .dz = (float *)slots[5] + t * 4 * h,
                                 .dz_now = dz_now,
                                 .dc = dc};
        set_cells_before(op, slots[1], slots[3], zeros, t, &step);
        run_step(op, op->loops->lstm_backward, &step);
        if (t > 0) {
            DL_RETURN_IF_ERROR(op->product->functions->run(op->product, product, stream));
        }
    }
    return DL_OK;
}

/* Workspace: a: the outputs moved on by one position, as the products at the positions saw them. */
static dl_status run_backward_weights(const dl_op *base, void *const *slots, dl_stream *stream) {
    const lstm_op *op = lstm_of(base);
    const size_t row = (size_t)op->s.h, sequence = (size_t)op->s.t * row;
    const float *y = slots[0], *h0 = slots[1];
    float *before = at(slots[4], op->a_at);
    for (size_t n = 0; n < (size_t)op->s.n; n++) {
        if (h0 != NULL) {
            memcpy(before + n * sequence, h0 + n * row, row * sizeof *y);
        } else {
            memset(before + n * sequence, 0, row * sizeof *y);
        }
        memcpy(before + n * sequence + row, y + n * sequence, (sequence - row) * sizeof *y);
    }
    void *const product[] = {before, slots[2], slots[3], NULL, at(slots[4], op->product_at)};
    return op->product->functions->run(op->product, product, stream);
}

static void destroy_lstm(dl_op *base) {
    lstm_op *op = lstm_of(base);
    if (op != NULL) {
        dl_op_destroy(&op->product);
    }
    dl_free(&op);
}

static const dl_op_functions forward_functions = {.run = run_forward, .destroy = destroy_lstm};
static const dl_op_functions backward_data_functions = {.run = run_backward_data, .destroy = destroy_lstm};
static const dl_op_functions backward_weights_functions = {.run = run_backward_weights,
                                                           .destroy = destroy_lstm};

/* --- preparing --- */

static void take(lstm_op *op, int64_t n_floats, size_t *offset) {
    *offset = op->base.workspace_bytes;
    op->base.workspace_bytes += dl_round_up((size_t)n_floats * sizeof(float), DL_CACHE_LINE);
}

/* Backwards W_hh is read at every position, for few rows. Rows of it that begin amid lines of the caches, or
 * of which a tile meets a small part, come late: then panels of its columns are worth their copy. */
static bool is_worth_packing(const lstm_op *op, const dl_op_desc *desc) {
    const dl_cpu_matrices m = dl_cpu_data_matrices(4 * op->s.h, op->s.h);
    return desc->kind == DL_OP_LSTM_BACKWARD_DATA && op->loops->matrix_product != NULL &&
           op->s.t >= POSITIONS_WORTH_PACKING && dl_cpu_worth_packing(&m, DL_CPU_ROWS_WORTH_PACKING);
}

/* The product as a dense kind: which, over how many rows, and which of our slots are its weights. */
static dl_op_desc product_desc(const lstm_op *op, const dl_op_desc *desc, int *weights) {
    const dl_lstm_sizes s = op->s;
    dl_tensor_desc narrow = {.present = true, .dtype = DL_F32, .shape = DL_SHAPE(s.n, s.h)}, wide = narrow;
    wide.shape.dim[1] = 4 * s.h;
    if (desc->kind == DL_OP_LSTM_FORWARD) {
        *weights = 1;
        return (dl_op_desc){.kind = DL_OP_DENSE_FORWARD,
                            .slot = {[0] = narrow, [1] = desc->slot[1], [3] = wide}};
    }
    if (desc->kind == DL_OP_LSTM_BACKWARD_DATA) {
        *weights = 2;
        return (dl_op_desc){.kind = DL_OP_DENSE_BACKWARD_DATA, .slot = {wide, desc->slot[2], narrow}};
    }
    *weights = 3;
    narrow.shape.dim[0] = wide.shape.dim[0] = s.n * s.t;
    return (dl_op_desc){.kind = DL_OP_DENSE_BACKWARD_WEIGHTS, .slot = {narrow, wide, desc->slot[3]}};
}

static void take_workspace(lstm_op *op) {
    const dl_lstm_sizes s = op->s;
    switch (op->base.desc.kind) {
    case DL_OP_LSTM_FORWARD:
        op->base.functions = &forward_functions;
        take(op, s.n * s.h, &op->a_at);
        take(op, s.n * 4 * s.h, &op->b_at);
        take(op, op->base.desc.slot[7].present ? 0 : s.n * 4 * s.h, &op->c_at);
        break;
    case DL_OP_LSTM_BACKWARD_DATA:
        op->base.functions = &backward_data_functions;
        take(op, s.n * s.h, &op->a_at);
        take(op, s.n * 4 * s.h, &op->b_at);
        take(op, s.n * s.h, &op->c_at);
        take(op, op->packs ? (int64_t)(dl_cpu_packed_bytes(s.h, 4 * s.h) / sizeof(float)) : 0,
             &op->packed_at);
        break;
    default:
        op->base.functions = &backward_weights_functions;
        take(op, s.n * s.t * s.h, &op->a_at);
    }
    take(op, 4 * s.h, &op->zero_at);
    take(op, (int64_t)(op->product->workspace_bytes / sizeof(float)) + 1, &op->product_at);
}

/* The product with the packed W_hh is that of a dense layer of h outputs forwards. */
static dl_status packed_desc(const lstm_op *op, dl_op_desc *out) {
    const int64_t n = op->s.n, h = op->s.h;
    const dl_layout *layout = NULL;
    DL_RETURN_IF_ERROR(dl_cpu_packed_weights(h, 4 * h, &layout));
    *out = (dl_op_desc){
        .kind = DL_OP_DENSE_FORWARD,
        .slot = {[0] = {.present = true, .dtype = DL_F32, .shape = DL_SHAPE(n, 4 * h)},
                 [1] = {.present = true, .dtype = DL_F32, .shape = DL_SHAPE(h, 4 * h), .layout = layout},
                 [3] = {.present = true, .dtype = DL_F32, .shape = DL_SHAPE(n, h)}}};
    return DL_OK;
}

/* weights: our slot whose layout is the product's; -1: none, it is packed anew each time. */
static dl_status prepare_product(lstm_op *op, const dl_op_desc *desc, int *weights) {
    dl_device *device = op->base.device;
    dl_op_desc product = product_desc(op, desc, weights);
    if (!dl_cpu_dense_takes(device, &product)) {
        return dl_cpu_prepare_product(device, &product, NULL, &op->product);
    }
    op->packs = is_worth_packing(op, desc);
    if (op->packs) {
        *weights = -1;
        DL_RETURN_IF_ERROR(packed_desc(op, &product));
    }
    return dl_cpu_prepare_dense(device, &product, NULL, &op->product);
}

dl_status dl_cpu_prepare_lstm(dl_device *device, const dl_op_desc *desc, const dl_op *forward, dl_op **out) {
    (void)forward;
    lstm_op *op = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *op, &op));
    op->base.device = device;
    op->base.desc = *desc;
    op->s = dl_lstm_sizes_of(desc);
    op->loops = dl_cpu_device_of(device)->loops;
    int weights = -1;
    const dl_status status = prepare_product(op, desc, &weights);
    if (status != DL_OK) {
        dl_free(&op);
        return status;
    }
    for (int i = 0; i < dl_op_info_of(desc->kind)->n_slots; i++) { /* what is saved is plain */
        op->base.layout[i] =
            i == weights ? op->product->layout[desc->kind == DL_OP_LSTM_BACKWARD_WEIGHTS ? 2 : 1] : NULL;
        op->base.desc.slot[i].layout = op->base.layout[i];
    }
    op->base.batch_invariant = op->product->batch_invariant;
    (void)snprintf(op->base.implementation, sizeof op->base.implementation, "lstm:%s:%.32s", op->loops->isa,
                   op->product->implementation);
    take_workspace(op);
    *out = &op->base;
    return DL_OK;
}
