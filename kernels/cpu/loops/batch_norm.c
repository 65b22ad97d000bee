/* Batch normalization: sums over samples for each channel, and what is then done to every element.
 *
 * Images are walked in tiles of rows (a row is one cell's channels) and blocks of up to 16 channels: in a
 * tile sums are made in single precision, tiles are added in double. A tile lies in the nearest cache while
 * its blocks are gone through, so that memory is read once whether channels are blocked or innermost. */
#include "kernels/common/batch_norm.h"
#include "kernels/cpu/loops/isa.h"

#include <string.h>

enum { WIDTH = DL_CPU_LANES, TILE_ROWS = 64 };

typedef const dl_cpu_channels channels_of;

/* Offset of a sample's first row, of one block of channels. */
static inline int64_t block_offset(channels_of *z, int64_t sample, int64_t block) {
    return z->blocked ? (sample * z->n_blocks + block) * z->cells * z->width
                      : sample * z->cells * z->row + block * z->width;
}

static inline int64_t block_width(channels_of *z, int64_t block) {
    const int64_t rest = z->channels - block * z->width;
    return rest < z->width ? rest : z->width;
}

/* Rows begin .. begin + n that follow each other in memory: of one sample, or of many when channels are
 * innermost. */
typedef struct tile {
    int64_t offset, n_rows;
} tile;

/* Rows of a block after which the next block has its turn: a tile, or all of them where blocks lie apart. */
static inline int64_t rows_of_turn(channels_of *z, int64_t n_rows) {
    return z->blocked ? n_rows : TILE_ROWS;
}

static inline int64_t rows_together(channels_of *z, int64_t n_samples) {
    return z->blocked ? z->cells : n_samples * z->cells;
}

/* Columns of the statistics of a block, and what is missing in the last one as zeros. */
typedef struct columns {
    float mean[WIDTH], inverse_deviation[WIDTH], scale[WIDTH], shift[WIDTH], inverse_count[WIDTH];
} columns;

static void load_columns(channels_of *z, const float *stat, int64_t block, columns *out) {
    const int64_t n = block_width(z, block), first = block * z->width, c = z->channels;
    for (int64_t j = 0; j < WIDTH; j++) {
        const bool there = j < n;
        out->mean[j] = there ? stat[DL_STAT_MEAN * c + first + j] : 0.0F;
        out->inverse_deviation[j] = there ? stat[DL_STAT_INVERSE_DEVIATION * c + first + j] : 0.0F;
        out->scale[j] = there ? stat[DL_STAT_SCALE * c + first + j] : 0.0F;
        out->shift[j] = there ? stat[DL_STAT_SHIFT * c + first + j] : 0.0F;
        out->inverse_count[j] = there ? stat[DL_STAT_INVERSE_COUNT * c + first + j] : 0.0F;
    }
}

/* ---- sums ---- */

/* Adds the sums of x and x^2 over a tile; `width` is a constant where it is inlined. Four rows at a time:
 * additions of one sum would wait for each other. */
static inline __attribute__((always_inline)) void tile_sums(const float *x, int64_t row, int64_t n_rows,
                                                            int64_t width, double *sum, double *square) {
    float s[4][WIDTH] = {{0}}, q[4][WIDTH] = {{0}};
    int64_t r = 0;
    for (; r + 4 <= n_rows; r += 4) {
        for (int64_t k = 0; k < 4; k++) {
            const float *from = x + (r + k) * row;
#pragma omp simd
            for (int64_t j = 0; j < width; j++) {
                s[k][j] += from[j];
                q[k][j] += from[j] * from[j];
            }
        }
    }
    for (; r < n_rows; r++) {
        const float *from = x + r * row;
        for (int64_t j = 0; j < width; j++) {
            s[0][j] += from[j];
            q[0][j] += from[j] * from[j];
        }
    }
    for (int64_t j = 0; j < width; j++) {
        sum[j] += (double)((s[0][j] + s[1][j]) + (s[2][j] + s[3][j]));
        square[j] += (double)((q[0][j] + q[1][j]) + (q[2][j] + q[3][j]));
    }
}

static void run_sums(channels_of *z, const float *x, tile at, int64_t block, double *sums) {
    const int64_t width = block_width(z, block), first = block * z->width;
    if (width == WIDTH) {
        tile_sums(x + at.offset, z->row, at.n_rows, WIDTH, sums + first, sums + z->channels + first);
    } else {
        tile_sums(x + at.offset, z->row, at.n_rows, width, sums + first, sums + z->channels + first);
    }
}

void DL_ISA(batch_norm_sums)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                             dl_range blocks) {
    (void)desc;
    channels_of *z = &loop->channels;
    const float *x = slots[0];
    for (int64_t g = 0; g < z->groups; g++) {
        const int64_t begin = g * z->group, end = begin + z->group < z->n ? begin + z->group : z->n;
        double *sums = (double *)slots[1] + g * (2 * z->channels + 1);
        for (int64_t c = blocks.begin * z->width; c < blocks.end * z->width && c < z->channels; c++) {
            sums[c] = sums[z->channels + c] = 0.0;
        }
        if (blocks.begin == 0) {
            sums[2 * z->channels] = (double)((end - begin) * z->cells);
        }
        const int64_t together = rows_together(z, end - begin), step = z->blocked ? 1 : end - begin;
        for (int64_t sample = begin; sample < end; sample += step) {
            for (int64_t r = 0; r < together; r += TILE_ROWS) {
                for (int64_t b = blocks.begin; b < blocks.end; b++) {
                    const tile at = {block_offset(z, sample, b) + r * z->row,
                                     together - r < TILE_ROWS ? together - r : TILE_ROWS};
                    run_sums(z, x, at, b, sums);
                }
            }
        }
    }
}

/* The same for dy and dy (x - mean); relu lets dy through where x scale + shift > 0. */
static inline __attribute__((always_inline)) void row_gradients(const float *d, const float *v, int64_t width,
                                                                bool relu, const columns *k, float *s,
                                                                float *a) {
#pragma omp simd
    for (int64_t j = 0; j < width; j++) {
        const float passes = !relu || v[j] * k->scale[j] + k->shift[j] > 0.0F ? d[j] : 0.0F;
        s[j] += passes;
        a[j] += passes * (v[j] - k->mean[j]);
    }
}

/* Four rows at a time, in sums of their own that stay in registers. */
static inline __attribute__((always_inline)) void tile_gradients(const float *dy, const float *x, int64_t row,
                                                                 int64_t n_rows, int64_t width, bool relu,
                                                                 const columns *k, float *sum, float *along) {
    float s[4][WIDTH] = {{0}}, a[4][WIDTH] = {{0}};
    int64_t r = 0;
    for (; r + 4 <= n_rows; r += 4) {
        for (int64_t i = 0; i < 4; i++) {
            row_gradients(dy + (r + i) * row, x + (r + i) * row, width, relu, k, s[i], a[i]);
        }
    }
    for (int64_t i = 0; r < n_rows; r++, i++) {
        row_gradients(dy + r * row, x + r * row, width, relu, k, s[i], a[i]);
    }
    memcpy(sum, s, sizeof s);
    memcpy(along, a, sizeof a);
}

static void add_tile(const float *four, const float *factor, int64_t width, double *out) {
    for (int64_t j = 0; j < width; j++) {
        const float sum = (four[j] + four[WIDTH + j]) + (four[2 * WIDTH + j] + four[3 * WIDTH + j]);
        out[j] += (double)sum * (factor == NULL ? 1.0 : (double)factor[j]);
    }
}

static void run_gradients(channels_of *z, const float *dy, const float *x, tile at, int64_t block, bool relu,
                          const columns *k, double *dstat) {
    const int64_t width = block_width(z, block), first = block * z->width;
    float sum[4 * WIDTH], along[4 * WIDTH];
    dy += at.offset;
    x += at.offset;
    if (width == WIDTH && relu) {
        tile_gradients(dy, x, z->row, at.n_rows, WIDTH, true, k, sum, along);
    } else if (width == WIDTH) {
        tile_gradients(dy, x, z->row, at.n_rows, WIDTH, false, k, sum, along);
    } else {
        tile_gradients(dy, x, z->row, at.n_rows, width, relu, k, sum, along);
    }
    add_tile(sum, NULL, width, dstat + first);
    add_tile(along, k->inverse_deviation, width, dstat + z->channels + first);
}

/* Some rows of a block, tile by tile. */
static void gradients_of_rows(channels_of *z, void *const *slots, int64_t sample, int64_t block,
                              dl_range rows, int64_t n_rows, bool relu, const columns *k, double *dstat) {
    const int64_t end = rows.end < n_rows ? rows.end : n_rows;
    for (int64_t r = rows.begin; r < end; r += TILE_ROWS) {
        const tile at = {block_offset(z, sample, block) + r * z->row,
                         end - r < TILE_ROWS ? end - r : TILE_ROWS};
        run_gradients(z, slots[0], slots[1], at, block, relu, k, dstat);
    }
}

void DL_ISA(batch_norm_backward_sums)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                                      dl_range blocks) {
    channels_of *z = &loop->channels;
    const bool relu = desc->attr.activation == DL_ACT_RELU;
    for (int64_t g = 0; g < z->groups; g++) {
        const int64_t begin = g * z->group, end = begin + z->group < z->n ? begin + z->group : z->n;
        double *dstat = (double *)slots[3] + g * 2 * z->channels;
        for (int64_t c = blocks.begin * z->width; c < blocks.end * z->width && c < z->channels; c++) {
            dstat[c] = dstat[z->channels + c] = 0.0;
        }
        const int64_t together = rows_together(z, end - begin), step = z->blocked ? 1 : end - begin;
        for (int64_t sample = begin; sample < end; sample += step) {
            for (int64_t r = 0; r < together; r += rows_of_turn(z, together)) {
                for (int64_t b = blocks.begin; b < blocks.end; b++) {
                    const dl_range rows = {r, r + rows_of_turn(z, together)};
                    columns k;
                    load_columns(z, (const float *)slots[2] + g * DL_N_STATS * z->channels, b, &k);
                    gradients_of_rows(z, slots, sample, b, rows, together, relu, &k, dstat);
                }
            }
        }
    }
}

/* ---- element by element ---- */

/* y = x scale + shift (+ residual), relu of it. */
static inline __attribute__((always_inline)) void tile_forward(const float *x, const float *residual,
                                                               float *y, int64_t row, int64_t n_rows,
                                                               int64_t width, bool relu, const columns *k) {
    for (int64_t r = 0; r < n_rows; r++) {
#pragma omp simd
        for (int64_t j = 0; j < width; j++) {
            float value = x[r * row + j] * k->scale[j] + k->shift[j];
            value = residual != NULL ? value + residual[r * row + j] : value;
            y[r * row + j] = relu && value < 0.0F ? 0.0F : value;
        }
    }
}

static void run_forward(channels_of *z, void *const *slots, tile at, int64_t block, bool relu,
                        const columns *k) {
    const int64_t width =
        z->blocked ? z->width : block_width(z, block); /* the padding of a block stays zero */
    const float *x = (const float *)slots[0] + at.offset;
    const float *residual = slots[2] == NULL ? NULL : (const float *)slots[2] + at.offset;
    float *y = (float *)slots[3] + at.offset;
    if (width == WIDTH && residual != NULL) {
        tile_forward(x, residual, y, z->row, at.n_rows, WIDTH, relu, k);
    } else if (width == WIDTH) {
        tile_forward(x, NULL, y, z->row, at.n_rows, WIDTH, relu, k);
    } else {
        tile_forward(x, residual, y, z->row, at.n_rows, width, relu, k);
    }
}

/* dx = scale dy + slope x + constant: dstat's two sums folded into the last two. */
typedef struct line {
    float scale[WIDTH], slope[WIDTH], constant[WIDTH];
} line;

static void fold_line(channels_of *z, const columns *k, const double *dstat, int64_t block, line *out) {
    const int64_t n = block_width(z, block), first = block * z->width;
    for (int64_t j = 0; j < WIDTH; j++) {
        const bool there = dstat != NULL && j < n;
        const double sum = there ? dstat[first + j] : 0.0,
                     along = there ? dstat[z->channels + first + j] : 0.0;
        const double each = (double)k->scale[j] * (double)k->inverse_count[j];
        const double slope = -each * along * (double)k->inverse_deviation[j];
        out->scale[j] = k->scale[j];
        out->slope[j] = (float)slope;
        out->constant[j] = (float)(-each * sum - slope * (double)k->mean[j]);
    }
}

static inline __attribute__((always_inline)) void tile_backward(const float *dy, const float *x, float *dx,
                                                                int64_t row, int64_t n_rows, int64_t width,
                                                                bool relu, const columns *k, const line *l) {
    for (int64_t r = 0; r < n_rows; r++) {
#pragma omp simd
        for (int64_t j = 0; j < width; j++) {
            const float value = x[r * row + j];
            const float passes = !relu || value * k->scale[j] + k->shift[j] > 0.0F ? dy[r * row + j] : 0.0F;
            dx[r * row + j] = l->scale[j] * passes + (l->slope[j] * value + l->constant[j]);
        }
    }
}

static void run_backward(channels_of *z, void *const *slots, tile at, int64_t block, bool relu,
                         const columns *k, const line *l) {
    const int64_t width = z->blocked ? z->width : block_width(z, block);
    const float *dy = (const float *)slots[0] + at.offset, *x = (const float *)slots[1] + at.offset;
    float *dx = (float *)slots[4] + at.offset;
    if (width == WIDTH && relu) {
        tile_backward(dy, x, dx, z->row, at.n_rows, WIDTH, true, k, l);
    } else if (width == WIDTH) {
        tile_backward(dy, x, dx, z->row, at.n_rows, WIDTH, false, k, l);
    } else {
        tile_backward(dy, x, dx, z->row, at.n_rows, width, relu, k, l);
    }
}

/* Goes through the samples of a range, tile by tile and block by block. */
typedef void (*tile_function)(const dl_op_desc *desc, channels_of *z, void *const *slots, tile at,
                              int64_t sample, int64_t block);

static inline __attribute__((always_inline)) void for_tiles(const dl_op_desc *desc, channels_of *z,
                                                            void *const *slots, dl_range samples,
                                                            tile_function function) {
    for (int64_t sample = samples.begin; sample < samples.end; sample++) {
        const int64_t turn = rows_of_turn(z, z->cells);
        for (int64_t r = 0; r < z->cells; r += turn) {
            for (int64_t b = 0; b < z->n_blocks; b++) {
                const tile at = {block_offset(z, sample, b) + r * z->row,
                                 z->cells - r < turn ? z->cells - r : turn};
                function(desc, z, slots, at, sample, b);
            }
        }
    }
}

static void forward_tile(const dl_op_desc *desc, channels_of *z, void *const *slots, tile at, int64_t sample,
                         int64_t block) {
    columns k;
    load_columns(z, (const float *)slots[1] + sample / z->group * DL_N_STATS * z->channels, block, &k);
    run_forward(z, slots, at, block, desc->attr.activation == DL_ACT_RELU, &k);
}

static void backward_tile(const dl_op_desc *desc, channels_of *z, void *const *slots, tile at, int64_t sample,
                          int64_t block) {
    const int64_t g = sample / z->group;
    const double *dstat = slots[3] == NULL ? NULL : (const double *)slots[3] + g * 2 * z->channels;
    columns k;
    line l;
    load_columns(z, (const float *)slots[2] + g * DL_N_STATS * z->channels, block, &k);
    fold_line(z, &k, dstat, block, &l);
    run_backward(z, slots, at, block, desc->attr.activation == DL_ACT_RELU, &k, &l);
}

void DL_ISA(batch_norm_forward)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                                dl_range samples) {
    for_tiles(desc, &loop->channels, slots, samples, forward_tile);
}

void DL_ISA(batch_norm_backward_data)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                                      dl_range samples) {
    for_tiles(desc, &loop->channels, slots, samples, backward_tile);
}
