/* Status codes and the error trace.
 *
 * Every function that can fail returns a dl_status. The first failure records a message; each caller on the
 * way up adds one frame (file, line, function, what it was doing). The record is per thread: a worker thread
 * hands its error over with dl_error_take() / dl_error_restore(). Nothing below launcher/ exits or prints. */
#ifndef DLTRAIN_BASE_STATUS_H
#define DLTRAIN_BASE_STATUS_H

#include <stdbool.h>
#include <stddef.h>

/* Codes are the program's exit codes (see `dltrain help exit`): ENTRY(name, number, text). */
#define DL_STATUS_LIST(ENTRY)                                                                                \
    ENTRY(DL_OK, 0, "done")                                                                                  \
    ENTRY(DL_ERR_USAGE, 2, "usage, configuration or mismatch")                                               \
    ENTRY(DL_ERR_DATA, 65, "bad data")                                                                       \
    ENTRY(DL_ERR_INTERNAL, 70, "internal error")                                                             \
    ENTRY(DL_ERR_MEMORY, 71, "out of memory")                                                                \
    ENTRY(DL_ERR_IO, 74, "input/output error")                                                               \
    ENTRY(DL_ERR_PEER, 75, "a peer process died")                                                            \
    ENTRY(DL_ERR_HANG, 76, "a process hangs")                                                                \
    ENTRY(DL_ERR_DIVERGED, 77, "training diverged")                                                          \
    ENTRY(DL_ERR_CORRUPT, 78, "corrupt checkpoint")                                                          \
    ENTRY(DL_STOPPED, 85, "stopped, checkpoint committed")                                                   \
    ENTRY(DL_INTERRUPTED, 130, "stopped by a signal, weights.h5 written, no checkpoint")

typedef enum dl_code {
#define DL_STATUS_ENUM(name, number, text) name = number,
    DL_STATUS_LIST(DL_STATUS_ENUM)
#undef DL_STATUS_ENUM
} dl_code;

#define DL_NODISCARD __attribute__((warn_unused_result))
#define DL_PRINTF(format_index, first_index) __attribute__((format(printf, format_index, first_index)))

/* The return type of functions that can fail; ignoring one is a compiler warning. */
typedef dl_code dl_status;

enum { DL_ERROR_MESSAGE_BYTES = 2048, DL_ERROR_FRAMES = 16, DL_ERROR_DOING_BYTES = 160 };

typedef struct dl_error_frame {
    const char *file;
    int line;
    const char *function;
    char doing[DL_ERROR_DOING_BYTES]; /* "reading data/digits/train-0.h5", or the text of the failed call */
} dl_error_frame;

/* One failure: the code, the message for the user, and the path it took upwards (innermost frame first). */
typedef struct dl_error {
    dl_code code;
    bool reported; /* the user has already been told (configuration mistakes, for example) */
    char message[DL_ERROR_MESSAGE_BYTES];
    int n_frames;
    dl_error_frame frame[DL_ERROR_FRAMES];
} dl_error;

/* Text of a code; "unknown" for numbers outside the list. */
const char *dl_code_text(dl_code code);

/* Records a new error for this thread, replacing an earlier one, and returns `code`. */
dl_status dl_error_raise(dl_code code, const char *file, int line, const char *function, const char *format,
                         ...) DL_PRINTF(5, 6);

/* Adds a frame to this thread's error (silently none when DL_ERROR_FRAMES are taken) and returns `code`. */
dl_status dl_error_add_frame(dl_status code, const char *file, int line, const char *function,
                             const char *format, ...) DL_PRINTF(5, 6);

/* This thread's last error. Valid until the next failure on this thread. */
const dl_error *dl_error_last(void);

/* Marks this thread's error as already told to the user. */
void dl_error_mark_reported(void);

/* Copies this thread's error into *out, to carry it to another thread or rank. */
void dl_error_take(dl_error *out);

/* Makes *error this thread's error and returns its code. */
dl_status dl_error_restore(const dl_error *error);

/* Formats the trace, one line a frame, into `out` (always terminated). */
void dl_error_format_trace(const dl_error *error, char *out, size_t n_bytes);

/* The flow macros; the names say that they may leave the function. */

/* Fails with a message. */
#define DL_RETURN_ERROR(code, ...) return dl_error_raise((code), __FILE__, __LINE__, __func__, __VA_ARGS__)

#define DL_RETURN_ERROR_IF(condition, code, ...)                                                             \
    do {                                                                                                     \
        if (condition) {                                                                                     \
            DL_RETURN_ERROR(code, __VA_ARGS__);                                                              \
        }                                                                                                    \
    } while (0)

/* Passes a failure on, adding a frame that shows the call's text. */
#define DL_RETURN_IF_ERROR(call)                                                                             \
    do {                                                                                                     \
        const dl_status dl_status_ = (call);                                                                 \
        if (dl_status_ != DL_OK) {                                                                           \
            return dl_error_add_frame(dl_status_, __FILE__, __LINE__, __func__, "%s", #call);                \
        }                                                                                                    \
    } while (0)

/* The same, the frame saying what was being done, to which thing. */
#define DL_RETURN_IF_ERROR_DOING(call, ...)                                                                  \
    do {                                                                                                     \
        const dl_status dl_status_ = (call);                                                                 \
        if (dl_status_ != DL_OK) {                                                                           \
            return dl_error_add_frame(dl_status_, __FILE__, __LINE__, __func__, __VA_ARGS__);                \
        }                                                                                                    \
    } while (0)

/* For functions that own something: the failure goes into `status` (a dl_status variable), then to `label`.
 */
#define DL_GOTO_IF_ERROR(status, call, label)                                                                \
    do {                                                                                                     \
        (status) = (call);                                                                                   \
        if ((status) != DL_OK) {                                                                             \
            (void)dl_error_add_frame((status), __FILE__, __LINE__, __func__, "%s", #call);                   \
            goto label;                                                                                      \
        }                                                                                                    \
    } while (0)

#define DL_GOTO_ERROR_IF(status, condition, label, code, ...)                                                \
    do {                                                                                                     \
        if (condition) {                                                                                     \
            (status) = dl_error_raise((code), __FILE__, __LINE__, __func__, __VA_ARGS__);                    \
            goto label;                                                                                      \
        }                                                                                                    \
    } while (0)

#endif
