/* What the drivers of GPUs have answered: how much memory their libraries want for an operation.
 * `tests/gpu/accept.sh answers` asks on a machine with a GPU and writes tests/gpu/answers.json, which becomes
 * part of the program when there is one; DLTRAIN_GPU_ANSWERS names another file.
 *
 *     {"format": 1, "gpus": {"h200": {"versions": {...}, "context_bytes": N,
 *      "operations": {WORK: {"workspace": N, "reserve": N}}}}}
 *
 * WORK is dl_instruction_work's text; the reserve is what the forward kind of an LSTM layer keeps. */
#ifndef DLTRAIN_LAUNCHER_GPU_ANSWERS_H
#define DLTRAIN_LAUNCHER_GPU_ANSWERS_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct dl_gpu_answers dl_gpu_answers;

typedef struct dl_gpu_answer {
    size_t workspace, reserve; /* bytes */
} dl_gpu_answer;

/* The answers of the GPU of this name; *out is NULL when there are none. DL_ERR_USAGE for a file that cannot
 * be read. Not collective. */
DL_NODISCARD dl_status dl_gpu_answers_open(const char *gpu, dl_gpu_answers **out);
void dl_gpu_answers_close(dl_gpu_answers **answers);

/* Was it asked for this work? Fills *out then. `answers` may be NULL. */
bool dl_gpu_answers_find(const dl_gpu_answers *answers, const char *work, dl_gpu_answer *out);

/* Bytes that driver and libraries keep without any model, 0: not known. `answers` may be NULL. */
size_t dl_gpu_answers_context(const dl_gpu_answers *answers);

#endif
