/* The data set `shapes224`: 1,200 colour images of the size of ImageNet's crops; to try networks for those.
 */
#include "datasets/make_images.h"
#include "datasets/shapes.h"

enum { SIDE = 224 };

extern const dl_maker dl_maker_shapes224;

static void draw(uint64_t seed, uint64_t sample, int shape, uint8_t *out) {
    dl_draw_shape(SIDE, seed, sample, shape, out);
}

static dl_status make(const dl_make_request *request) {
    return dl_make_images(request, &dl_maker_shapes224, draw);
}

const dl_maker dl_maker_shapes224 = {
    .name = "shapes224",
    .doc = "the same at 224x224, 1,000 to train and 200 to test (180 MB)",
    .train = DL_IMAGES_INFO(1000, DL_N_SHAPES, SIDE, SIDE, DL_SHAPES_CHANNELS),
    .test = DL_IMAGES_INFO(200, DL_N_SHAPES, SIDE, SIDE, DL_SHAPES_CHANNELS),
    .make = make,
};
