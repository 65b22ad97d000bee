/* Diagnostics on stderr: levels, the rank's prefix. People's lines on stdout are train/console's business. */
#ifndef DLTRAIN_BASE_LOG_H
#define DLTRAIN_BASE_LOG_H

#include "base/status.h"

typedef enum dl_log_level { DL_LOG_ERROR, DL_LOG_WARN, DL_LOG_INFO, DL_LOG_DEBUG } dl_log_level;

/* Sets the level from DLTRAIN_LOG (error|warn|info|debug; default warn). DL_ERR_USAGE for another word. */
DL_NODISCARD dl_status dl_log_init(void);

/* From now on lines begin "dltrain: [rank R, HOST] " when n_ranks > 1. Warnings and info come from rank 0
 * only. */
void dl_log_set_rank(int rank, int n_ranks);

/* Also appends every line to this file (RUN/log.txt); NULL stops it. The caller keeps the descriptor open. */
void dl_log_set_file(int fd);

bool dl_log_enabled(dl_log_level level);

/* One line "dltrain: error: ..." on stderr, written with a single write(). Errors are prefixed with the rank
 * when `with_rank` asks for it; warnings and below print only on rank 0. */
void dl_log(dl_log_level level, const char *format, ...) DL_PRINTF(2, 3);

/* Prints an error once: "dltrain: error: MESSAGE" or "dltrain: [rank R, HOST] error: MESSAGE", and, at level
 * debug, its trace. Does nothing for an error already reported. */
void dl_log_error(const dl_error *error, bool with_rank);

#define DL_WARN(...) dl_log(DL_LOG_WARN, __VA_ARGS__)
#define DL_INFO(...) dl_log(DL_LOG_INFO, __VA_ARGS__)
#define DL_DEBUG(...) dl_log(DL_LOG_DEBUG, __VA_ARGS__)

#endif
