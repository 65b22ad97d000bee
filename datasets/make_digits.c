/* The data set `digits`: 60,000 + 10,000 images drawn by digits.c. */
#include "datasets/digits.h"
#include "datasets/make_images.h"

extern const dl_maker dl_maker_digits;

static dl_status make(const dl_make_request *request) {
    return dl_make_images(request, &dl_maker_digits, dl_digit_draw);
}

const dl_maker dl_maker_digits = {
    .name = "digits",
    .doc = "28x28 grey images of drawn digits, 10 classes, 60,000 to train and 10,000 to test",
    .train = DL_IMAGES_INFO(60000, 10, DL_DIGIT_SIDE, DL_DIGIT_SIDE, 1),
    .test = DL_IMAGES_INFO(10000, 10, DL_DIGIT_SIDE, DL_DIGIT_SIDE, 1),
    .make = make,
};
