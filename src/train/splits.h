/* Which samples are for training, validation, test. Used by session.c. */
#ifndef DLTRAIN_TRAIN_SPLITS_H
#define DLTRAIN_TRAIN_SPLITS_H

#include "train/session.h"

/* Makes the data set when its folder has no training split and the configuration says how: rank 0 works, the
 * others wait. Collective over world. */
DL_NODISCARD dl_status dl_splits_make(dl_session *session, const dl_session_options *options);

/* Opens the splits. Validation is `valid-*.h5`, else the last data.valid share of the training samples, else
 * test. In a dry session a data set that is not there yet is described by its maker. Not collective. */
DL_NODISCARD dl_status dl_splits_open(dl_session *session, const dl_session_options *options);

#endif
