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

/* Fewer bytes than wanted where the file ends or cannot be read. */
static size_t read_block(int fd, char *out, size_t n, int64_t at) {
    size_t done = 0;
    while (done < n) {
        const size_t piece = n - done < DL_CHECKPOINT_PIECE_BYTES ? n - done : DL_CHECKPOINT_PIECE_BYTES;
        const ssize_t got = pread(fd, out + done, piece, at + (int64_t)done);
        if (got < 0 && errno == EINTR) {
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
        const size_t got = read_block(s->fd, s->buffer, n, first);
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
    char hex[DL_DIGEST_TEXT_BYTES], extra = 0;
    const size_t before = s->damage->size;
    DL_RETURN_IF_ERROR(compare_blocks(s));
    dl_digest_text(s->digest, hex);
    if (s->damage->size == before && strcmp(hex, s->file->digest) != 0) {
        DL_RETURN_IF_ERROR(
            add_damage(s->damage, s->file->name, 0, s->file->n_bytes - 1, "are not those written"));
    }
    if (read_block(s->fd, &extra, 1, s->file->n_bytes) != 0) {
        DL_RETURN_IF_ERROR(
            add_damage(s->damage, s->file->name, s->file->n_bytes, s->file->n_bytes, "do not belong to it"));
    }
    return DL_OK;
}

dl_status dl_checkpoint_verify_file(dl_checkpoint *c, int index, dl_text *damage) {
    dl_checkpoint_file *file = &c->file[index];
    scan s = {.file = file, .fd = -1, .bad_first = -1, .damage = damage};
    if (file->verified) {
        return DL_OK;
    }
    const size_t before = damage->size;
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, dl_alloc(1, DL_CHECKPOINT_BLOCK_BYTES, &s.buffer), done);
    DL_GOTO_IF_ERROR(status, dl_digest_create(&s.digest), done);
    s.fd = openat(c->folder, file->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    DL_GOTO_ERROR_IF(status, s.fd < 0 && errno != ENOENT && errno != ELOOP, done, DL_ERR_IO,
                     "cannot open %s/%s: %s", c->path, file->name, strerror(errno));
    if (s.fd < 0) {
        DL_GOTO_IF_ERROR(status, add_damage(damage, file->name, 0, file->n_bytes - 1, "are missing"), done);
    } else {
        if (c->from_disk) {
            (void)posix_fadvise(s.fd, 0, 0, POSIX_FADV_DONTNEED); /* a hint: some file systems keep them */
        }
        DL_GOTO_IF_ERROR(status, compare_file(&s), done);
    }
    file->verified = damage->size == before;
done:
    if (s.fd >= 0) {
        (void)close(s.fd);
    }
    dl_digest_destroy(&s.digest);
    dl_free(&s.buffer);
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
