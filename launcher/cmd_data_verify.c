#include "launcher/data_report.h"

#include <jansson.h>
#include <stdio.h>

static dl_status print_split(const char *split, int n_files, int64_t n_checked, int64_t n_without) {
    const char *verdict = n_checked == 0
                              ? "no digests are stored: written by another program, only the form is checked"
                          : n_without == 0 ? "as it was written"
                                           : "as it was written; the others have no digest";
    DL_RETURN_ERROR_IF(printf("  %-8s %d file%s, %lld of %lld datasets compared: %s\n", split, n_files,
                              n_files == 1 ? "" : "s", (long long)n_checked,
                              (long long)(n_checked + n_without), verdict) < 0,
                       DL_ERR_IO, "cannot write to stdout");
    return DL_OK;
}

static dl_status report(const char *split, dl_dataset *dataset, void *context) {
    int64_t n_checked = 0, n_without = 0;
    DL_RETURN_IF_ERROR(dl_dataset_verify(dataset, &n_checked, &n_without));
    const int n_files = dl_dataset_info_of(dataset)->n_files;
    if (context == NULL) {
        return print_split(split, n_files, n_checked, n_without);
    }
    json_t *each = json_pack("{s:s, s:i, s:I, s:I}", "split", split, "files", n_files, "checked",
                             (json_int_t)n_checked, "without", (json_int_t)n_without);
    DL_RETURN_ERROR_IF(json_array_append_new(context, each) != 0, DL_ERR_MEMORY, "cannot describe split %s",
                       split);
    return DL_OK;
}

static dl_status run(const dl_arguments *arguments) {
    return dl_data_report(arguments, report);
}

const dl_command dl_command_data_verify = {
    .name = "data verify",
    .usage = "DIR|FILE [--json]",
    .doc = "compare a data set with the digests that were stored when it was written",
    .help =
        "Every file is checked as before training, then all its bytes are read and compared with the XXH3-128\n"
        "digests in it. Files of other programs have none. Damage ends with exit status 65.",
    .flags =
        (const dl_flag[]){
            {"json", NULL, "one JSON object instead of text"},
            {NULL, NULL, NULL},
        },
    .min_positional = 1,
    .max_positional = 1,
    .run = run,
};
