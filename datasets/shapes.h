/* Colour images of ten shapes, turned, scaled and soiled: for networks on images. */
#ifndef DLTRAIN_DATASETS_SHAPES_H
#define DLTRAIN_DATASETS_SHAPES_H

#include <stdint.h>

enum { DL_N_SHAPES = 10, DL_SHAPES_CHANNELS = 3 };

/* Draws image number `sample` of a shape into out [side, side, DL_SHAPES_CHANNELS]: a function of its
 * arguments alone, the same bytes on every machine. */
void dl_draw_shape(int side, uint64_t seed, uint64_t sample, int shape, uint8_t *out);

#endif
