/* Plans: engines compiled for a graph.
 *
 * Of most convolutions cuDNN has the kernels; those of graphs with more nodes it compiles at run time, 0.2 to
 * 0.5 s each. Such plans are kept between runs (base/cache.h), as cuDNN's own text with the machine code in
 * it, from which a plan is made in a millisecond. A file's name is a digest of what the plan depends on:
 * graph and rules, configuration, GPU with its driver, version of cuDNN. */
#define _GNU_SOURCE
#include "kernels/cuda/engines.h"

#include "base/cache.h"
#include "base/digest.h"
#include "base/log.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { STORE_VERSION = 1, MAX_PLAN_BYTES = 64 << 20 };

void dl_graph_engine_release(dl_graph_engine *e) {
    dl_descriptor_destroy(&e->plan.descriptor);
    dl_descriptor_destroy(&e->config);
}

/* --- making --- */

/* Says for which device, and makes the plan. */
static dl_status finalize_plan(const dl_graph_device *device, dl_descriptor plan) {
    if (device->description != NULL) {
        DL_DESCRIPTOR_SET(plan, EXECUTION_PLAN_DEVICEPROP, BACKEND_DESCRIPTOR, 1, &device->description);
    } else {
        DL_DESCRIPTOR_SET(plan, EXECUTION_PLAN_HANDLE, HANDLE, 1, &device->handle);
    }
    DL_DESCRIPTOR_FINALIZE(plan);
    return DL_OK;
}

static dl_status make_from_config(const dl_graph_device *device, dl_descriptor config, dl_descriptor *out) {
    DL_DESCRIPTOR_CREATE(EXECUTION_PLAN, out);
    DL_DESCRIPTOR_SET(*out, EXECUTION_PLAN_ENGINE_CONFIG, BACKEND_DESCRIPTOR, 1, &config);
    return finalize_plan(device, *out);
}

static dl_status make_from_text(const dl_graph_device *device, const char *text, size_t n_bytes,
                                dl_descriptor *out) {
    DL_DESCRIPTOR_CREATE(EXECUTION_PLAN, out);
    DL_DESCRIPTOR_SET(*out, EXECUTION_PLAN_JSON_REPRESENTATION, CHAR, (int64_t)n_bytes, text);
    return finalize_plan(device, *out);
}

/* --- keeping: a line with the digest of the text, and the text --- */

/* "" where nothing can be kept. */
static void path_of(const dl_graph_engines *engines, const dl_graph_engine *e, char path[PATH_MAX]) {
    char digest[DL_DIGEST_TEXT_BYTES], name[sizeof "plan-" + DL_DIGEST_TEXT_BYTES];
    dl_text key = {0};
    path[0] = '\0';
    if (engines->device->text[0] != '\0' &&
        dl_text_append(&key, "%d %zu %s %d %s\n%s", STORE_VERSION, cudnnGetVersion(), engines->key, e->number,
                       e->name, engines->device->text) == DL_OK) {
        dl_digest_of(key.data, key.size, digest);
        (void)snprintf(name, sizeof name, "plan-%s", digest);
        dl_cache_path(name, path, PATH_MAX);
    }
    dl_text_free(&key);
}

/* Makes the plan from its file; false where there is none that works, e->plan.descriptor is then NULL. */
static bool take_kept(const dl_graph_device *device, const char *path, dl_descriptor *out) {
    enum { LINE = DL_DIGEST_TEXT_BYTES }; /* the digest's terminator is the line's end in the file */
    char digest[DL_DIGEST_TEXT_BYTES];
    dl_text file;
    if (dl_cache_read(path, MAX_PLAN_BYTES, &file) && file.size > LINE) {
        dl_digest_of(file.data + LINE, file.size - LINE, digest);
        if (strncmp(file.data, digest, LINE - 1) != 0) {
            DL_DEBUG("%s is damaged, the plan is compiled again", path);
        } else if (make_from_text(device, file.data + LINE, file.size - LINE, out) != DL_OK) {
            DL_DEBUG("%s: %s; the plan is compiled again", path, dl_error_last()->message);
            dl_descriptor_destroy(out);
        }
    }
    dl_text_free(&file);
    return *out != NULL;
}

/* Keeps a plan that has machine code in its text: without that there is nothing to gain. */
static void keep(const char *path, dl_descriptor plan) {
    char digest[DL_DIGEST_TEXT_BYTES];
    dl_text text = {0}, file = {0};
    if (path[0] != '\0' &&
        dl_descriptor_text(plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, &text) == DL_OK &&
        strstr(text.data, "\"cubin\"") != NULL) {
        dl_digest_of(text.data, text.size, digest);
        if (dl_text_append(&file, "%s\n", digest) == DL_OK &&
            dl_text_append_bytes(&file, text.data, text.size) == DL_OK) {
            dl_cache_write(path, file.data, file.size);
        }
    }
    dl_text_free(&text);
    dl_text_free(&file);
}

/* --- both --- */

static dl_status measure_workspace(const dl_graph_engines *engines, dl_graph_engine *e) {
    int64_t n = 0, n_bytes = 0;
    DL_RETURN_IF_ERROR(DL_CUDNN(cudnnBackendGetAttribute(
        e->plan.descriptor, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &n, &n_bytes)));
    DL_RETURN_ERROR_IF(n_bytes < 0 || (size_t)n_bytes > engines->workspace_limit, DL_ERR_INTERNAL,
                       "cuDNN's %s wants %" PRId64 " bytes of workspace, above the limit of %zu", e->name,
                       n_bytes, engines->workspace_limit);
    e->plan.workspace_bytes = (size_t)n_bytes;
    return DL_OK;
}

static dl_status make(const dl_graph_engines *engines, dl_graph_engine *e) {
    char path[PATH_MAX];
    path_of(engines, e, path);
    if (!take_kept(engines->device, path, &e->plan.descriptor)) {
        DL_RETURN_IF_ERROR(make_from_config(engines->device, e->config, &e->plan.descriptor));
        keep(path, e->plan.descriptor);
    }
    return measure_workspace(engines, e);
}

dl_status dl_graph_compile(const dl_graph_engines *engines, dl_graph_engine *e) {
    if (e->plan.descriptor != NULL) {
        return DL_OK;
    }
    const dl_status status = make(engines, e);
    if (status != DL_OK) {
        dl_descriptor_destroy(&e->plan.descriptor);
    }
    return status;
}
