/* Data sets of drawn images: two splits, every class equally often, in random order. */
#ifndef DLTRAIN_DATASETS_MAKE_IMAGES_H
#define DLTRAIN_DATASETS_MAKE_IMAGES_H

#include "datasets/dataset.h"

/* The description of n images for a maker's table. */
#define DL_IMAGES_INFO(n, classes, height, width, channels)                                                  \
    {                                                                                                        \
        .n_samples = (n), .n_classes = (classes), .n_fields = 2, .n_files = 1, .mapped = true, .unk_id = -1, \
        .field = {                                                                                           \
            {.name = "x",                                                                                    \
             .dtype = DL_U8,                                                                                 \
             .sample_shape = {3, {(height), (width), (channels)}},                                           \
             .sample_bytes = (size_t)(height) * (width) * (channels)},                                       \
            {.name = "y", .dtype = DL_I32, .sample_bytes = 4},                                               \
        }                                                                                                    \
    }

/* Draws one image of a class: a function of its arguments alone, the same bytes on every machine. */
typedef void (*dl_draw_function)(uint64_t seed, uint64_t sample, int class_number, uint8_t *out);

/* Makes the splits train and test of a maker, both or none. */
DL_NODISCARD dl_status dl_make_images(const dl_make_request *request, const dl_maker *maker,
                                      dl_draw_function draw);

#endif
