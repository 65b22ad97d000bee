#define _GNU_SOURCE
#include "train/run_status.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"

#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

struct dl_run_status {
    char path[PATH_MAX];
    _Atomic int64_t step; /* noted last */
    pthread_mutex_t lock; /* of the rest, and of the file */
    dl_text line;         /* reused */
    dl_text inject;       /* what is to fail on purpose, empty: nothing */
    dl_run_state state;   /* in the file */
};

static const char *const states[DL_N_RUN_STATES] = {"running", "done", "stopped", "failed"};

dl_status dl_run_status_create(const char *path, dl_run_status **out) {
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof **out, out));
    (void)pthread_mutex_init(&(*out)->lock, NULL);
    const dl_status status = dl_path_join((*out)->path, sizeof(*out)->path, path, "status.json");
    if (status != DL_OK) {
        dl_run_status_destroy(out);
    }
    return status;
}

void dl_run_status_destroy(dl_run_status **status) {
    if (*status == NULL) {
        return;
    }
    (void)pthread_mutex_destroy(&(*status)->lock);
    dl_text_free(&(*status)->line);
    dl_text_free(&(*status)->inject);
    dl_free(status);
}

/* On a full disk there is no room for a new file, but in the one that is there. `why`: there is none. */
static dl_status overwrite(const char *path, const dl_text *line, dl_status why) {
    const int fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    const bool done = fd >= 0 && pwrite(fd, line->data, line->size, 0) == (ssize_t)line->size &&
                      ftruncate(fd, (off_t)line->size) == 0 && fsync(fd) == 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return done ? DL_OK : why;
}

/* With the lock. */
static dl_status write_file(dl_run_status *s, dl_run_state state, int exit_code, int64_t step,
                            const char *message) {
    dl_json json = dl_json_begin(&s->line);
    dl_json_string(&json, "state", states[state]);
    dl_json_int(&json, "exit", exit_code);
    dl_json_int(&json, "step", step);
    dl_json_string(&json, "message", message);
    if (s->inject.size > 0) {
        dl_json_string(&json, "inject", s->inject.data);
    }
    DL_RETURN_IF_ERROR(dl_json_end(&json));
    const dl_status status = dl_file_replace(s->path, s->line.data, s->line.size);
    DL_RETURN_IF_ERROR(status == DL_ERR_IO ? overwrite(s->path, &s->line, status) : status);
    s->state = state;
    return DL_OK;
}

dl_status dl_run_status_write(dl_run_status *status, dl_run_state state, int exit_code, int64_t step,
                              const char *message) {
    (void)pthread_mutex_lock(&status->lock);
    const bool was_ended = state == DL_RUN_RUNNING && status->state != DL_RUN_RUNNING;
    const dl_status written = was_ended ? DL_OK : write_file(status, state, exit_code, step, message);
    (void)pthread_mutex_unlock(&status->lock);
    return written;
}

dl_status dl_run_status_write_ahead(dl_run_status *status, int exit_code, const char *message) {
    dl_status written = DL_OK;
    (void)pthread_mutex_lock(&status->lock);
    if (status->state == DL_RUN_RUNNING) {
        written = write_file(status, DL_RUN_STOPPED, exit_code, atomic_load(&status->step), message);
    }
    (void)pthread_mutex_unlock(&status->lock);
    return written;
}

void dl_run_status_note_step(dl_run_status *status, int64_t step) {
    atomic_store_explicit(&status->step, step, memory_order_relaxed);
}

dl_status dl_run_status_set_inject(dl_run_status *status, const char *what) {
    dl_text_free(&status->inject);
    return dl_text_append(&status->inject, "%s", what);
}

int64_t dl_run_status_done(const char *path) {
    char file[PATH_MAX];
    if (dl_path_join(file, sizeof file, path, "status.json") != DL_OK) {
        return -1;
    }
    json_t *status = json_load_file(file, 0, NULL);
    const char *state = json_string_value(json_object_get(status, "state"));
    const json_t *step = json_object_get(status, "step");
    const bool is_done = state != NULL && strcmp(state, states[DL_RUN_DONE]) == 0 && json_is_integer(step);
    const int64_t last = is_done ? json_integer_value(step) : -1;
    json_decref(status);
    return last;
}
