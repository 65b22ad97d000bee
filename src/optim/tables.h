/* Declares what the rows of the two tables promise; included by the files that define and collect them. */
#ifndef DLTRAIN_OPTIM_TABLES_H
#define DLTRAIN_OPTIM_TABLES_H

#include "optim/optim.h"

#define DL_OPTIMIZER(name) extern const dl_optimizer dl_optimizer_##name;
#include "optim/optimizers.def"
#undef DL_OPTIMIZER

#define DL_SCHEDULE(name) extern const dl_schedule dl_schedule_##name;
#include "optim/schedules.def"
#undef DL_SCHEDULE

#endif
