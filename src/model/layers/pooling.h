/* Windows of which one number is kept: what the pooling layers share. */
#ifndef DLTRAIN_MODEL_LAYERS_POOLING_H
#define DLTRAIN_MODEL_LAYERS_POOLING_H

#include "model/layers/window.h"

typedef struct dl_pooling_options {
    dl_layer_common common;
    dl_int_list pool_size, strides, padding;
} dl_pooling_options;

/* The option table of max_pooling2d and average_pooling2d. */
extern const dl_option dl_pooling_option_table[];

/* Appends pooling of `kind` (max or average forward) over windows of the image value `input`. */
DL_NODISCARD dl_status dl_pooling_build(dl_layer_build *build, dl_op_kind kind,
                                        const dl_pooling_options *options, int input, int *output);

/* Appends pooling of `kind` over whole images: [height, width, channels] becomes [channels]. */
DL_NODISCARD dl_status dl_pooling_build_global(dl_layer_build *build, dl_op_kind kind, int input,
                                               int *output);

#endif
