#include "base/text.h"
#include "datasets/dataset.h"
#include "launcher/data_report.h"
#include "launcher/setup.h"

#include <stdio.h>
#include <string.h>

static dl_status find_importer(const char *name, const dl_importer **out) {
    const char *names[64];
    size_t n = 0;
    *out = dl_importer_find(name);
    for (const dl_importer *const *each = dl_importers(); *each != NULL && n < 64; each++) {
        names[n++] = (*each)->name;
    }
    return *out != NULL ? DL_OK : dl_data_unknown("format", name, names, n);
}

static dl_status check_split(const char *split) {
    static const char *const splits[] = {"train", "valid", "test"};
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(split, splits[i]) == 0) {
            return DL_OK;
        }
    }
    return dl_data_unknown("split", split, splits, 3);
}

static dl_status list_importers(void) {
    bool good = printf("formats that can be imported:\n") > 0;
    for (const dl_importer *const *each = dl_importers(); *each != NULL && good; each++) {
        good = printf("  %s %s\n      %s\n", (*each)->name, (*each)->usage, (*each)->doc) > 0 &&
               dl_data_print_options((*each)->options);
    }
    DL_RETURN_ERROR_IF(!good || fflush(stdout) != 0, DL_ERR_IO, "cannot write to stdout");
    return DL_OK;
}

enum { N_COMMON_FLAGS = 3 };

static const dl_flag *make_flags(void) {
    static dl_flag flags[DL_MAX_FLAGS + 1] = {
        {"out", "DIR", "folder to write to; made if need be"},
        {"split", "NAME", "train, valid or test (not for text, which is divided)"},
        {"shards", "N", "number of files (1 to 256, default 1)"},
    };
    for (const dl_importer *const *each = dl_importers(); *each != NULL; each++) {
        dl_data_add_flags(flags, (*each)->options);
    }
    return flags;
}

static dl_status check_where(const dl_importer *importer, const char *folder, const char *split) {
    DL_RETURN_ERROR_IF(folder == NULL, DL_ERR_USAGE, "data import wants --out DIR: the folder to write to");
    if (importer->splits) {
        DL_RETURN_ERROR_IF(split != NULL, DL_ERR_USAGE,
                           "data import %s divides its input into splits itself; leave --split out",
                           importer->name);
        return DL_OK;
    }
    DL_RETURN_ERROR_IF(split == NULL, DL_ERR_USAGE, "data import wants --split train, valid or test");
    return check_split(split);
}

static dl_status say_written(const dl_importer *importer, const char *folder, const char *split) {
    static const char *const splits[] = {"train", "valid", "test"};
    for (size_t i = 0; i < 3; i++) {
        if (importer->splits ? dl_dataset_exists(folder, splits[i]) : strcmp(split, splits[i]) == 0) {
            DL_RETURN_IF_ERROR(dl_data_say_written(folder, splits[i]));
        }
    }
    return DL_OK;
}

static dl_status run(const dl_arguments *arguments) {
    if (arguments->n_positional == 0) {
        return list_importers();
    }
    const dl_importer *importer = NULL;
    const char *folder = dl_arguments_flag(arguments, "out"), *split = dl_arguments_flag(arguments, "split");
    const int n_inputs = arguments->n_positional - 1;
    int64_t n_shards = 1;
    DL_RETURN_IF_ERROR(find_importer(arguments->positional[0], &importer));
    DL_RETURN_ERROR_IF(n_inputs < importer->min_inputs || n_inputs > importer->max_inputs, DL_ERR_USAGE,
                       "data import %s wants %s; %d were given", importer->name, importer->usage, n_inputs);
    DL_RETURN_IF_ERROR(check_where(importer, folder, split));
    DL_RETURN_IF_ERROR(dl_arguments_int(arguments, "shards", 1, 256, 1, &n_shards));
    char who[64];
    (void)snprintf(who, sizeof who, "data import %s", importer->name);
    dl_import_request request = {.input = arguments->positional + 1,
                                 .n_inputs = n_inputs,
                                 .folder = folder,
                                 .split = split,
                                 .n_shards = (int)n_shards,
                                 .progress = dl_setup_progress};
    DL_RETURN_IF_ERROR(
        dl_data_take_options(arguments, who, N_COMMON_FLAGS, importer->options, request.option));
    DL_RETURN_IF_ERROR(importer->import(&request));
    return say_written(importer, folder, split);
}

const dl_command dl_command_data_import = {
    .name = "data import",
    .usage = "FORMAT INPUT... --out DIR [--split train|valid|test] [--shards N] [--OPTION ...]",
    .doc = "bring a data set into dltrain's own format",
    .help =
        "`dltrain data import` alone lists the formats and which options are whose. A split is written to\n"
        "DIR/SPLIT-00000-of-0000N.h5, in N files of even size; it appears whole or not at all. An existing\n"
        "split is not overwritten. datasets/FORMAT.md describes the files; h5py reads and writes them.",
    .make_flags = make_flags,
    .min_positional = 0,
    .max_positional = DL_MAX_ARGUMENTS,
    .run = run,
};
