#define _GNU_SOURCE
#include "program/choice_cache.h"

#include "base/digest.h"
#include "base/log.h"
#include "kernels/common/half.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CACHE_VERSION = 3 };

static void processor_name(char *out, size_t n_bytes) {
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    (void)snprintf(out, n_bytes, "unknown");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "model name", 10) == 0) {
            (void)snprintf(out, n_bytes, "%s", line);
            break;
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
}

/* Everything that decides the times, as text. */
static dl_status describe(const dl_plan *plan, const dl_program *program, dl_text *out) {
    char version[64], processor[256];
    const dl_device *device = plan->options.device;
    device->backend->version(version, sizeof version);
    if (device->backend->model != NULL) {
        (void)snprintf(processor, sizeof processor, "%s", device->backend->model(device));
    } else {
        processor_name(processor, sizeof processor);
    }
    DL_RETURN_IF_ERROR(dl_text_append(out, "%d %s %s %d %s %zu\n", CACHE_VERSION, device->backend->name,
                                      version, device->n_threads, processor, sizeof(dl_layer_choice)));
    for (int i = 0; i < program->n_instructions; i++) {
        const dl_instruction *instruction = &program->instruction[i];
        if (instruction->type != DL_DO_OPERATION) {
            continue;
        }
        DL_RETURN_IF_ERROR(dl_text_append(out, "%d %d %d:", (int)instruction->kind, instruction->layer,
                                          (int)instruction->attr.activation));
        for (int s = 0; s < DL_OP_MAX_SLOTS; s++) {
            char shape[DL_SHAPE_TEXT_BYTES];
            if (instruction->slot[s] < 0) {
                continue;
            }
            const dl_tensor_desc *tensor = &program->slot[instruction->slot[s]].tensor;
            DL_RETURN_IF_ERROR(
                dl_text_append(out, " %s%s", dl_shape_text(&tensor->shape, shape),
                               dl_dtype_is_half(tensor->dtype) ? dl_dtype_name(tensor->dtype) : ""));
        }
        DL_RETURN_IF_ERROR(dl_text_append(out, "\n"));
        if (dl_op_info_of(instruction->kind)->flops != NULL) { /* strides and padding decide too */
            DL_RETURN_IF_ERROR(
                dl_text_append_bytes(out, &instruction->attr.u.conv, sizeof instruction->attr.u.conv));
        }
    }
    return DL_OK;
}

void dl_choice_cache_path(const dl_plan *plan, const dl_program *program, char *out, size_t n_bytes) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char digest[DL_DIGEST_TEXT_BYTES];
    dl_text text = {0};
    int n = -1;
    if (describe(plan, program, &text) == DL_OK) {
        dl_digest_of(text.data, text.size, digest);
        if (cache != NULL && cache[0] == '/') {
            n = snprintf(out, n_bytes, "%s/dltrain/choices-%s", cache, digest);
        } else if (home != NULL && home[0] == '/') {
            n = snprintf(out, n_bytes, "%s/.cache/dltrain/choices-%s", home, digest);
        }
    }
    if (n < 0 || (size_t)n >= n_bytes) {
        out[0] = '\0';
    }
    dl_text_free(&text);
}

bool dl_choice_cache_read(const char *path, dl_choices *choices) {
    dl_text text = {0};
    const size_t n_bytes = (size_t)choices->n_layers * sizeof *choices->layer;
    bool found = path[0] != '\0' && dl_file_exists(path) && dl_file_read(path, n_bytes, &text) == DL_OK &&
                 text.size == n_bytes;
    if (found) {
        memcpy(choices->layer, text.data, n_bytes);
    }
    dl_text_free(&text);
    return found;
}

void dl_choice_cache_write(const char *path, const dl_choices *choices) {
    char folder[PATH_MAX];
    if (path[0] == '\0' || strlen(path) >= sizeof folder) {
        return;
    }
    (void)snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = '\0';
    if (dl_make_folders(folder) != DL_OK ||
        dl_file_replace(path, choices->layer, (size_t)choices->n_layers * sizeof *choices->layer) != DL_OK) {
        DL_DEBUG("measured choices are not kept: %s", dl_error_last()->message);
    }
}
