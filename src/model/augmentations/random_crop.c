/* random_crop: an image of the same size cut out of the image with a border of zeros around it. */
#include "model/augment.h"

typedef struct crop_options {
    dl_int_list padding;
} crop_options;

static const dl_option options[] = {
    {.name = "padding",
     .type = DL_TYPE_INTS,
     .offset = offsetof(crop_options, padding),
     .fallback = "4",
     .min = 0,
     .max = 4096,
     .min_items = 1,
     .max_items = 2,
     .doc = "cells of the border: all | rows, columns"},
    DL_OPTION_END,
};

static void describe(const void *values, dl_augment_attr *attr) {
    const crop_options *o = values;
    for (int i = 0; i < 2; i++) {
        attr->cells[i] = o->padding.value[o->padding.n == 2 ? i : 0];
    }
}

const dl_augmentation dl_augmentation_random_crop = {
    .variant = {.name = "random_crop",
                .doc = "a cut of the same size at a random place of the image with a border of zeros",
                .options = options,
                .n_bytes = sizeof(crop_options)},
    .kind = DL_OP_RANDOM_CROP,
    .describe = describe,
};
