/* Dense layers of embedded tokens, once for each distinct token of the batch (distinct.h) by the products of
 * loops/matrix.c:
 *
 *   forward    p[r,:] = b + w table[token r,:], then copied to every position of token r
 *   backward   p[r,:] = the gradients of token r's positions, added in their order; then
 *              dtable[token r,:] = p[r,:] w,   dw = p^T (rows of the table),   db = column sums of p
 *
 * A position without a token is a row of NaN, whose gradient no row of the table gets: what the unfused kinds
 * do. Rows go in blocks that stay in the second-level cache between their steps; rows and columns are divided
 * over threads, and no sum depends on how. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/distinct.h"

#include "base/mem.h"
#include "kernels/ops/sizes.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>

enum { LEAST_WIDTH = 32, PRODUCTS_WORTH_A_THREAD = 1 << 20, BLOCK_ROWS = 192 };

typedef struct tokens_op {
    dl_op base;
    dl_embedding_dense_sizes z;
    bool packs;                                    /* weights into the workspace */
    size_t packed, rows, sums, block, block_bytes; /* parts of the workspace behind the distinct tokens; the
                                                      last one once for each thread */
    size_t room;                                   /* of a product, from where on in a thread's part */
    int64_t block_rows;
    const dl_cpu_loops *loops;
} tokens_op;

/* One run, as every thread sees it. */
typedef struct token_run {
    const tokens_op *op;
    void *const *slots;
    dl_distinct distinct;
    const float *table, *w; /* w: packed forwards */
    float *rows;            /* backwards: of the table, [distinct, inputs] */
    float *sums;            /* backwards: p, [distinct, outputs] */
    char *blocks;
} token_run;

static bool is_forward(dl_op_kind kind) {
    return kind == DL_OP_EMBEDDING_DENSE_FORWARD;
}

static bool takes_layout(const dl_op_desc *desc) {
    const dl_embedding_dense_sizes z = dl_embedding_dense_sizes_of(desc);
    const dl_layout *asked = desc->slot[2].layout, *packed = NULL;
    return asked == NULL || asked == &dl_layout_any ||
           (dl_cpu_packed_weights(z.outputs, z.inputs, &packed) == DL_OK && asked == packed);
}

bool dl_cpu_embedding_dense_takes(const dl_device *device, const dl_op_desc *desc) {
    const dl_cpu_device *cpu = (const dl_cpu_device *)(const void *)device;
    if (cpu->loops->matrix_product == NULL || desc->algorithm != 0 ||
        (!is_forward(desc->kind) && desc->kind != DL_OP_EMBEDDING_DENSE_BACKWARD_WEIGHTS)) {
        return false;
    }
    const dl_embedding_dense_sizes z = dl_embedding_dense_sizes_of(desc);
    return z.tokens > 0 && z.tokens < INT32_MAX && z.vocabulary < INT32_MAX && z.inputs >= LEAST_WIDTH &&
           z.outputs >= LEAST_WIDTH && takes_layout(desc);
}

/* --- one thread's part --- */

static float *block_of_thread(const token_run *run) {
    return (float *)(void *)(run->blocks + (size_t)omp_get_thread_num() * run->op->block_bytes);
}

/* Behind the block. */
static float *room_of_thread(const token_run *run) {
    return block_of_thread(run) + run->op->room / sizeof(float);
}

/* Rows of the table for some rows of the result. */
static void gather(const token_run *run, dl_range rows, float *to) {
    const int64_t width = run->op->z.inputs;
    for (int64_t r = rows.begin; r < rows.end; r++, to += width) {
        const int32_t token = run->distinct.token[r];
        if (token >= 0) {
            memcpy(to, run->table + token * width, (size_t)width * sizeof *to);
            continue;
        }
        for (int64_t i = 0; i < width; i++) {
            to[i] = NAN;
        }
    }
}

static void copy_to_places(const token_run *run, dl_range rows, const float *from) {
    const dl_distinct *d = &run->distinct;
    const int64_t width = run->op->z.outputs;
    float *y = run->slots[4];
    for (int64_t r = rows.begin; r < rows.end; r++, from += width) {
        for (int32_t i = d->first[r]; i < d->first[r + 1]; i++) {
            memcpy(y + d->place[i] * width, from, (size_t)width * sizeof *y);
        }
    }
}

static void forward_block(const token_run *run, dl_range rows) {
    const dl_embedding_dense_sizes *z = &run->op->z;
    float *gathered = block_of_thread(run), *products = gathered + run->op->block_rows * z->inputs;
    gather(run, rows, gathered);
    dl_cpu_matrices m = dl_cpu_packed_matrices(z->outputs, z->inputs);
    m.a = gathered;
    m.b = run->w;
    m.start = run->slots[3];
    m.c = products;
    run->op->loops->matrix_product(&m, (dl_range){0, rows.end - rows.begin});
    copy_to_places(run, rows, products);
}

/* Zeros for the tokens from behind that of row r - 1 to before that of row r, or to the end. */
static void clear_before(const token_run *run, int64_t r) {
    const dl_distinct *d = &run->distinct;
    const int64_t from = r > 0 ? d->token[r - 1] + 1 : 0;
    const int64_t to = r < d->n_known ? d->token[r] : run->op->z.vocabulary;
    const int64_t width = run->op->z.inputs;
    memset((float *)run->slots[4] + from * width, 0, (size_t)((to - from) * width) * sizeof(float));
}

static void scatter_gradient(const token_run *run, dl_range rows, const float *from) {
    const int64_t width = run->op->z.inputs, n_known = run->distinct.n_known;
    float *dtable = run->slots[4];
    for (int64_t r = rows.begin; r < rows.end && r < n_known; r++, from += width) {
        clear_before(run, r);
        memcpy(dtable + run->distinct.token[r] * width, from, (size_t)width * sizeof *from);
    }
    if (rows.end == run->distinct.n) {
        clear_before(run, n_known);
    }
}

static void backward_block(const token_run *run, dl_range rows) {
    const dl_embedding_dense_sizes *z = &run->op->z;
    const dl_distinct *d = &run->distinct;
    float *sums = run->sums + rows.begin * z->outputs, *products = block_of_thread(run);
    gather(run, rows, run->rows + rows.begin * z->inputs);
    for (int64_t r = rows.begin; r < rows.end; r++) {
        run->op->loops->sum_rows(run->slots[3], z->outputs, d->place + d->first[r],
                                 d->first[r + 1] - d->first[r], run->sums + r * z->outputs);
    }
    dl_cpu_matrices m = dl_cpu_data_matrices(z->outputs, z->inputs);
    m.a = sums;
    m.b = run->w;
    m.c = products;
    m.room = room_of_thread(run);
    run->op->loops->matrix_product(&m, (dl_range){0, rows.end - rows.begin});
    scatter_gradient(run, rows, products);
}

static void weight_gradient(const token_run *run, dl_range outputs) {
    const dl_embedding_dense_sizes *z = &run->op->z;
    dl_cpu_matrices m = dl_cpu_weight_matrices(run->distinct.n, z->outputs, z->inputs);
    m.a = run->sums;
    m.b = run->rows;
    m.c = run->slots[5];
    m.sums = run->slots[6];
    m.room = room_of_thread(run);
    run->op->loops->matrix_product(&m, outputs);
}

static void run_blocks(const token_run *run, void (*block)(const token_run *run, dl_range rows)) {
    const dl_range mine = dl_range_part(run->distinct.n, omp_get_num_threads(), omp_get_thread_num());
    const int64_t rows = run->op->block_rows;
    for (int64_t row = mine.begin; row < mine.end; row += rows) {
        block(run, (dl_range){row, row + rows < mine.end ? row + rows : mine.end});
    }
}

/* --- all of it --- */

static token_run start(const tokens_op *op, void *const *slots) {
    char *workspace = slots[dl_op_info_of(op->base.desc.kind)->n_slots];
    token_run run = {.op = op, .slots = slots, .table = slots[1], .w = slots[2]};
    run.distinct = dl_distinct_find(slots[0], op->z.tokens, op->z.vocabulary, workspace);
    run.rows = (float *)(void *)(workspace + op->rows);
    run.sums = (float *)(void *)(workspace + op->sums);
    run.blocks = workspace + op->block;
    if (op->packs) {
        float *packed = (float *)(void *)(workspace + op->packed);
        const dl_cpu_matrices m = dl_cpu_packed_matrices(op->z.outputs, op->z.inputs);
        dl_cpu_pack_weights(&m, run.w, packed);
        run.w = packed;
    }
    return run;
}

static int threads_for(const tokens_op *op, const token_run *run) {
    const int64_t products = run->distinct.n * op->z.inputs * op->z.outputs;
    return products < PRODUCTS_WORTH_A_THREAD ? 1 : op->base.device->n_threads;
}

static dl_status run_forward(const dl_op *base, void *const *slots, dl_stream *stream) {
    (void)stream;
    const tokens_op *op = (const tokens_op *)(const void *)base;
    const token_run run = start(op, slots);
    const int n_threads = threads_for(op, &run);
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    run_blocks(&run, forward_block);
    return DL_OK;
}

static dl_status run_backward(const dl_op *base, void *const *slots, dl_stream *stream) {
    (void)stream;
    const tokens_op *op = (const tokens_op *)(const void *)base;
    const token_run run = start(op, slots);
    const int n_threads = threads_for(op, &run);
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    {
        run_blocks(&run, backward_block);
#pragma omp barrier
        weight_gradient(&run, dl_range_part(op->z.outputs, omp_get_num_threads(), omp_get_thread_num()));
    }
    return DL_OK;
}

static void destroy(dl_op *base) {
    tokens_op *op = (tokens_op *)(void *)base;
    dl_free(&op);
}

static const dl_op_functions forward_functions = {.run = run_forward, .destroy = destroy};
static const dl_op_functions backward_functions = {.run = run_backward, .destroy = destroy};

/* --- preparing --- */

/* Takes bytes of the workspace; returns where they begin. */
static size_t take(tokens_op *op, size_t n_bytes) {
    const size_t begin = dl_round_up(op->base.workspace_bytes, DL_CACHE_LINE);
    op->base.workspace_bytes = begin + n_bytes;
    return begin;
}

static void set_workspace(tokens_op *op) {
    const dl_embedding_dense_sizes *z = &op->z;
    const size_t most = (size_t)dl_distinct_most(z->tokens, z->vocabulary);
    const size_t input_row = (size_t)z->inputs * sizeof(float),
                 output_row = (size_t)z->outputs * sizeof(float);
    op->block_rows = most < BLOCK_ROWS ? (int64_t)most : BLOCK_ROWS;
    (void)take(op, dl_distinct_bytes(z->tokens, z->vocabulary));
    if (op->packs) {
        op->packed = take(op, dl_cpu_packed_bytes(z->outputs, z->inputs));
    }
    if (is_forward(op->base.desc.kind)) {
        op->block_bytes = (size_t)op->block_rows * (input_row + output_row);
    } else {
        op->rows = take(op, most * input_row);
        op->sums = take(op, most * output_row);
        const dl_cpu_matrices data = dl_cpu_data_matrices(z->outputs, z->inputs);
        const dl_cpu_matrices weights = dl_cpu_weight_matrices((int64_t)most, z->outputs, z->inputs);
        const size_t for_data = dl_cpu_room_bytes(&data, op->block_rows);
        const size_t for_weights = dl_cpu_room_bytes(&weights, z->outputs);
        op->room = dl_round_up((size_t)op->block_rows * input_row, DL_CACHE_LINE);
        op->block_bytes = op->room + (for_data > for_weights ? for_data : for_weights);
    }
    op->block_bytes = dl_round_up(op->block_bytes, DL_CACHE_LINE);
    op->block = take(op, op->block_bytes * (size_t)op->base.device->n_threads);
}

dl_status dl_cpu_prepare_embedding_dense(dl_device *device, const dl_op_desc *desc, const dl_op *forward,
                                         dl_op **out) {
    (void)forward;
    const dl_embedding_dense_sizes z = dl_embedding_dense_sizes_of(desc);
    const dl_layout *layout = NULL;
    tokens_op *op = NULL;
    if (is_forward(desc->kind) && desc->slot[2].layout != NULL) {
        DL_RETURN_IF_ERROR(dl_cpu_packed_weights(z.outputs, z.inputs, &layout));
    }
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *op, &op));
    op->base.functions = is_forward(desc->kind) ? &forward_functions : &backward_functions;
    op->base.device = device;
    op->base.desc = *desc;
    op->base.desc.slot[2].layout = op->base.layout[2] = layout;
    op->base.batch_invariant = is_forward(desc->kind);
    op->z = z;
    op->packs = is_forward(desc->kind) && layout == NULL;
    op->loops = dl_cpu_device_of(device)->loops;
    set_workspace(op);
    (void)snprintf(op->base.implementation, sizeof op->base.implementation, "tokens:%s", op->loops->isa);
    *out = &op->base;
    return DL_OK;
}
