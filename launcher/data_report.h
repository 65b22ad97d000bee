/* What the commands about data have in common. */
#ifndef DLTRAIN_LAUNCHER_DATA_REPORT_H
#define DLTRAIN_LAUNCHER_DATA_REPORT_H

#include "base/status.h"

/* DL_ERR_USAGE: "unknown format 'idy'; did you mean 'idx'?", or all names when none is near. */
DL_NODISCARD dl_status dl_data_unknown(const char *kind, const char *name, const char *const *names,
                                       size_t n);

/* Opens a split that was just written and prints one line about it. */
DL_NODISCARD dl_status dl_data_say_written(const char *folder, const char *split);

#endif
