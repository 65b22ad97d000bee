#include "program/choice_cache.h"

#include "base/cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CACHE_VERSION = 4 };

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
    DL_RETURN_IF_ERROR(dl_text_append(out, "%d %s %s %d %s %zu%s%s", CACHE_VERSION, device->backend->name,
                                      version, device->n_threads, processor, sizeof(dl_layer_choice),
                                      device->deterministic ? " deterministic" : "",
                                      device->tf32 ? " tf32" : ""));
    for (int i = 0; i < program->n_instructions; i++) {
        const dl_instruction *instruction = &program->instruction[i];
        if (instruction->type != DL_DO_OPERATION) {
            continue;
        }
        DL_RETURN_IF_ERROR(dl_text_append(out, "\n%d ", instruction->layer));
        DL_RETURN_IF_ERROR(dl_instruction_work(program, instruction, out));
    }
    return DL_OK;
}

dl_status dl_choice_key(const dl_plan *plan, const dl_program *program, char key[DL_DIGEST_TEXT_BYTES]) {
    dl_text text = {0};
    const dl_status status = describe(plan, program, &text);
    if (status == DL_OK) {
        dl_digest_of(text.data, text.size, key);
    }
    dl_text_free(&text);
    return status;
}

void dl_choice_cache_path(const char *key, char *out, size_t n_bytes) {
    char name[sizeof "choices-" + DL_DIGEST_TEXT_BYTES];
    (void)snprintf(name, sizeof name, "choices-%s", key);
    dl_cache_path(name, out, n_bytes);
}

bool dl_choice_cache_read(const char *path, dl_choices *choices) {
    dl_text text;
    const size_t n_bytes = (size_t)choices->n_layers * sizeof *choices->layer;
    const bool found = dl_cache_read(path, n_bytes, &text) && text.size == n_bytes;
    if (found) {
        memcpy(choices->layer, text.data, n_bytes);
    }
    dl_text_free(&text);
    return found;
}

void dl_choice_cache_write(const char *path, const dl_choices *choices) {
    dl_cache_write(path, choices->layer, (size_t)choices->n_layers * sizeof *choices->layer);
}

dl_status dl_choice_print(dl_pool *pool, const char *key, dl_choices *choices) {
    const size_t n_bytes = (size_t)choices->n_layers * sizeof *choices->layer, begin = strlen(key) + 1;
    const unsigned char *bytes = (const unsigned char *)choices->layer;
    DL_RETURN_IF_ERROR(dl_pool_alloc(pool, begin + 2 * n_bytes + 1, 1, &choices->text));
    (void)snprintf(choices->text, begin + 1, "%s ", key);
    for (size_t i = 0; i < n_bytes; i++) {
        (void)snprintf(choices->text + begin + 2 * i, 3, "%02x", bytes[i]);
    }
    return DL_OK;
}

bool dl_choice_parse(const char *text, const char *key, dl_choices *choices) {
    const size_t n_bytes = (size_t)choices->n_layers * sizeof *choices->layer, begin = strlen(key) + 1;
    unsigned char *bytes = (unsigned char *)choices->layer;
    if (text == NULL || strlen(text) != begin + 2 * n_bytes || strncmp(text, key, begin - 1) != 0 ||
        strspn(text + begin, "0123456789abcdef") != 2 * n_bytes) {
        return false;
    }
    for (size_t i = 0; i < n_bytes; i++) {
        const char two[3] = {text[begin + 2 * i], text[begin + 2 * i + 1], '\0'};
        bytes[i] = (unsigned char)strtoul(two, NULL, 16);
    }
    return true;
}
