#include "launcher/gpu_answers.h"

#include "base/text.h"

#include <jansson.h>
#include <stdlib.h>

/* The file as the program was built with it (CMakeLists.txt); without one it holds nothing. */
extern const char dl_gpu_answers_text[];

enum { FORMAT = 1 };
static const size_t most_bytes = (size_t)64 << 20;

struct dl_gpu_answers {
    json_t *root;
    const json_t *gpu; /* in it */
};

static dl_status read_file(const char *path, json_t **root) {
    dl_text text = {0};
    json_error_t error = {0};
    DL_RETURN_IF_ERROR(dl_file_read(path, most_bytes, &text));
    *root = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, &error);
    dl_text_free(&text);
    const bool known = *root != NULL && json_integer_value(json_object_get(*root, "format")) == FORMAT;
    if (*root != NULL && !known) {
        json_decref(*root);
        *root = NULL;
    }
    DL_RETURN_ERROR_IF(
        !known, DL_ERR_USAGE,
        "DLTRAIN_GPU_ANSWERS: '%s' holds no answers of GPUs (format %d)%s%s; `tests/gpu/accept.sh "
        "answers` writes them",
        path, FORMAT, error.text[0] != '\0' ? ": " : "", error.text);
    return DL_OK;
}

dl_status dl_gpu_answers_open(const char *gpu, dl_gpu_answers **out) {
    const char *path = getenv("DLTRAIN_GPU_ANSWERS");
    json_t *root = NULL;
    *out = NULL;
    if (path != NULL && path[0] != '\0') {
        DL_RETURN_IF_ERROR(read_file(path, &root));
    } else {
        root = json_loads(dl_gpu_answers_text, JSON_REJECT_DUPLICATES, NULL);
    }
    const json_t *mine = json_object_get(json_object_get(root, "gpus"), gpu);
    dl_gpu_answers *answers = mine != NULL ? malloc(sizeof *answers) : NULL;
    if (answers == NULL) {
        json_decref(root);
        DL_RETURN_ERROR_IF(mine != NULL, DL_ERR_MEMORY, "no memory for the answers of GPUs");
        return DL_OK;
    }
    *answers = (dl_gpu_answers){.root = root, .gpu = mine};
    *out = answers;
    return DL_OK;
}

void dl_gpu_answers_close(dl_gpu_answers **answers) {
    if (*answers != NULL) {
        json_decref((*answers)->root);
        free(*answers);
        *answers = NULL;
    }
}

/* A number of bytes; 0 when there is none. */
static size_t bytes_of(const json_t *object, const char *key) {
    const json_int_t number = json_integer_value(json_object_get(object, key));
    return number > 0 ? (size_t)number : 0;
}

bool dl_gpu_answers_find(const dl_gpu_answers *answers, const char *work, dl_gpu_answer *out) {
    const json_t *found =
        answers == NULL ? NULL : json_object_get(json_object_get(answers->gpu, "operations"), work);
    if (found == NULL) {
        return false;
    }
    *out = (dl_gpu_answer){.workspace = bytes_of(found, "workspace"), .reserve = bytes_of(found, "reserve")};
    return true;
}

size_t dl_gpu_answers_context(const dl_gpu_answers *answers) {
    return answers == NULL ? 0 : bytes_of(answers->gpu, "context_bytes");
}
