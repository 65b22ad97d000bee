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
        good = printf("  %-10s %s\n", (*each)->name, (*each)->doc) > 0;
    }
    DL_RETURN_ERROR_IF(!good || fflush(stdout) != 0, DL_ERR_IO, "cannot write to stdout");
    return DL_OK;
}

static dl_status run(const dl_arguments *arguments) {
    if (arguments->n_positional == 0) {
        return list_makers();
    }
    const dl_maker *maker = NULL;
    const char *folder = dl_arguments_flag(arguments, "out");
    int64_t seed = 1;
    DL_RETURN_IF_ERROR(find_maker(arguments->positional[0], &maker));
    DL_RETURN_ERROR_IF(folder == NULL, DL_ERR_USAGE, "data make wants --out DIR: the folder to write to");
    DL_RETURN_IF_ERROR(dl_arguments_int(arguments, "seed", 0, INT64_MAX, 1, &seed));
    DL_RETURN_IF_ERROR(maker->make(folder, (uint64_t)seed, dl_setup_progress));
    DL_RETURN_IF_ERROR(dl_data_say_written(folder, "train"));
    return dl_data_say_written(folder, "test");
}

const dl_command dl_command_data_make = {
    .name = "data make",
    .usage = "NAME --out DIR [--seed 1]",
    .doc = "make a data set without any input",
    .help = "`dltrain data make` alone lists the data sets. The same seed makes the same bytes on every\n"
            "machine.",
    .flags =
        (const dl_flag[]){
            {"out", "DIR", "folder to write to; made if need be"},
            {"seed", "N", "another seed, other samples (default 1)"},
            {NULL, NULL, NULL},
        },
    .min_positional = 0,
    .max_positional = 1,
    .run = run,
};
