/* --profile: where the time of a step goes, by operation and layer. */
#ifndef DLTRAIN_TRAIN_PROFILE_H
#define DLTRAIN_TRAIN_PROFILE_H

#include "train/console.h"
#include "train/session.h"

typedef struct dl_step_profile dl_step_profile;

/* With `on` false *out is NULL, and steps run unmeasured. */
DL_NODISCARD dl_status dl_step_profile_create(bool on, const dl_plan *plan, dl_step_profile **out);
void dl_step_profile_destroy(dl_step_profile **profile);

/* Runs a program, measured when there is a profile. */
DL_NODISCARD dl_status dl_step_profile_run(dl_step_profile *profile, dl_plan *plan, int program,
                                           const dl_host_batch *batch);

/* The table: instructions by their share of the step, the largest first. */
DL_NODISCARD dl_status dl_step_profile_show(const dl_step_profile *profile, const dl_plan *plan,
                                            dl_console *console);

#endif
