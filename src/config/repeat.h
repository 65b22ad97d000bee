/* repeat: a list of layers several times. In pass k of the list a layer named N is N_k. `from: N` in the list
 * is the layer of this pass when N stands above it there, else that of the pass before, else (in the first
 * pass) a layer outside. `from: block_input` is what entered the pass. */
#ifndef DLTRAIN_CONFIG_REPEAT_H
#define DLTRAIN_CONFIG_REPEAT_H

#include "config/option.h"

extern const dl_variant_kind dl_repeat_kind;

typedef struct dl_repeat {
    int64_t times;
    const dl_node *layers; /* NULL after a mistake */
    const char *name;      /* of what entered a pass: NAME_1, NAME_2, ...; "" : block_1, ... over the model */
    dl_place place;
} dl_repeat;

/* Reads {times, layers, name}. */
DL_NODISCARD dl_status dl_repeat_read(const dl_node *options, dl_pool *pool, dl_diagnostics *diagnostics,
                                      dl_repeat *out);

/* Appends all passes through `body` (the layers, without repeats in them) to the list `out`. *n_blocks counts
 * passes of repeats without a name. */
DL_NODISCARD dl_status dl_repeat_append(const dl_repeat *repeat, const dl_node *body, int *n_blocks,
                                        dl_pool *pool, dl_node *out);

#endif
