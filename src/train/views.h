/* The batches of a session's splits. */
#ifndef DLTRAIN_TRAIN_VIEWS_H
#define DLTRAIN_TRAIN_VIEWS_H

#include "train/session.h"

/* Opens a view of every split that has samples, as the model wants them; where there are no files (check,
 * bench), describes what there would be. Sets session->view, view_info, n_samples. DL_ERR_USAGE when the
 * model's lstm is stateful and the samples do not follow each other, or cannot be divided into pieces. */
DL_NODISCARD dl_status dl_views_open(dl_session *session);
void dl_views_close(dl_session *session);

/* The longest of ragged samples in any split, 0: they are not ragged. */
int64_t dl_views_max_length(const dl_session *session);

/* The length that a program for batches of `length` positions is compiled for: 0 where the model fixes it. */
int64_t dl_views_program_length(const dl_session *session, int64_t length);

#endif
