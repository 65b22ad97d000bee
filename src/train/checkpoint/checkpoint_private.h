/* What the files of this folder share: names, the folder on disk, the parsed manifest. */
#ifndef DLTRAIN_TRAIN_CHECKPOINT_CHECKPOINT_PRIVATE_H
#define DLTRAIN_TRAIN_CHECKPOINT_CHECKPOINT_PRIVATE_H

#include "base/digest.h"
#include "base/mem.h"
#include "io/h5.h"
#include "train/checkpoint/checkpoint.h"

#include <limits.h>
#include <signal.h>

/* --- names (names.c) --- */

#define DL_CHECKPOINT_MANIFEST "manifest.json"
/* The mark of a folder whose save has begun and is not committed. Rank 0 writes the manifest into it and
 * renames it: that takes the mark away and makes the checkpoint in one step. Deleting goes the same way back.
 */
#define DL_CHECKPOINT_UNFINISHED "manifest.json.unfinished"

enum { DL_CHECKPOINT_STEP_NAME_BYTES = 32, DL_CHECKPOINT_PART_NAME_BYTES = 24 };

void dl_checkpoint_step_name(int64_t step, char out[DL_CHECKPOINT_STEP_NAME_BYTES]);
/* True for exactly what dl_checkpoint_step_name gives. */
bool dl_checkpoint_parse_step(const char *name, int64_t *step);
void dl_checkpoint_part_name(int rank, char out[DL_CHECKPOINT_PART_NAME_BYTES]);
bool dl_checkpoint_is_part(const char *name);
/* A usable name of a tensor, or path of a dataset: "/a/b", no control characters, no component "", "." or
 * "..". */
bool dl_checkpoint_is_tensor_name(const char *name);

/* --- the folder on disk (disk.c). What is in it is reached through its descriptor, and never through links.
 * --- */

/* Opens a folder (RUN/checkpoints may be a link to a larger disk). DL_ERR_USAGE when it is missing. */
DL_NODISCARD dl_status dl_checkpoint_open_folder(const char *path, int *fd);
/* fsync and close of a file that was written. The descriptor is closed in any case. */
DL_NODISCARD dl_status dl_checkpoint_finish_file(int fd, const char *path);
/* Writes all bytes at `offset`. The message of a failure has `n_wanted`, what the file still needs, and what
 * is free.
 */
DL_NODISCARD dl_status dl_checkpoint_write_at(int fd, const char *path, const void *bytes, size_t n_bytes,
                                              int64_t offset, int64_t n_wanted);
/* Reads and writes of blocks go in such pieces, with a rest of the thread behind each (base/thread.h). */
enum { DL_CHECKPOINT_PIECE_BYTES = 1 << 16 };
/* Digests a block by itself, into hex, and as the next one of its file. */
void dl_checkpoint_digest_block(dl_digest *file, const void *bytes, size_t n, char hex[DL_DIGEST_TEXT_BYTES]);
/* True when there is something of this name in the folder. */
bool dl_checkpoint_has(int folder, const char *name);
/* Calls visit(name, context) for every entry of a folder but . and .. until it returns false. */
DL_NODISCARD dl_status dl_checkpoint_each_entry(int folder, const char *path,
                                                bool (*visit)(const char *, void *), void *context);
/* A file-size limit shall be an error and no signal, for this thread and between these two calls. */
typedef struct dl_checkpoint_signals {
    sigset_t before;
    bool was_pending;
} dl_checkpoint_signals;
void dl_checkpoint_hold_signals(dl_checkpoint_signals *signals);
void dl_checkpoint_release_signals(const dl_checkpoint_signals *signals);

/* --- the manifest (manifest.c, manifest_tensors.c) --- */

enum { DL_CHECKPOINT_MAX_MANIFEST_BYTES = 64 << 20 };

typedef struct dl_checkpoint_file {
    const char *name, *digest; /* of the manifest's JSON */
    int64_t n_bytes;
    int n_blocks;
    const json_t *blocks;
    bool verified;
    dl_h5 *h5; /* open for reading, or NULL */
} dl_checkpoint_file;

typedef struct dl_checkpoint_piece {
    int file;
    const char *path; /* of the dataset in the file */
    int64_t offset[DL_MAX_DIMS];
    dl_shape shape;
} dl_checkpoint_piece;

typedef struct dl_checkpoint_entry {
    dl_checkpoint_tensor tensor;
    int n_pieces;
    dl_checkpoint_piece *piece;
} dl_checkpoint_entry;

struct dl_checkpoint {
    char path[PATH_MAX];     /* of the folder */
    int folder;              /* descriptor, -1: a manifest without its folder */
    bool from_disk;          /* files are verified as the disk has them, not as the system remembers them */
    const atomic_bool *stop; /* verifying ends when it is set; may be NULL */
    json_t *root;
    dl_pool *pool;
    dl_checkpoint_about about;
    int n_files, n_tensors, n_open;
    dl_checkpoint_file *file;
    dl_checkpoint_entry *entry; /* in bytewise order of names */
};

/* The manifest's text of a JSON object without a digest: one line that ends in its own digest. */
DL_NODISCARD dl_status dl_checkpoint_manifest_text(const json_t *root, dl_text *out);

/* Reads a manifest's text of any content; `path` is for messages. DL_ERR_CORRUPT says what is wrong where.
 * Release with dl_checkpoint_close. */
DL_NODISCARD dl_status dl_checkpoint_manifest_parse(const char *path, const char *text, size_t n_bytes,
                                                    dl_checkpoint **out);

/* Checked values of JSON objects; `where` is the object's place in the manifest. */
DL_NODISCARD dl_status dl_checkpoint_take_int(const char *path, const json_t *object, const char *where,
                                              const char *key, int64_t min, int64_t max, int64_t *out);
DL_NODISCARD dl_status dl_checkpoint_take_text(const char *path, const json_t *object, const char *where,
                                               const char *key, size_t max_bytes, const char **out);
DL_NODISCARD dl_status dl_checkpoint_take(const char *path, const json_t *object, const char *where,
                                          const char *key, json_type type, json_t **out);
/* Exactly n keys: no others than those taken. */
DL_NODISCARD dl_status dl_checkpoint_take_no_more(const char *path, const json_t *object, const char *where,
                                                  size_t n);
/* True for 32 lower-case hexadecimal digits. */
bool dl_checkpoint_is_digest(const char *text);

/* Reads an object of "files", whose place in the manifest is `where`. */
DL_NODISCARD dl_status dl_checkpoint_parse_file(const char *path, const json_t *value, const char *where,
                                                dl_checkpoint_file *out);

/* Reads "tensors" into checkpoint->entry, after its files. */
DL_NODISCARD dl_status dl_checkpoint_parse_tensors(dl_checkpoint *checkpoint, const char *path);

/* DL_ERR_CORRUPT unless the pieces cover the tensor exactly once. */
DL_NODISCARD dl_status dl_checkpoint_check_cover(const char *path, const dl_checkpoint_entry *entry);

/* The first elements and the shape of what two boxes share; false: nothing. */
bool dl_checkpoint_intersect(const int64_t *offset_a, const dl_shape *a, const int64_t *offset_b,
                             const dl_shape *b, int64_t *offset, dl_shape *shape);

/* Around work with JSON: where an allocation of it failed, the status becomes DL_ERR_MEMORY, whatever it was
 * (json_memory.c). Every dl_checkpoint_json_begin begins anew. */
void dl_checkpoint_json_begin(void);
DL_NODISCARD dl_status dl_checkpoint_json_end(dl_status status, const char *path);

/* [1, 2, 3] */
json_t *dl_checkpoint_json_ints(const int64_t *values, int n);

/* Verifies one file unless that was done. `damage` gets what is wrong with it. */
DL_NODISCARD dl_status dl_checkpoint_verify_file(dl_checkpoint *checkpoint, int index, dl_text *damage);

#endif
