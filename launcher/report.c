#include "launcher/report.h"

#include "kernels/common/half.h"
#include "train/snapshot.h"

#include <stdio.h>
#include <string.h>

int dl_report_memory(const dl_session *session, dl_memory_item out[DL_CONSOLE_MEMORY_ITEMS]) {
    size_t bytes[DL_N_STORAGES];
    int n = 0;
    dl_plan_memory(session->plan, bytes);
    for (int s = 0; s < DL_N_STORAGES && n < DL_CONSOLE_MEMORY_ITEMS - 2; s++) {
        if (bytes[s] > 0) {
            out[n++] = (dl_memory_item){dl_storage_name((dl_storage)s), bytes[s]};
        }
    }
    out[n++] = (dl_memory_item){"host", dl_session_host_bytes(session)};
    if (session->trains) { /* what checkpoints are written from */
        out[n++] = (dl_memory_item){"snapshot", dl_snapshot_room(session)};
    }
    return n;
}

/* The GPU of rank 0, or why `backend: auto` uses none. */
static void describe_device(const dl_session *session, char *out, size_t n_bytes) {
    const dl_backend *backend = session->device->backend;
    out[0] = '\0';
    if (backend->describe != NULL) {
        backend->describe(session->device, out, n_bytes);
    } else if (session->why_cpu[0] != '\0') {
        (void)snprintf(out, n_bytes, "none is used: %s", session->why_cpu);
    }
}

/* What a precision other than float32 means on this device. */
static void note_precision(const dl_session *session, dl_banner *banner) {
    const dl_dtype half = session->plan->options.half;
    const char *name = dl_config_precisions[session->config->precision];
    if (dl_dtype_is_half(half)) {
        banner->precision = name;
        banner->precision_note = dl_device_describe_half(session->device, half);
    } else if (strcmp(name, "tf32") == 0 && strcmp(session->device->backend->name, "cuda") != 0) {
        banner->precision = name;
        banner->precision_note = "a mode of GPUs; here it is float32";
    }
}

void dl_report_banner(const dl_session *session, const dl_runtime *runtime, dl_console *console) {
    char version[64] = "", grid[64], device[384];
    describe_device(session, device, sizeof device);
    session->device->backend->version(version, sizeof version);
    const int tensor = session->grid->axis[DL_AXIS_TENSOR].size;
    const int n = snprintf(grid, sizeof grid, "data=%d", session->grid->axis[DL_AXIS_DATA].size);
    if (tensor > 1) {
        (void)snprintf(grid + n, sizeof grid - (size_t)n, " tensor=%d", tensor);
    }
    dl_banner banner = {.ranks = runtime->world->size,
                        .hosts = runtime->world->n_nodes,
                        .host_names = runtime->hosts,
                        .device = device,
                        .backend = session->device->backend->name,
                        .backend_version = version,
                        .threads = runtime->least_threads,
                        .most_threads = runtime->most_threads,
                        .grid = grid,
                        .model = session->config->name,
                        .parameters = session->model->table.n_total,
                        .trainable = session->model->table.n_trainable,
                        .flop_per_sample = dl_model_training_flops(session->model),
                        .data = session->config->data.path,
                        .train_samples = session->n_samples[DL_SPLIT_TRAIN],
                        .valid_samples = session->valid_is_test ? 0 : session->n_samples[DL_SPLIT_VALID],
                        .test_samples = session->n_samples[DL_SPLIT_TEST]};
    note_precision(session, &banner);
    banner.n_memory = dl_report_memory(session, banner.memory);
    dl_console_banner(console, &banner);
}
