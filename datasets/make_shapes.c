/* The data set `shapes`: 10,000 small colour images; for residual networks. */
#include "datasets/make_images.h"
#include "datasets/shapes.h"

enum { SIDE = 32 };

extern const dl_maker dl_maker_shapes;

static void draw(uint64_t seed, uint64_t sample, int shape, uint8_t *out) {
    dl_draw_shape(SIDE, seed, sample, shape, out);
}

static dl_status make(const dl_make_request *request) {
    return dl_make_images(request, &dl_maker_shapes, draw);
}

const dl_maker dl_maker_shapes = {
    .name = "shapes",
    .doc = "32x32 colour images of drawn shapes, 10 classes, 8,000 to train and 2,000 to test",
    .train = DL_IMAGES_INFO(8000, DL_N_SHAPES, SIDE, SIDE, DL_SHAPES_CHANNELS),
    .test = DL_IMAGES_INFO(2000, DL_N_SHAPES, SIDE, SIDE, DL_SHAPES_CHANNELS),
    .make = make,
};
