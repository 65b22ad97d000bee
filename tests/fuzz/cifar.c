/* Imports any bytes as a CIFAR file: a split of exactly its records, or nothing. */
#define _GNU_SOURCE
#include "base/log.h"
#include "datasets/dataset.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RECORD_BYTES = 3073 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static void check(const char *folder, const uint8_t *bytes, size_t n_bytes) {
    dl_dataset *dataset = NULL;
    if (dl_dataset_open(folder, "train", &dataset) != DL_OK ||
        dl_dataset_info_of(dataset)->n_samples * RECORD_BYTES != (int64_t)n_bytes) {
        abort();
    }
    for (int64_t i = 0; i < dl_dataset_info_of(dataset)->n_samples; i++) {
        uint8_t image[RECORD_BYTES - 1];
        int32_t label = -1;
        if (dl_dataset_read(dataset, i, 0, image) != DL_OK ||
            dl_dataset_read(dataset, i, 1, &label) != DL_OK || label != bytes[i * RECORD_BYTES] ||
            image[2] != bytes[i * RECORD_BYTES + 2049]) {
            abort();
        }
    }
    dl_dataset_close(&dataset);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    char path[64], folder[64], file[128];
    const int fd = memfd_create("cifar", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes, n_bytes) != (ssize_t)n_bytes) {
        abort();
    }
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    (void)snprintf(folder, sizeof folder, "/dev/shm/fuzz-cifar-%ld", (long)getpid());
    (void)snprintf(file, sizeof file, "%s/train-00000-of-00001.h5", folder);
    const char *const inputs[1] = {path};
    const dl_import_request request = {
        .input = inputs, .n_inputs = 1, .folder = folder, .split = "train", .n_shards = 1};
    const bool imported = dl_importer_find("cifar")->import(&request) == DL_OK;
    if (imported) {
        check(folder, bytes, n_bytes);
    }
    if ((access(file, F_OK) == 0) != imported) {
        abort();
    }
    (void)unlink(file);
    (void)rmdir(folder);
    (void)close(fd);
    return 0;
}
