#include "datasets/dataset.h"
#include "launcher/data_report.h"
#include "launcher/setup.h"

#include <stdio.h>

static dl_status find_maker(const char *name, const dl_maker **out) {
    const char *names[64];
    size_t n = 0;
    *out = dl_maker_find(name);
    for (const dl_maker *const *each = dl_makers(); *each != NULL && n < 64; each++) {
        names[n++] = (*each)->name;
    }
    return *out != NULL ? DL_OK : dl_data_unknown("data set", name, names, n);
}

static dl_status list_makers(void) {
    bool good = printf("data sets that can be made:\n") > 0;
    for (const dl_maker *const *each = dl_makers(); *each != NULL && good; each++) {
        good = printf("  %-10s %s\n", (*each)->name, (*each)->doc) > 0 &&
               dl_data_print_options((*each)->options);
    }
    DL_RETURN_ERROR_IF(!good || fflush(stdout) != 0, DL_ERR_IO, "cannot write to stdout");
    return DL_OK;
}

enum { N_COMMON_FLAGS = 3 };

static const dl_flag *make_flags(void) {
    static dl_flag flags[DL_MAX_FLAGS + 1] = {
        {"out", "DIR", "folder to write to; made if need be"},
        {"seed", "N", "another seed, other samples (default 1)"},
        {"shards", "N", "number of files of each split (1 to 256, default 1)"},
    };
    for (const dl_maker *const *each = dl_makers(); *each != NULL; each++) {
        dl_data_add_flags(flags, (*each)->options);
    }
    return flags;
}

static dl_status run(const dl_arguments *arguments) {
    if (arguments->n_positional == 0) {
        return list_makers();
    }
    const dl_maker *maker = NULL;
    const char *folder = dl_arguments_flag(arguments, "out");
    int64_t seed = 1, n_shards = 1;
    DL_RETURN_IF_ERROR(find_maker(arguments->positional[0], &maker));
    DL_RETURN_ERROR_IF(folder == NULL, DL_ERR_USAGE, "data make wants --out DIR: the folder to write to");
    DL_RETURN_IF_ERROR(dl_arguments_int(arguments, "seed", 0, INT64_MAX, 1, &seed));
    DL_RETURN_IF_ERROR(dl_arguments_int(arguments, "shards", 1, 256, 1, &n_shards));
    char who[64];
    (void)snprintf(who, sizeof who, "data make %s", maker->name);
    dl_make_request request = {
        .folder = folder, .seed = (uint64_t)seed, .n_shards = (int)n_shards, .progress = dl_setup_progress};
    DL_RETURN_IF_ERROR(dl_data_take_options(arguments, who, N_COMMON_FLAGS, maker->options, request.option));
    DL_RETURN_IF_ERROR(maker->make(&request));
    const struct {
        const char *name;
        int64_t n;
    } splits[] = {{"train", maker->train.n_samples},
                  {"valid", maker->valid.n_samples},
                  {"test", maker->test.n_samples}};
    for (size_t i = 0; i < 3; i++) {
        if (splits[i].n > 0) {
            DL_RETURN_IF_ERROR(dl_data_say_written(folder, splits[i].name));
        }
    }
    return DL_OK;
}

const dl_command dl_command_data_make = {
    .name = "data make",
    .usage = "NAME --out DIR [--seed 1] [--shards N] [--OPTION ...]",
    .doc = "make a data set without any input",
    .help = "`dltrain data make` alone lists the data sets. The same seed makes the same bytes on every\n"
            "machine.",
    .make_flags = make_flags,
    .min_positional = 0,
    .max_positional = 1,
    .run = run,
};
