/* Windows sliding over images: what conv2d and the pooling layers share. */
#ifndef DLTRAIN_MODEL_LAYERS_WINDOW_H
#define DLTRAIN_MODEL_LAYERS_WINDOW_H

#include "model/layer.h"

/* Words of a `padding` option: "valid", "same", NULL. */
extern const char *const dl_window_paddings[];

typedef struct dl_window {
    int64_t size[2], stride[2];
    int64_t padding[4]; /* top, bottom, left, right */
    dl_shape output;    /* [P, Q, channels] */
} dl_window;

/* Places a window on the image value `input` ([H, W, C]): pads, and computes the output's shape with
 * `channels` channels. `same` gives ceil(in / stride) cells, the odd padding cell last (Keras's rule); a list
 * of 1, 2 or 4 numbers is explicit padding (all; rows, columns; top, bottom, left, right). Mistakes leave
 * build->failed true. */
DL_NODISCARD dl_status dl_window_place(dl_layer_build *build, int input, const dl_int_list *size,
                                       const dl_int_list *stride, const dl_int_list *padding,
                                       int64_t channels, dl_window *out);

#endif
