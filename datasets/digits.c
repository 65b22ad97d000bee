/* Drawing one digit: points are moved, joined by curves, the curves' distance to each pixel becomes ink.
 *
 * No function of the math library is used but sqrt, which is exact: bytes must not depend on the machine. */
#include "datasets/digits.h"

#include "datasets/stream.h"

#include <math.h>

enum { SPANS = 5 /* straight pieces of a curve between two of its points */ };

/* From the box of the shape (thousandths) to pixels: x' = a x + b y + c, y' = d x + e y + f. */
typedef struct placement {
    double a, b, c, d, e, f;
} placement;

static placement choose_placement(dl_stream *random) {
    const double height = dl_stream_uniform(random, 13, 21.5),
                 width = height * dl_stream_uniform(random, 0.62, 1.1);
    const double half_turn = 0.22 * dl_stream_bell(random), slant = 0.4 * dl_stream_bell(random);
    /* Sine and cosine from the tangent of half the angle. */
    const double t2 = half_turn * half_turn, cosine = (1 - t2) / (1 + t2), sine = 2 * half_turn / (1 + t2);
    const double xx = width / 1000, xy = -slant * height / 1000, yy = height / 1000;
    placement p = {
        .a = cosine * xx, .b = cosine * xy - sine * yy, .d = sine * xx, .e = sine * xy + cosine * yy};
    const double middle = DL_DIGIT_SIDE / 2.0;
    p.c = middle + 3.6 * dl_stream_bell(random) - 500 * (p.a + p.b);
    p.f = middle + 3.6 * dl_stream_bell(random) - 500 * (p.d + p.e);
    return p;
}

/* --- ink --- */

typedef struct canvas {
    double square[DL_DIGIT_PIXELS]; /* squared distance to the nearest stroke */
    double reach;                   /* distances above this do not matter */
} canvas;

static int clamp_pixel(double value) {
    return value < 0 ? 0 : value > DL_DIGIT_SIDE - 1 ? DL_DIGIT_SIDE - 1 : (int)value;
}

static void add_segment(canvas *on, double x0, double y0, double x1, double y1) {
    const double dx = x1 - x0, dy = y1 - y0, length = dx * dx + dy * dy, reach = on->reach;
    const int left = clamp_pixel((x0 < x1 ? x0 : x1) - reach),
              right = clamp_pixel((x0 < x1 ? x1 : x0) + reach + 1);
    const int top = clamp_pixel((y0 < y1 ? y0 : y1) - reach),
              bottom = clamp_pixel((y0 < y1 ? y1 : y0) + reach + 1);
    const double scale = length > 1e-12 ? 1 / length : 0;
    for (int row = top; row <= bottom; row++) {
        for (int column = left; column <= right; column++) {
            const double px = column + 0.5 - x0, py = row + 0.5 - y0;
            double along = (px * dx + py * dy) * scale;
            along = along < 0 ? 0 : along > 1 ? 1 : along;
            const double ex = px - along * dx, ey = py - along * dy, square = ex * ex + ey * ey;
            double *nearest = &on->square[row * DL_DIGIT_SIDE + column];
            *nearest = square < *nearest ? square : *nearest;
        }
    }
}

/* Catmull and Rom's curve through four values, between the middle two. */
static double between(double p0, double p1, double p2, double p3, double t) {
    return 0.5 *
           (2 * p1 + t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * p1 - p0 - 3 * p2 + p3))));
}

static void add_curve(canvas *on, double point[][2], int n, int closed) {
    const int n_spans = closed ? n : n - 1;
    double x0 = point[0][0], y0 = point[0][1];
    for (int i = 0; i < n_spans; i++) {
        const int before = closed ? (i + n - 1) % n : i > 0 ? i - 1 : 0, next = (i + 1) % n;
        const int after = closed ? (i + 2) % n : i + 2 < n ? i + 2 : n - 1;
        for (int part = 1; part <= SPANS; part++) {
            const double t = (double)part / SPANS;
            const double x1 = between(point[before][0], point[i][0], point[next][0], point[after][0], t);
            const double y1 = between(point[before][1], point[i][1], point[next][1], point[after][1], t);
            add_segment(on, x0, y0, x1, y1);
            x0 = x1;
            y0 = y1;
        }
    }
}

static void add_shape(canvas *on, const dl_digit_shape *shape, const placement *p, dl_stream *random) {
    const double shake = dl_stream_uniform(random, 25, 75);
    for (int s = 0; s < DL_SHAPE_STROKES && shape->stroke[s].n_points > 0; s++) {
        const dl_stroke *stroke = &shape->stroke[s];
        double point[DL_STROKE_POINTS][2];
        for (int i = 0; i < stroke->n_points; i++) {
            const double x = stroke->point[i][0] + shake * dl_stream_bell(random),
                         y = stroke->point[i][1] + shake * dl_stream_bell(random);
            point[i][0] = p->a * x + p->b * y + p->c;
            point[i][1] = p->d * x + p->e * y + p->f;
        }
        add_curve(on, point, stroke->n_points, stroke->closed);
    }
}

/* A short stray line, as on used paper. */
static void add_stray(canvas *on, dl_stream *random) {
    const double x0 = dl_stream_uniform(random, 1, 27), y0 = dl_stream_uniform(random, 1, 27);
    const double x1 = x0 + dl_stream_uniform(random, -5, 5), y1 = y0 + dl_stream_uniform(random, -5, 5);
    add_segment(on, x0, y0, x1, y1);
}

static void develop(const canvas *on, double radius, dl_stream *random, uint8_t *out) {
    const double ink = dl_stream_uniform(random, 150, 255), edge = dl_stream_uniform(random, 0.7, 1.3),
                 dirt = dl_stream_uniform(random, 0, 36);
    /* A spot that took no ink. */
    const double hole_x = dl_stream_uniform(random, 2, 26), hole_y = dl_stream_uniform(random, 2, 26);
    const double hole = dl_stream_next(random) % 4 == 0 ? dl_stream_uniform(random, 1, 2.6) : 0;
    for (int i = 0; i < DL_DIGIT_PIXELS; i++) {
        double share = 0;
        if (on->square[i] < on->reach * on->reach) {
            share = (radius - sqrt(on->square[i])) / edge + 0.5;
            share = share < 0 ? 0 : share > 1 ? 1 : share;
        }
        const double dx = i % DL_DIGIT_SIDE + 0.5 - hole_x, dy = (int)(i / DL_DIGIT_SIDE) + 0.5 - hole_y;
        share = dx * dx + dy * dy < hole * hole ? 0 : share;
        const double value = ink * share + dirt * dl_stream_uniform(random, -1, 1);
        out[i] = value <= 0 ? 0 : value >= 255 ? 255 : (uint8_t)value;
    }
}

void dl_digit_draw(uint64_t seed, uint64_t sample, int digit, uint8_t *out) {
    dl_stream random = {.seed = seed, .sample = sample};
    canvas paper;
    int n_shapes = 0;
    const dl_digit_shape *shapes = dl_digit_shapes(digit, &n_shapes);
    const dl_digit_shape *shape = &shapes[dl_stream_next(&random) % (uint32_t)n_shapes];
    const placement place = choose_placement(&random);
    const double radius = dl_stream_uniform(&random, 0.7, 1.7);
    paper.reach = radius + 1;
    for (int i = 0; i < DL_DIGIT_PIXELS; i++) {
        paper.square[i] = 1e9;
    }
    add_shape(&paper, shape, &place, &random);
    if (dl_stream_next(&random) % 4 == 0) {
        add_stray(&paper, &random);
    }
    develop(&paper, radius, &random, out);
}
