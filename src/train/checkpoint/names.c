#define _GNU_SOURCE
#include "train/checkpoint/checkpoint_private.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char step_prefix[] = "step-", part_prefix[] = "part-", part_suffix[] = ".h5";

void dl_checkpoint_step_name(int64_t step, char out[DL_CHECKPOINT_STEP_NAME_BYTES]) {
    (void)snprintf(out, DL_CHECKPOINT_STEP_NAME_BYTES, "%s%08" PRId64, step_prefix, step);
}

bool dl_checkpoint_parse_step(const char *name, int64_t *step) {
    char again[DL_CHECKPOINT_STEP_NAME_BYTES];
    const size_t n = sizeof step_prefix - 1;
    if (strncmp(name, step_prefix, n) != 0 || !dl_parse_int64(name + n, step) || *step < 0) {
        return false;
    }
    dl_checkpoint_step_name(*step, again);
    return strcmp(name, again) == 0;
}

void dl_checkpoint_part_name(int rank, char out[DL_CHECKPOINT_PART_NAME_BYTES]) {
    (void)snprintf(out, DL_CHECKPOINT_PART_NAME_BYTES, "%s%05d%s", part_prefix, rank, part_suffix);
}

bool dl_checkpoint_is_part(const char *name) {
    char again[DL_CHECKPOINT_PART_NAME_BYTES];
    int rank = 0;
    for (const char *c = name + strcspn(name, "0123456789"); isdigit((unsigned char)*c) != 0; c++) {
        rank = rank * 10 + (*c - '0');
        if (rank >= DL_CHECKPOINT_MAX_RANKS) {
            return false;
        }
    }
    dl_checkpoint_part_name(rank, again);
    return strcmp(name, again) == 0;
}

static bool is_component(const char *text, size_t n) {
    return n > 0 && !(n == 1 && text[0] == '.') && !(n == 2 && text[0] == '.' && text[1] == '.');
}

bool dl_checkpoint_is_tensor_name(const char *name) {
    const size_t n = strlen(name);
    if (name[0] != '/' || n >= DL_CHECKPOINT_NAME_BYTES) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (iscntrl((unsigned char)name[i]) != 0) {
            return false;
        }
    }
    for (const char *part = name + 1;; part++) {
        const size_t length = strcspn(part, "/");
        if (!is_component(part, length)) {
            return false;
        }
        part += length;
        if (*part == '\0') {
            return true;
        }
    }
}

bool dl_checkpoint_is_digest(const char *text) {
    return strlen(text) == DL_DIGEST_TEXT_BYTES - 1 &&
           strspn(text, "0123456789abcdef") == DL_DIGEST_TEXT_BYTES - 1;
}

dl_status dl_checkpoint_path(const char *checkpoints, int64_t step, char *out, size_t n_bytes) {
    char name[DL_CHECKPOINT_STEP_NAME_BYTES];
    dl_checkpoint_step_name(step, name);
    return dl_path_join(out, n_bytes, checkpoints, name);
}
