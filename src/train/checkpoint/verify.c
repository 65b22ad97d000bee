/* Comparing files with their digests, block by block. */
#define _GNU_SOURCE
#include "base/thread.h"
#include "train/checkpoint/checkpoint_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Messages have room for so much. */
enum { MAX_DAMAGE_BYTES = 1500 };

typedef struct scan {
    const dl_checkpoint_file *file;
    int fd;
    bool direct; /* fd is O_DIRECT */
    const atomic_bool *stop;
    char *buffer;
    dl_digest *digest;
    int64_t bad_first; /* the run of bad blocks that is growing, -1: none */
    dl_text *damage;
} scan;

static dl_status add_damage(dl_text *damage, const char *file, int64_t first, int64_t last,
                            const char *what) {
    if (damage->size > MAX_DAMAGE_BYTES) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_text_append(damage, "%s%s: bytes %" PRId64 "-%" PRId64 " %s",
                                      damage->size > 0 ? "; " : "", file, first, last, what));
    return DL_OK;
}

/* Past the system's memory of it, if that is wanted and the file system can. -1: errno says why not. */
static int open_part(const dl_checkpoint *c, const char *name, bool *direct) {
    const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    const int past = c->from_disk ? openat(c->folder, name, flags | O_DIRECT) : -1;
    *direct = past >= 0;
    const int fd = past >= 0 ? past : openat(c->folder, name, flags);
    if (fd >= 0 && c->from_disk) {
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* for what O_DIRECT does not read */
    }
    return fd;
}

/* Fewer bytes than wanted where the file ends or cannot be read. */
static size_t read_block(scan *s, char *out, size_t n, int64_t at) {
    size_t done = 0;
    while (done < n) {
        const size_t left = n - done;
        const size_t piece = s->direct || left < DL_CHECKPOINT_PIECE_BYTES ? left : DL_CHECKPOINT_PIECE_BYTES;
        const ssize_t got = pread(s->fd, out + done, piece, at + (int64_t)done);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0 && errno == EINVAL && s->direct) { /* no whole number of the disk's blocks */
            s->direct = false;
            (void)fcntl(s->fd, F_SETFL, 0);
            continue;
        }
        if (got <= 0) {
            break;
        }
        done += (size_t)got;
        dl_thread_rest();
    }
    return done;
}

static dl_status end_bad_run(scan *s, int64_t end) {
    if (s->bad_first >= 0) {
        DL_RETURN_IF_ERROR(add_damage(s->damage, s->file->name, s->bad_first, end - 1, "are damaged"));
        s->bad_first = -1;
    }
    return DL_OK;
}

static dl_status compare_blocks(scan *s) {
    char hex[DL_DIGEST_TEXT_BYTES];
    for (int i = 0; i < s->file->n_blocks; i++) {
        const int64_t first = (int64_t)i * DL_CHECKPOINT_BLOCK_BYTES, left = s->file->n_bytes - first;
        const size_t n = left < DL_CHECKPOINT_BLOCK_BYTES ? (size_t)left : DL_CHECKPOINT_BLOCK_BYTES;
        DL_RETURN_ERROR_IF(s->stop != NULL && atomic_load(s->stop), DL_INTERRUPTED,
                           "reading %s again was stopped at byte %" PRId64, s->file->name, first);
        const size_t got = read_block(s, s->buffer, n, first);
        dl_checkpoint_digest_block(s->digest, s->buffer, got, hex);
        if (got != n || strcmp(hex, json_string_value(json_array_get(s->file->blocks, (size_t)i))) != 0) {
            s->bad_first = s->bad_first < 0 ? first : s->bad_first;
        } else {
            DL_RETURN_IF_ERROR(end_bad_run(s, first));
        }
    }
    return end_bad_run(s, s->file->n_bytes);
}

static dl_status compare_file(scan *s) {
    char hex[DL_DIGEST_TEXT_BYTES];
    const size_t before = s->damage->size;
    DL_RETURN_IF_ERROR(compare_blocks(s));
    dl_digest_text(s->digest, hex);
    if (s->damage->size == before && strcmp(hex, s->file->digest) != 0) {
        DL_RETURN_IF_ERROR(
            add_damage(s->damage, s->file->name, 0, s->file->n_bytes - 1, "are not those written"));
    }
    if (read_block(s, s->buffer, 1, s->file->n_bytes) != 0) {
        DL_RETURN_IF_ERROR(
            add_damage(s->damage, s->file->name, s->file->n_bytes, s->file->n_bytes, "do not belong to it"));
    }
    return DL_OK;
}

dl_status dl_checkpoint_verify_file(dl_checkpoint *c, int index, dl_text *damage) {
    dl_checkpoint_file *file = &c->file[index];
    void *buffer = NULL;
    scan s = {.file = file, .fd = -1, .stop = c->stop, .bad_first = -1, .damage = damage};
    if (file->verified) {
        return DL_OK;
    }
    const size_t before = damage->size;
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, dl_pages_alloc(DL_CHECKPOINT_BLOCK_BYTES, &buffer), done);
    s.buffer = buffer;
    DL_GOTO_IF_ERROR(status, dl_digest_create(&s.digest), done);
    s.fd = open_part(c, file->name, &s.direct);
    DL_GOTO_ERROR_IF(status, s.fd < 0 && errno != ENOENT && errno != ELOOP, done, DL_ERR_IO,
                     "cannot open %s/%s: %s", c->path, file->name, strerror(errno));
    if (s.fd < 0) {
        DL_GOTO_IF_ERROR(status, add_damage(damage, file->name, 0, file->n_bytes - 1, "are missing"), done);
    } else {
        DL_GOTO_IF_ERROR(status, compare_file(&s), done);
    }
    file->verified = damage->size == before;
done:
    if (s.fd >= 0) {
        (void)close(s.fd);
    }
    dl_digest_destroy(&s.digest);
    dl_pages_free(buffer, DL_CHECKPOINT_BLOCK_BYTES);
    return status;
}

dl_status dl_checkpoint_verify(dl_checkpoint *c, int share, int n_shares) {
    dl_text damage = {0};
    dl_status status = DL_OK;
    for (int i = share; i < c->n_files && status == DL_OK; i += n_shares) {
        status = dl_checkpoint_verify_file(c, i, &damage);
    }
    if (status == DL_OK && damage.size > 0) {
        status = dl_error_raise(DL_ERR_CORRUPT, __FILE__, __LINE__, __func__, "%s is damaged: %s", c->path,
                                damage.data);
    }
    dl_text_free(&damage);
    return status;
}

void dl_checkpoint_trust(dl_checkpoint *c) {
    for (int i = 0; i < c->n_files; i++) {
        c->file[i].verified = true;
    }
}

dl_status dl_checkpoint_read_again(const char *checkpoints, int64_t step, const char *part,
                                   const atomic_bool *stop) {
    dl_checkpoint_file file = {0};
    dl_checkpoint c = {.folder = -1, .from_disk = true, .stop = stop, .n_files = 1, .file = &file};
    DL_RETURN_IF_ERROR(dl_checkpoint_path(checkpoints, step, c.path, sizeof c.path));
    DL_RETURN_IF_ERROR(dl_checkpoint_open_folder(c.path, &c.folder));
    dl_checkpoint_json_begin();
    json_t *object = json_loads(part, JSON_REJECT_DUPLICATES, NULL);
    dl_status status = dl_checkpoint_parse_file(c.path, json_object_get(object, "file"), "file", &file);
    status = dl_checkpoint_json_end(status, c.path);
    if (status == DL_OK) {
        status = dl_checkpoint_verify(&c, 0, 1);
    }
    json_decref(object);
    (void)close(c.folder);
    return status;
}
