/* The lists of instructions of a plan for programs: `dltrain check --program --json`. */
#ifndef DLTRAIN_LAUNCHER_PROGRAM_JSON_H
#define DLTRAIN_LAUNCHER_PROGRAM_JSON_H

#include "program/plan.h"

#include <jansson.h>

/* [{kind, samples, local_samples, instructions: [{name, lane, phase, layer, work, implementation, memory:
 * {SLOT: bytes, ...}}]}]: `work` (dl_instruction_work) and `implementation` of operations only. NULL without
 * memory. */
json_t *dl_programs_json(const dl_plan *plan);

#endif
