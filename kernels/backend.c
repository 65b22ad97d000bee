#include "kernels/plugin.h"

#include "kernels/widened.h"

#include <stdio.h>
#include <string.h>

#define DL_BACKEND(name) extern const dl_backend dl_backend_##name;
#include "kernels/backends.def"
#undef DL_BACKEND

static const dl_backend *const backends[] = {
#define DL_BACKEND(name) &dl_backend_##name,
#include "kernels/backends.def"
#undef DL_BACKEND
    NULL,
};

const dl_backend *const *dl_backends(void) {
    return backends;
}

const dl_backend *dl_backend_find(const char *name) {
    for (int i = 0; backends[i] != NULL; i++) {
        if (strcmp(backends[i]->name, name) == 0) {
            return backends[i];
        }
    }
    const dl_plugin *plugin = dl_plugin_opened();
    return plugin != NULL && strcmp(plugin->backend->name, name) == 0 ? plugin->backend : NULL;
}

dl_status dl_backend_open(const char *name, const dl_backend **out) {
    *out = dl_backend_find(name);
    if (*out == NULL) {
        const dl_plugin *plugin = NULL;
        DL_RETURN_IF_ERROR(dl_plugin_open(name, &plugin));
        *out = plugin->backend;
    }
    return DL_OK;
}

static dl_status open_gpus(const dl_backend **out) {
    dl_gpu gpus[DL_MAX_GPUS];
    int n = 0;
    const bool driver = dl_plugin_has_driver();
    DL_RETURN_ERROR_IF(!driver && dl_plugin_exists("cuda"), DL_ERR_USAGE, DL_PLUGIN_NO_DRIVER);
    DL_RETURN_ERROR_IF(!driver, DL_ERR_USAGE, "%s", ""); /* nobody would expect a GPU */
    DL_RETURN_IF_ERROR(dl_backend_open("cuda", out));
    return dl_plugin_opened()->gpus(gpus, &n);
}

const dl_backend *dl_backend_auto(char *why_cpu, size_t n_bytes) {
    const dl_backend *backend = NULL;
    if (open_gpus(&backend) == DL_OK) {
        (void)snprintf(why_cpu, n_bytes, "%s", "");
        return backend;
    }
    (void)snprintf(why_cpu, n_bytes, "%s", dl_error_last()->message);
    return &dl_backend_cpu;
}

dl_status dl_device_open(const dl_backend *backend, const dl_device_options *options, dl_device **out) {
    *out = NULL;
    DL_RETURN_ERROR_IF(options->n_threads < 1, DL_ERR_INTERNAL, "%d threads asked for", options->n_threads);
    const dl_backend *fallback = backend->fallback == NULL ? NULL : dl_backend_find(backend->fallback);
    DL_RETURN_ERROR_IF(backend->fallback != NULL && fallback == NULL, DL_ERR_INTERNAL,
                       "backend %s falls back to %s, which is not built in", backend->name,
                       backend->fallback);
    dl_device *device = NULL;
    DL_RETURN_IF_ERROR_DOING(backend->open(options, &device), "opening backend %s", backend->name);
    device->backend = backend;
    device->n_threads = options->n_threads;
    device->index = options->index;
    device->deterministic = options->deterministic;
    device->tf32 = options->tf32;
    if (fallback != NULL) {
        const dl_status status = dl_device_open(fallback, options, &device->fallback);
        if (status != DL_OK) {
            dl_device_close(&device);
            return status;
        }
    }
    *out = device;
    return DL_OK;
}

void dl_device_close(dl_device **device) {
    if (*device == NULL) {
        return;
    }
    dl_device *fallback = (*device)->fallback;
    (*device)->backend->close(*device);
    *device = NULL;
    dl_device_close(&fallback);
}

/* The device behind `device` that takes the operation itself; NULL when none does. */
static dl_device *taker(const dl_device *device, const dl_op_desc *desc) {
    while (device != NULL && !device->backend->takes(device, desc)) {
        device = device->fallback;
    }
    return (dl_device *)device; /* the caller's own constness decides what it does with it */
}

/* A fallback does not know the layouts of the backend before it: it is asked with plain ones, and the caller
 * reads what it must provide in op->layout. */
static dl_op_desc plain_desc(const dl_op_desc *desc) {
    dl_op_desc plain = *desc;
    for (int i = 0; i < DL_OP_MAX_SLOTS; i++) {
        plain.slot[i].layout = plain.slot[i].layout == &dl_layout_any ? &dl_layout_any : NULL;
    }
    plain.algorithm = 0;
    return plain;
}

/* Whether the kind reads what its forward kind saved, in a layout that only the forward kind's device knows.
 */
static bool reads_saved(const dl_op_desc *desc) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    for (int i = 0; i < info->n_slots; i++) {
        if (info->slots[i].saved && info->slots[i].role == DL_SLOT_IN && desc->slot[i].present) {
            return true;
        }
    }
    return false;
}

/* The device that runs the operation: for a kind that reads what its forward kind saved, the forward kind's.
 */
static dl_device *target_of(dl_device *device, const dl_op_desc *desc, const dl_op *forward) {
    if (forward != NULL && reads_saved(desc)) {
        return forward->device->backend->takes(forward->device, desc) ? forward->device : NULL;
    }
    return taker(device, desc);
}

dl_status dl_op_prepare(dl_device *device, const dl_op_desc *desc, const dl_op *forward, dl_op **out) {
    *out = NULL;
    DL_RETURN_IF_ERROR(dl_op_check(desc));
    const char *name = dl_op_info_of(desc->kind)->name;
    const bool of_forward = forward != NULL && reads_saved(desc);
    dl_device *target = target_of(device, desc, forward);
    if (target == NULL && dl_op_has_half(desc)) {
        return dl_widened_prepare(device, desc, forward, out);
    }
    DL_RETURN_ERROR_IF(target == NULL && of_forward, DL_ERR_INTERNAL,
                       "%s: backend %s prepared the forward kind but does not take this one", name,
                       forward->device->backend->name);
    DL_RETURN_ERROR_IF(target == NULL && device->fallback == NULL, DL_ERR_USAGE,
                       "backend %s takes no %s in this form yet: use another backend for this model",
                       device->backend->name, name);
    DL_RETURN_ERROR_IF(target == NULL, DL_ERR_INTERNAL, "%s: neither backend %s nor its fallbacks take it",
                       name, device->backend->name);
    const dl_op_desc asked = target == device || of_forward ? *desc : plain_desc(desc);
    DL_RETURN_IF_ERROR_DOING(target->backend->prepare(target, &asked, forward, out), "preparing %s on %s",
                             name, target->backend->name);
    return DL_OK;
}

void dl_op_destroy(dl_op **op) {
    if (*op != NULL) {
        (*op)->functions->destroy(*op);
        *op = NULL;
    }
}

size_t dl_op_slot_bytes(const dl_op *op, int i) {
    const dl_tensor_desc *tensor = &op->desc.slot[i];
    if (!tensor->present) {
        return 0;
    }
    return op->layout[i] != NULL ? op->layout[i]->n_bytes : dl_tensor_plain_bytes(tensor);
}

const char *dl_device_describe_half(const dl_device *device, dl_dtype half) {
    return device->backend->describe_half != NULL ? device->backend->describe_half(device, half)
                                                  : "every operation in float32, its results rounded";
}

int dl_device_n_algorithms(const dl_device *device, const dl_op_desc *desc) {
    const dl_device *target = taker(device, desc);
    return target == NULL || target->backend->n_algorithms == NULL
               ? 1
               : target->backend->n_algorithms(target, desc);
}

const char *dl_device_algorithm_name(const dl_device *device, const dl_op_desc *desc, int algorithm) {
    const dl_device *target = taker(device, desc);
    if (target != NULL && target->backend->algorithm_name != NULL) {
        return target->backend->algorithm_name(target, desc, algorithm);
    }
    return dl_only_algorithm_name(algorithm);
}

int dl_device_layouts(dl_device *device, dl_dtype dtype, const dl_shape *shape, const dl_layout **out) {
    return device->backend->layouts == NULL ? 0 : device->backend->layouts(device, dtype, shape, out);
}

dl_status dl_device_synchronize(dl_device *device) {
    const dl_stream_functions *streams = device->backend->streams;
    return streams == NULL ? DL_OK : streams->synchronize(device, NULL);
}

dl_status dl_device_for_each(dl_device *device, int n, dl_status (*function)(void *, int), void *context) {
    if (device->backend->for_each != NULL) {
        return device->backend->for_each(device, n, function, context);
    }
    for (int i = 0; i < n; i++) {
        DL_RETURN_IF_ERROR(function(context, i));
    }
    return DL_OK;
}
