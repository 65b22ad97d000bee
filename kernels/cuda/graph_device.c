/* The devices of graphs: a GPU, or a text that describes one. */
#include "kernels/cuda/engines.h"

#include <stdio.h>
#include <string.h>

enum { MAX_REASON_BYTES = 256 };

static dl_status describe_device(const char *json, dl_descriptor *out) {
    DL_DESCRIPTOR_CREATE(DEVICEPROP, out);
    DL_DESCRIPTOR_SET(*out, DEVICEPROP_JSON_REPRESENTATION, CHAR, (int64_t)strlen(json) + 1, json);
    DL_DESCRIPTOR_FINALIZE(*out);
    return DL_OK;
}

static dl_status describe_handle(cudnnHandle_t handle, dl_descriptor *out) {
    DL_DESCRIPTOR_CREATE(DEVICEPROP, out);
    DL_DESCRIPTOR_SET(*out, DEVICEPROP_HANDLE, HANDLE, 1, &handle);
    DL_DESCRIPTOR_FINALIZE(*out);
    return DL_OK;
}

dl_status dl_graph_device_text(cudnnHandle_t handle, dl_text *out) {
    dl_descriptor description = NULL;
    dl_status status = describe_handle(handle, &description);
    if (status == DL_OK) {
        status = dl_descriptor_text(description, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, out);
    }
    dl_descriptor_destroy(&description);
    return status;
}

static dl_status device_create(cudnnHandle_t handle, const char *text, dl_graph_device **out) {
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof **out, out));
    (*out)->handle = handle;
    dl_status status = dl_pool_create(&(*out)->pool);
    if (status == DL_OK) {
        status = dl_pool_strdup((*out)->pool, text, &(*out)->text);
    }
    if (status != DL_OK) {
        dl_graph_device_destroy(out);
    }
    return status;
}

dl_status dl_graph_device_of_handle(cudnnHandle_t handle, dl_graph_device **out) {
    dl_text text = {0};
    *out = NULL;
    DL_RETURN_ERROR_IF(handle == NULL, DL_ERR_INTERNAL, "no cuDNN handle");
    const bool described = dl_graph_device_text(handle, &text) == DL_OK;
    const dl_status status = device_create(handle, described ? text.data : "", out);
    dl_text_free(&text);
    return status;
}

dl_status dl_graph_device_of_text(const char *json, dl_graph_device **out) {
    *out = NULL;
    DL_RETURN_IF_ERROR(device_create(NULL, json, out));
    if (describe_device(json, &(*out)->description) != DL_OK) {
        char reason[MAX_REASON_BYTES];
        (void)snprintf(reason, sizeof reason, "%.200s", dl_error_last()->message);
        dl_graph_device_destroy(out);
        DL_RETURN_ERROR(DL_ERR_USAGE, "this is no description of a GPU: %s", reason);
    }
    return DL_OK;
}

void dl_graph_device_destroy(dl_graph_device **device) {
    if (*device == NULL) {
        return;
    }
    for (dl_graph_engines *known = (*device)->known; known != NULL; known = known->next) {
        for (int i = 0; i < known->n; i++) {
            dl_graph_engine_release(&known->engine[i]);
        }
        dl_graph_descriptors_release(&known->descriptors);
    }
    dl_descriptor_destroy(&(*device)->description);
    dl_pool_destroy(&(*device)->pool);
    dl_free(device);
}
