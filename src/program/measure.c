/* Timing operations before the first step. */
#include "base/clock.h"
#include "base/log.h"
#include "program/choose.h"

#include <math.h>
#include <string.h>

enum { REPEATS = 5, QUEUED = 8 };
static const double enough_flops = 1e9; /* of one run: more tells nothing new, */
static const double most_flops = 4e9;   /* where weights do not count for more than they do in training */
static const double enough_bytes =
    24e6; /* of its tensors: measuring must not need more memory than training */
/* Two runs longer than this tell enough if they agree within so much. */
static const double enough_seconds = 5e-3, agreement = 1.3;

static bool runs_by_reference(const dl_op *op) {
    return strncmp(op->implementation, "ref", 3) == 0 && strcmp(op->device->backend->name, "cpu") == 0;
}

/* Seconds of one run, until it is done. Where runs are queued several wait in line, so that the way to the
 * device is not what is measured. */
static dl_status time_run(const dl_op *op, void *const *slots, double *seconds) {
    const int n = op->device->backend->streams != NULL ? QUEUED : 1;
    const double before = dl_clock_seconds();
    for (int i = 0; i < n; i++) {
        DL_RETURN_IF_ERROR(op->functions->run(op, slots, NULL));
    }
    DL_RETURN_IF_ERROR(dl_device_synchronize(op->device));
    *seconds = (dl_clock_seconds() - before) / n;
    return DL_OK;
}

/* The least of several runs: other programs can make any one of them slow. */
dl_status dl_measure_runs(const dl_op *op, void *const *slots, double *seconds) {
    double longest = 0;
    *seconds = INFINITY;
    for (int i = 0; i <= REPEATS; i++) {
        double passed = 0.0;
        DL_RETURN_IF_ERROR(time_run(op, slots, &passed));
        if (i == 0) { /* that one warms up */
            continue;
        }
        *seconds = passed < *seconds ? passed : *seconds;
        longest = passed > longest ? passed : longest;
        if (i >= 2 && *seconds > enough_seconds && longest < agreement * *seconds) {
            break;
        }
    }
    return DL_OK;
}

dl_status dl_measure_take(dl_device *device, const dl_op *op, void **slots) {
    const int n = dl_op_info_of(op->desc.kind)->n_slots;
    for (int i = 0; i < n; i++) {
        if (op->desc.slot[i].present && slots[i] == NULL) {
            DL_RETURN_IF_ERROR(device->backend->memory_create(device, dl_op_slot_bytes(op, i), &slots[i]));
        }
    }
    return op->workspace_bytes == 0 ? DL_OK
                                    : device->backend->memory_create(device, op->workspace_bytes, &slots[n]);
}

void dl_measure_release(dl_device *device, const dl_op *op, void **slots) {
    const int n = dl_op_info_of(op->desc.kind)->n_slots;
    for (int i = 0; i <= n; i++) {
        if (slots[i] != NULL) {
            device->backend->memory_destroy(device, slots[i],
                                            i < n ? dl_op_slot_bytes(op, i) : op->workspace_bytes);
            slots[i] = NULL;
        }
    }
}

dl_status dl_measure_prepared(dl_device *device, const dl_op *op, double *seconds) {
    void *slots[DL_MEASURE_SLOTS] = {0};
    dl_status status = dl_measure_take(device, op, slots);
    status = status == DL_OK ? dl_measure_runs(op, slots, seconds) : status;
    dl_measure_release(device, op, slots);
    return status;
}

/* Of the tensors with a sample each, or of the others. */
static double bytes_of(const dl_op_desc *desc, bool batched) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    double n_bytes = 0.0;
    for (int i = 0; i < info->n_slots; i++) {
        const bool counts = desc->slot[i].present && info->slots[i].batched == batched;
        n_bytes += counts ? (double)dl_tensor_plain_bytes(&desc->slot[i]) : 0.0;
    }
    return n_bytes;
}

/* Small images of many channels: what an algorithm does with the weights (Winograd transforms them) is then
 * much of its work, and more with fewer samples. */
static bool is_too_much(const dl_op_desc *desc) {
    const double flops = dl_op_info_of(desc->kind)->flops(desc);
    const double images = bytes_of(desc, true), weights = bytes_of(desc, false);
    return images + weights > enough_bytes || flops > most_flops ||
           (flops > enough_flops && images > 2 * weights);
}

/* Fewer samples for operations of much work, as long as their share of time hardly changes. */
static dl_op_desc shortened(dl_device *device, const dl_op_desc *desc) {
    const dl_op_info *info = dl_op_info_of(desc->kind);
    int64_t n = dl_op_samples(desc);
    dl_op_desc shorter = *desc;
    if (info->flops == NULL || device->backend->layout_with_samples == NULL) {
        return shorter;
    }
    while (n > 8 && is_too_much(&shorter)) {
        n /= 2;
        shorter = dl_op_with_samples(&shorter, n);
        for (int i = 0; i < info->n_slots; i++) {
            const dl_layout *layout = shorter.slot[i].layout;
            if (info->slots[i].batched && layout != NULL && layout != &dl_layout_any) {
                shorter.slot[i].layout = device->backend->layout_with_samples(device, layout, n);
            }
        }
    }
    return shorter;
}

/* Does the algorithm compute by way of a transform? Its name begins with the transform's then (backend.h). */
static bool is_transform(const dl_device *device, const dl_op_desc *desc, int algorithm) {
    const char *name = dl_device_algorithm_name(device, desc, algorithm);
    return strncmp(name, "winograd", 8) == 0 || strncmp(name, "fourier", 7) == 0;
}

/* One algorithm; DL_OK with infinity where it is not offered for these layouts, or not worth measuring. */
static dl_status measure_algorithm(dl_device *device, const dl_op_desc *desc, double *seconds) {
    dl_op *op = NULL;
    *seconds = INFINITY;
    if (dl_op_prepare(device, desc, NULL, &op) != DL_OK) {
        return DL_OK;
    }
    const dl_status status = runs_by_reference(op) ? DL_OK : dl_measure_prepared(device, op, seconds);
    dl_op_destroy(&op);
    return status;
}

bool dl_measure_goes_on(dl_device *device, dl_status outcome) {
    dl_error failure;
    if (outcome == DL_OK) {
        return true;
    }
    dl_error_take(&failure);
    const bool goes_on = dl_device_synchronize(device) == DL_OK;
    DL_DEBUG("an algorithm is left out: %s", failure.message);
    return dl_error_restore(&failure) != DL_OK && goes_on;
}

dl_status dl_measure_operation(dl_device *device, const dl_op_desc *desc, bool direct, double *seconds,
                               int *algorithm) {
    const dl_op_desc shorter = shortened(device, desc);
    const double scale = (double)dl_op_samples(desc) / (double)dl_op_samples(&shorter);
    const int n = dl_device_n_algorithms(device, &shorter);
    dl_status status = DL_OK;
    bool any = false;
    *seconds = INFINITY;
    *algorithm = 0;
    for (int a = 0; a < n; a++) {
        dl_op_desc candidate = shorter;
        double taken = INFINITY;
        if (direct && is_transform(device, &shorter, a)) {
            continue;
        }
        candidate.algorithm = a;
        status = measure_algorithm(device, &candidate, &taken);
        if (!dl_measure_goes_on(device, status)) {
            return status;
        }
        any = any || status == DL_OK;
        if (status == DL_OK && taken * scale < *seconds) {
            *seconds = taken * scale;
            *algorithm = a;
        }
    }
    return any ? DL_OK : status;
}
