/* Making the parameter table of a model. */
#ifndef DLTRAIN_MODEL_TABLE_H
#define DLTRAIN_MODEL_TABLE_H

#include "model/model.h"

/* Sorts the declared parameters into arena order (trainable first, last gradient to be ready last), gives
 * offsets and buckets of about bucket_bytes (0: 25 MB; the first bucket is small so that communication starts
 * early). */
DL_NODISCARD dl_status dl_parameter_table_make(dl_model *model, int64_t bucket_bytes);

#endif
