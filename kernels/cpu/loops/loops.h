/* Our own loops: element by element, windows, rows, updates. Every source of this folder is compiled once for
 * each instruction set (suffix DL_CPU_ISA); the device takes the table its processor can run.
 *
 * A part function does the items begin..end of an operation; what an item is (element, image, row) says the
 * operation's entry in kernels/cpu/loop_op.c. Different parts touch different outputs, so the division over
 * threads does not show in the results. */
#ifndef DLTRAIN_KERNELS_CPU_LOOPS_LOOPS_H
#define DLTRAIN_KERNELS_CPU_LOOPS_LOOPS_H

#include "base/pieces.h"
#include "kernels/op.h"

enum { DL_CPU_TABLE = 256, DL_CPU_LANES = 16, DL_CPU_PANEL = 64 };

/* Pooling over n images of h x w x c next to each other, to p x q x c. A tensor blocked by channels is more
 * images of fewer channels. */
typedef struct dl_cpu_pooling {
    int64_t h, w, c, p, q, r, s;
    int64_t stride[2], padding[2]; /* rows, columns; before */
} dl_cpu_pooling;

/* An activation seen as n samples of `cells` rows of `channels` numbers, a row being `row` floats from the
 * next. Channels come in n_blocks blocks of `width`: blocked, block after block, or innermost, all in a row.
 */
typedef struct dl_cpu_channels {
    int64_t n, cells, channels, row, width, n_blocks;
    int64_t groups, group; /* batch normalization: groups of this many samples */
    bool blocked;
} dl_cpu_channels;

/* What prepare() works out for a part function. */
typedef struct dl_cpu_loop {
    dl_cpu_pooling pooling;
    dl_cpu_channels channels;
    int64_t row;       /* elements of a row (a sample) */
    size_t item_bytes; /* copying and clearing: bytes of an item */
    int64_t period;    /* normalize_images: the tables repeat after this many elements */
    float scale[DL_CPU_TABLE], shift[DL_CPU_TABLE];
} dl_cpu_loop;

typedef void (*dl_cpu_part)(const dl_op_desc *desc, const dl_cpu_loop *loop, void *const *slots,
                            dl_range items);

/* One position of an LSTM over all samples: where sample 0 is, and how many floats lie between two samples. A
 * stride of 0 gives all of them the same row (of zeros). Gates are 4 h values, i f g o. */
typedef struct dl_cpu_lstm_step {
    int64_t h;
    const float *z, *recurrent, *c_before; /* forwards: the two parts of the sums; the cells before */
    int64_t z_stride, recurrent_stride, c_before_stride;
    float *gates;
    int64_t gates_stride; /* of dz too */
    float *c, *y;
    int64_t y_stride;   /* of c and dy too */
    float *h_now;       /* [n, h] the output once more; backwards: its gradient from the next position */
    const float *dy;    /* the rest: backwards */
    float *dz, *dz_now; /* dz_now: [n, 4 h] once more */
    float *dc;          /* [n, h] of the cells: from the next position, then for the one before */
} dl_cpu_lstm_step;

/* c[i,j] = start[j] + sum over the k steps s of a[i,s] b[s,j], for n columns j. Element a[i,s] is a_row i +
 * a_step s floats behind a; b comes in panels of DL_CPU_PANEL columns, b_panel floats from one to the next, a
 * step's row of a panel lies b_step floats behind the row before (a plain matrix: b_panel is DL_CPU_PANEL).
 * Copies of parts of a and b go into `room`, where it is given: dl_cpu_room_of_a and _b together. sums[i],
 * where it is given, becomes the sum of a[i,s] over the steps: for a of columns (a_row is 1). */
typedef struct dl_cpu_matrices {
    int64_t n, k;
    const float *a, *b, *start; /* start: [n], NULL: zeros */
    int64_t a_row, a_step, b_step, b_panel;
    float *c;
    int64_t c_row;
    float *sums, *room;
} dl_cpu_matrices;

/* Copied together: so many steps of so many rows of a, and of so many panels of b. */
enum { DL_CPU_STEPS_TOGETHER = 800, DL_CPU_ROWS_TOGETHER = 192, DL_CPU_PANELS_TOGETHER = 16 };
/* Panels of b are packed for so many rows, columns of a copied for more panels than so many. */
enum { DL_CPU_ROWS_WORTH_PACKING = 48, DL_CPU_PANELS_WORTH_COPYING = 4 };

static inline bool dl_cpu_worth_copying(const dl_cpu_matrices *m) {
    return m->a_row == 1 && m->n > DL_CPU_PANELS_WORTH_COPYING * DL_CPU_PANEL;
}

/* For so many rows. Where b is narrow and its rows begin with cache lines they are as good as packed. */
static inline bool dl_cpu_worth_packing(const dl_cpu_matrices *m, int64_t n_rows) {
    const bool narrow = m->n <= DL_CPU_PANELS_WORTH_COPYING * DL_CPU_PANEL;
    const bool good_as_it_is = m->b_step == DL_CPU_PANEL || (m->b_step % DL_CPU_LANES == 0 && narrow);
    return !good_as_it_is && n_rows >= DL_CPU_ROWS_WORTH_PACKING;
}

/* Floats of a thread's room for columns of a, which come first, and for panels of b: of so many rows or
 * fewer. */
static inline int64_t dl_cpu_room_of_a(const dl_cpu_matrices *m) {
    const int64_t steps = m->k < DL_CPU_STEPS_TOGETHER ? m->k : DL_CPU_STEPS_TOGETHER;
    return dl_cpu_worth_copying(m) ? steps * DL_CPU_ROWS_TOGETHER : 0;
}

static inline int64_t dl_cpu_room_of_b(const dl_cpu_matrices *m, int64_t n_rows) {
    const int64_t steps = m->k < DL_CPU_STEPS_TOGETHER ? m->k : DL_CPU_STEPS_TOGETHER;
    const int64_t panels = (m->n + DL_CPU_PANEL - 1) / DL_CPU_PANEL;
    const int64_t together = panels < DL_CPU_PANELS_TOGETHER ? panels : DL_CPU_PANELS_TOGETHER;
    return dl_cpu_worth_packing(m, n_rows) ? steps * together * DL_CPU_PANEL : 0;
}

typedef struct dl_cpu_loops {
    const char *isa;                 /* "avx512" */
    dl_cpu_part part[DL_N_OP_KINDS]; /* NULL: not done here */
    void (*lstm_forward)(const dl_cpu_lstm_step *step, dl_range samples);
    void (*lstm_backward)(const dl_cpu_lstm_step *step, dl_range samples);
    /* The rows i of a range; NULL where oneDNN is as fast. */
    void (*matrix_product)(const dl_cpu_matrices *m, dl_range rows);
    /* sum[j] = sum of x[places[i],j] over n >= 1 places, in their order, for rows of `row` floats. */
    void (*sum_rows)(const float *x, int64_t row, const int32_t *places, int64_t n, float *sum);
} dl_cpu_loops;

extern const dl_cpu_loops dl_cpu_loops_base, dl_cpu_loops_avx2, dl_cpu_loops_avx512;

/* The loops for "base", "avx2" or "avx512"; NULL when they are not built or this machine cannot run them. */
const dl_cpu_loops *dl_cpu_loops_named(const char *isa);

/* Those with the widest vectors this machine has. */
const dl_cpu_loops *dl_cpu_loops_best(void);

#endif
