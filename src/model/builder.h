/* Building a model: what its parts share. model.c builds; model_input.c says what enters the model,
 * layer_inputs.c what a layer takes, layer_names.c how it is called, freeze.c whether it is trained. */
#ifndef DLTRAIN_MODEL_BUILDER_H
#define DLTRAIN_MODEL_BUILDER_H

#include "model/layer.h"

/* What goes round while a model is built. */
typedef struct dl_builder {
    dl_model *model;
    const dl_model_options *options;
    dl_diagnostics *diagnostics;
    int previous; /* output of the layer above, -1 after a mistake */
} dl_builder;

/* Everywhere below mistakes go to the diagnostics, and the status is DL_OK. */

/* Adds the field x, lengths where samples differ in it, sample numbers and the step block; augments and
 * normalises images. The result is `previous`. */
DL_NODISCARD dl_status dl_builder_add_input(dl_builder *b);

/* In `from`: the layer above, and what entered a pass of a repeat. No layer can have these names. */
extern const char dl_layer_above[], dl_layer_block_input[];

/* Gives the layer the name of its options, or one of its kind's. */
DL_NODISCARD dl_status dl_builder_name_layer(dl_builder *b, const dl_layer_common *common, dl_layer *layer);

/* The number of the layer of this name, -1: there is none. */
int dl_builder_find_layer(const dl_builder *b, const char *name);

/* The name of a layer that `text` may stand for, NULL: none is near. */
DL_NODISCARD dl_status dl_builder_nearest_layer(const dl_builder *b, const char *text, const char **nearest);

/* The values a layer takes: those `from` names, or the layer above's. *n is how many it names, which may be
 * more than there is room for; negative after a mistake. */
DL_NODISCARD dl_status dl_builder_find_inputs(dl_builder *b, const dl_node *from, int inputs[DL_OP_MAX_SLOTS],
                                              int64_t *n);

/* Whether the kind takes so many inputs, of these types and lengths; build->failed when not. */
DL_NODISCARD dl_status dl_builder_check_inputs(dl_layer_build *build, const dl_layer_kind *kind,
                                               const int *inputs, int64_t n);

/* Does a pattern of model.freeze match the name? */
bool dl_builder_is_frozen(const dl_builder *b, const char *name);

/* Patterns that freeze nothing are mistakes. After all layers are built. */
DL_NODISCARD dl_status dl_builder_check_freeze(dl_builder *b);

#endif
