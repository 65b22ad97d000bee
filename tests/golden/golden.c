/* golden BACKEND FILE: compares a backend with PyTorch's numbers. Exit 0 when all agree; the last line
 * counts. */
#include "golden.h"

#include <stdio.h>

static dl_status run(const char *name, const char *path, golden_score *score) {
    static golden_file file;
    const dl_backend *backend = dl_backend_find(name);
    DL_RETURN_ERROR_IF(backend == NULL, DL_ERR_USAGE, "no backend %s", name);
    DL_RETURN_IF_ERROR(golden_load(path, &file));
    dl_device *device = NULL;
    const dl_device_options options = {.n_threads = 1};
    DL_RETURN_IF_ERROR(dl_device_open(backend, &options, &device));
    DL_RETURN_IF_ERROR(golden_check_kinds(device, &file, score));
    DL_RETURN_IF_ERROR(golden_check_network(device, &file, score));
    DL_RETURN_IF_ERROR(golden_check_optimizers(device, &file, score));
    DL_RETURN_IF_ERROR(golden_check_schedules(&file, score));
    dl_device_close(&device);
    golden_free(&file);
    return DL_OK;
}

int main(int argc, char **argv) {
    golden_score score = {0};
    if (argc != 3) {
        (void)fprintf(stderr, "usage: golden BACKEND FILE\n");
        return DL_ERR_USAGE;
    }
    const dl_status status = run(argv[1], argv[2], &score);
    if (status != DL_OK) {
        (void)fprintf(stderr, "golden: %s\n", dl_error_last()->message);
        return (int)status;
    }
    (void)printf("largest difference %.3g\n", score.worst);
    (void)printf("%d passed, %d failed, 0 skipped\n", score.passed, score.failed);
    return score.failed > 0 || score.passed == 0;
}
