/* What the commands about data have in common. */
#ifndef DLTRAIN_LAUNCHER_DATA_REPORT_H
#define DLTRAIN_LAUNCHER_DATA_REPORT_H

#include "datasets/dataset.h"
#include "launcher/command.h"

#include <jansson.h>

/* DL_ERR_USAGE: "unknown format 'idy'; did you mean 'idx'?", or all names when none is near. */
DL_NODISCARD dl_status dl_data_unknown(const char *kind, const char *name, const char *const *names,
                                       size_t n);

/* Opens a split that was just written and prints one line about it. */
DL_NODISCARD dl_status dl_data_say_written(const char *folder, const char *split);

/* Appends an importer's or maker's options (may be NULL) to a command's flags [DL_MAX_FLAGS + 1], each name
 * once. */
void dl_data_add_flags(dl_flag *flags, const dl_data_option *options);

/* The values of `options` from the command line, into value[DL_MAX_DATA_OPTIONS]. DL_ERR_USAGE when a flag is
 * given that is neither among them nor among the command's n_common first ones. `who`: "data import idx". */
DL_NODISCARD dl_status dl_data_take_options(const dl_arguments *arguments, const char *who, int n_common,
                                            const dl_data_option *options, const char **value);

/* Prints options for a list of importers or makers; false when stdout fails. */
bool dl_data_print_options(const dl_data_option *options);

/* A JSON list of n numbers: shapes, counts. n may be 0, `number` then NULL. The caller owns it. */
json_t *dl_data_json_numbers(const int64_t *number, int64_t n);

enum { DL_FIELD_TEXT_BYTES = 192 };

/* "           x        uint8 [28, 28, 1]" into out; returns out. */
const char *dl_data_field_text(const dl_field *field, char out[DL_FIELD_TEXT_BYTES]);

/* Reports one open split: into the JSON list `context`, or to stdout when that is NULL. */
typedef dl_status (*dl_data_reporter)(const char *split, dl_dataset *dataset, void *context);

/* Opens every split of the folder, or the file, that is the command's first word, and reports each: as text,
 * or with --json as one object {"path":..., "splits":[...]}. */
DL_NODISCARD dl_status dl_data_report(const dl_arguments *arguments, dl_data_reporter report);

#endif
