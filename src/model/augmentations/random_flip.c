/* random_flip: every other image, as chance will have it, mirrored. */
#include "model/augment.h"

enum { HORIZONTAL, VERTICAL };
static const char *const directions[] = {"horizontal", "vertical", NULL};

typedef struct flip_options {
    int direction;
} flip_options;

static const dl_option options[] = {
    {.name = "direction",
     .type = DL_TYPE_CHOICE,
     .offset = offsetof(flip_options, direction),
     .fallback = "horizontal",
     .words = directions,
     .doc = "horizontal: left and right change places; vertical: top and bottom"},
    DL_OPTION_END,
};

static void describe(const void *values, dl_augment_attr *attr) {
    const flip_options *o = values;
    attr->columns = o->direction == HORIZONTAL;
}

const dl_augmentation dl_augmentation_random_flip = {
    .variant = {.name = "random_flip",
                .doc = "half of the images, chosen by chance, mirrored",
                .options = options,
                .n_bytes = sizeof(flip_options)},
    .kind = DL_OP_RANDOM_FLIP,
    .describe = describe,
};
