/* What the list of layers may hold beside layers: `repeat` and `include`, replaced by the layers they stand
 * for before anything reads the list. */
#ifndef DLTRAIN_CONFIG_EXPAND_H
#define DLTRAIN_CONFIG_EXPAND_H

#include "config/option.h"

/* repeat and include, for the reference; NULL-terminated. */
extern const dl_variant_kind *const dl_expansions[];

/* Replaces repeat and include in model.layers of a configuration, and appends model.top, if there is one, to
 * the layers. `root` is changed in place. Mistakes go to `diagnostics`, with places in the file they are in.
 * Names of included files count from the folder of the file that names them. */
DL_NODISCARD dl_status dl_model_expand(dl_node *root, dl_pool *pool, dl_diagnostics *diagnostics);

#endif
