/* Draws handwritten-looking digits: strokes bent, turned, thickened and soiled by random numbers. */
#ifndef DLTRAIN_DATASETS_DIGITS_H
#define DLTRAIN_DATASETS_DIGITS_H

#include <stdint.h>

enum { DL_DIGIT_SIDE = 28, DL_DIGIT_PIXELS = DL_DIGIT_SIDE * DL_DIGIT_SIDE };

/* Draws `digit` (0..9) into out [28, 28], 0 the background and 255 ink. A function of its arguments alone:
 * only operations that IEEE 754 rounds exactly are used, so every compiler and machine draws the same bytes.
 */
void dl_digit_draw(uint64_t seed, uint64_t sample, int digit, uint8_t *out);

/* A stroke is a smooth curve through its points; corners are ends of strokes. Coordinates in thousandths of
 * the box that holds the digit, x to the right, y down. */
enum { DL_STROKE_POINTS = 12, DL_SHAPE_STROKES = 4 };
typedef struct dl_stroke {
    int n_points; /* 0: none */
    int closed;
    int16_t point[DL_STROKE_POINTS][2];
} dl_stroke;

/* One way to write a digit. */
typedef struct dl_digit_shape {
    int digit;
    dl_stroke stroke[DL_SHAPE_STROKES];
} dl_digit_shape;

/* The ways to write a digit: *n of them, at least one. */
const dl_digit_shape *dl_digit_shapes(int digit, int *n);

#endif
