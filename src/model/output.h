/* The end of a model: loss and metrics. */
#ifndef DLTRAIN_MODEL_OUTPUT_H
#define DLTRAIN_MODEL_OUTPUT_H

#include "model/model.h"

/* Appends loss and metrics behind the value `last`. A final softmax stands for the one in the loss. */
DL_NODISCARD dl_status dl_model_add_output(dl_model *model, int last, const dl_model_options *options,
                                           dl_diagnostics *diagnostics);

#endif
