#include "datasets/shapes.h"

#include "datasets/stream.h"

#include <stdbool.h>

/* Scenes are laid out on a square of 32 x 32; an image of another size shows the same with other pixels. */
enum { SIDE = 32, CHANNELS = DL_SHAPES_CHANNELS, SAMPLES = 2 /* of a pixel, in each direction */ };

static double magnitude(double x) {
    return x < 0 ? -x : x;
}

/* Is the point inside? Shapes fill the box -1..1, v downwards. */
static bool is_inside(int shape, double u, double v) {
    const double a = magnitude(u), b = magnitude(v), square = u * u + v * v;
    switch (shape) {
    case 0: /* disc */
        return square < 1;
    case 1: /* square */
        return a < 0.85 && b < 0.85;
    case 2: /* triangle */
        return v < 0.75 && v > 1.75 * a - 1;
    case 3: /* ring */
        return square < 1 && square > 0.35;
    case 4: /* cross */
        return (a < 0.3 && b < 1) || (b < 0.3 && a < 1);
    case 5: /* two bars */
        return a < 0.95 && b > 0.3 && b < 0.9;
    case 6: /* half a disc */
        return u * u + (v + 0.4) * (v + 0.4) < 1 && v > -0.4;
    case 7: /* crescent */
        return square < 1 && (u - 0.55) * (u - 0.55) + v * v > 0.75;
    case 8: /* angle */
        return a < 0.9 && b < 0.9 && (u < -0.25 || v > 0.25);
    default: /* hourglass */
        return b < 0.9 && a < 0.1 + 0.85 * b;
    }
}

typedef struct scene {
    double cosine, sine, size, x, y;
    double paper[CHANNELS], ink[CHANNELS];
    double slope[2]; /* the paper's light, across and down */
    double dirt;
} scene;

/* Colours that can be told apart: at least 90 of 255 in one channel. */
static void choose_colours(dl_stream *random, scene *s) {
    const uint32_t clear = dl_stream_below(random, CHANNELS);
    for (uint32_t c = 0; c < CHANNELS; c++) {
        s->paper[c] = dl_stream_uniform(random, 20, 235);
        s->ink[c] = dl_stream_uniform(random, 20, 235);
        if (c == clear && magnitude(s->ink[c] - s->paper[c]) < 90) {
            s->ink[c] = s->paper[c] < 128 ? s->paper[c] + 90 : s->paper[c] - 90;
        }
    }
}

static scene choose_scene(dl_stream *random) {
    scene s;
    /* Sine and cosine from the tangent of half the angle, which is within +-53 degrees. */
    const double t = dl_stream_uniform(random, -0.5, 0.5);
    s.cosine = (1 - t * t) / (1 + t * t);
    s.sine = 2 * t / (1 + t * t);
    s.size = dl_stream_uniform(random, 6, 13);
    s.x = SIDE / 2.0 + 4 * dl_stream_bell(random);
    s.y = SIDE / 2.0 + 4 * dl_stream_bell(random);
    choose_colours(random, &s);
    s.slope[0] = dl_stream_uniform(random, -1, 1);
    s.slope[1] = dl_stream_uniform(random, -1, 1);
    s.dirt = dl_stream_uniform(random, 5, 45);
    return s;
}

/* Share of a pixel that the shape covers. */
static double cover(const scene *s, int shape, int column, int row, double pixel) {
    int n = 0;
    for (int i = 0; i < SAMPLES * SAMPLES; i++) {
        const double dx = ((column + (i % SAMPLES + 0.5) / SAMPLES) * pixel - s->x) / s->size;
        const double dy = ((row + ((int)(i / SAMPLES) + 0.5) / SAMPLES) * pixel - s->y) / s->size;
        n += is_inside(shape, s->cosine * dx + s->sine * dy, s->cosine * dy - s->sine * dx);
    }
    return (double)n / (SAMPLES * SAMPLES);
}

void dl_draw_shape(int side, uint64_t seed, uint64_t sample, int shape, uint8_t *out) {
    dl_stream random = {.seed = seed, .sample = sample};
    const scene s = choose_scene(&random);
    const double pixel = (double)SIDE / side;
    for (int row = 0; row < side; row++) {
        for (int column = 0; column < side; column++) {
            const double share = cover(&s, shape, column, row, pixel);
            const double light =
                s.slope[0] * (column * pixel - SIDE / 2.0) + s.slope[1] * (row * pixel - SIDE / 2.0);
            for (int c = 0; c < CHANNELS; c++) {
                const double noise = s.dirt * dl_stream_uniform(&random, -1, 1);
                const double value = s.paper[c] + light + share * (s.ink[c] - s.paper[c] - light) + noise;
                *out++ = value <= 0 ? 0 : value >= 255 ? 255 : (uint8_t)value;
            }
        }
    }
}
