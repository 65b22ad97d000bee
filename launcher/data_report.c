#include "launcher/data_report.h"

#include "base/text.h"
#include "datasets/dataset.h"

#include <stdio.h>

dl_status dl_data_unknown(const char *kind, const char *name, const char *const *names, size_t n) {
    const char *near = dl_nearest_name(name, names, n);
    DL_RETURN_ERROR_IF(near != NULL, DL_ERR_USAGE, "unknown %s '%.60s'; did you mean '%s'?", kind, name,
                       near);
    dl_text all = {0};
    dl_status status = DL_OK;
    for (size_t i = 0; i < n && status == DL_OK; i++) {
        status = dl_text_append(&all, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    if (status == DL_OK) {
        status = dl_error_raise(DL_ERR_USAGE, __FILE__, __LINE__, __func__,
                                "unknown %s '%.60s'; there are: %s", kind, name, all.data);
    }
    dl_text_free(&all);
    return status;
}

dl_status dl_data_say_written(const char *folder, const char *split) {
    dl_dataset *dataset = NULL;
    char samples[32], shape[DL_SHAPE_TEXT_BYTES];
    DL_RETURN_IF_ERROR(dl_dataset_open(folder, split, &dataset));
    const dl_dataset_info *info = dl_dataset_info_of(dataset);
    const int n = printf("wrote %s: %s, %s samples of %s %s, %lld classes, %d file%s\n", folder, split,
                         dl_thousands(info->n_samples, samples), dl_dtype_name(info->field[0].dtype),
                         dl_shape_text(&info->field[0].sample_shape, shape), (long long)info->n_classes,
                         info->n_files, info->n_files == 1 ? "" : "s");
    dl_dataset_close(&dataset);
    DL_RETURN_ERROR_IF(n < 0 || fflush(stdout) != 0, DL_ERR_IO, "cannot write to stdout");
    return DL_OK;
}
