/* A GPU's manners on a CPU (backend ref:strict): while an instruction runs, all memory that it did not
 * declare is made inaccessible and its inputs read-only; values that die are poisoned behind it. */
#ifndef DLTRAIN_PROGRAM_FENCE_H
#define DLTRAIN_PROGRAM_FENCE_H

#include "program/plan.h"

/* Before instruction `at`. DL_ERR_INTERNAL when the system refuses. */
DL_NODISCARD dl_status dl_fence_close(const dl_plan *plan, const dl_program *program, int at);

/* After it: everything accessible again, dead values poisoned. */
DL_NODISCARD dl_status dl_fence_open(const dl_plan *plan, const dl_program *program, int at);

#endif
