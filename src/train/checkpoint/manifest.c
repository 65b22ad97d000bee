/* The manifest: one line of JSON that ends in a digest of all before it. A damaged one is found by that
 * digest; the checks behind it are for manifests that somebody made, with a fitting digest, by mistake or in
 * malice. */
#define _GNU_SOURCE
#include "base/thread.h"
#include "train/checkpoint/checkpoint_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MAX_DEPTH = 32,
    MAX_VALUES = 4 << 20, /* of JSON, which takes 20 to 100 bytes of memory for each */
    MAX_TEXT_BYTES = 129,
    FORMAT_KEYS = 12 /* with the digest */
};
static const char tail_start[] = ",\"digest\":\"", tail_end[] = "\"}\n";
enum { TAIL_BYTES = sizeof tail_start - 1 + DL_DIGEST_TEXT_BYTES - 1 + sizeof tail_end - 1 };
static const int64_t max_count = (int64_t)1 << 53;

/* --- writing --- */

dl_status dl_checkpoint_manifest_text(const json_t *root, dl_text *out) {
    char digest[DL_DIGEST_TEXT_BYTES];
    char *text = json_dumps(root, JSON_COMPACT);
    DL_RETURN_ERROR_IF(text == NULL, DL_ERR_MEMORY,
                       "cannot write a manifest: out of memory, or a text that is not UTF-8");
    const size_t n = strlen(text) - 1; /* without the closing brace */
    dl_digest_of(text, n, digest);
    dl_status status = dl_text_append_bytes(out, text, n);
    if (status == DL_OK) {
        status = dl_text_append(out, "%s%s%s", tail_start, digest, tail_end);
    }
    free(text);
    return status;
}

json_t *dl_checkpoint_json_ints(const int64_t *values, int n) {
    json_t *list = json_array();
    for (int i = 0; i < n && list != NULL; i++) {
        if (json_array_append_new(list, json_integer(values[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

/* --- checked values --- */

dl_status dl_checkpoint_take(const char *path, const json_t *object, const char *where, const char *key,
                             json_type type, json_t **out) {
    static const char *const names[] = {"an object", "an array", "a string", "a whole number", "a number"};
    *out = json_object_get(object, key);
    DL_RETURN_ERROR_IF(*out == NULL || json_typeof(*out) != type, DL_ERR_CORRUPT,
                       "%s is damaged: %s%s%s must be %s", path, where, where[0] != '\0' ? "." : "", key,
                       names[type]);
    return DL_OK;
}

dl_status dl_checkpoint_take_int(const char *path, const json_t *object, const char *where, const char *key,
                                 int64_t min, int64_t max, int64_t *out) {
    json_t *value = NULL;
    DL_RETURN_IF_ERROR(dl_checkpoint_take(path, object, where, key, JSON_INTEGER, &value));
    *out = (int64_t)json_integer_value(value);
    DL_RETURN_ERROR_IF(*out < min || *out > max, DL_ERR_CORRUPT,
                       "%s is damaged: %s%s%s is %" PRId64 ", not from %" PRId64 " to %" PRId64, path, where,
                       where[0] != '\0' ? "." : "", key, *out, min, max);
    return DL_OK;
}

dl_status dl_checkpoint_take_text(const char *path, const json_t *object, const char *where, const char *key,
                                  size_t max_bytes, const char **out) {
    json_t *value = NULL;
    DL_RETURN_IF_ERROR(dl_checkpoint_take(path, object, where, key, JSON_STRING, &value));
    *out = json_string_value(value);
    DL_RETURN_ERROR_IF(strlen(*out) >= max_bytes, DL_ERR_CORRUPT, "%s is damaged: %s%s%s is too long", path,
                       where, where[0] != '\0' ? "." : "", key);
    return DL_OK;
}

dl_status dl_checkpoint_take_no_more(const char *path, const json_t *object, const char *where, size_t n) {
    DL_RETURN_ERROR_IF(json_object_size(object) != n, DL_ERR_CORRUPT,
                       "%s is damaged: %s has keys that format %d does not know", path,
                       where[0] != '\0' ? where : "it", DL_CHECKPOINT_FORMAT);
    return DL_OK;
}

/* --- reading --- */

static dl_status check_digest(const char *path, const char *text, size_t n_bytes) {
    char digest[DL_DIGEST_TEXT_BYTES];
    const size_t start = sizeof tail_start - 1, hex = DL_DIGEST_TEXT_BYTES - 1, end = sizeof tail_end - 1;
    const char *tail = n_bytes > TAIL_BYTES ? text + n_bytes - TAIL_BYTES : NULL;
    DL_RETURN_ERROR_IF(tail == NULL || memcmp(tail, tail_start, start) != 0 ||
                           memcmp(tail + start + hex, tail_end, end) != 0,
                       DL_ERR_CORRUPT, "%s is damaged: bytes 0-%zu do not end in a digest (cut off?)", path,
                       n_bytes > 0 ? n_bytes - 1 : 0);
    dl_digest_of(text, n_bytes - TAIL_BYTES, digest);
    DL_RETURN_ERROR_IF(memcmp(tail + start, digest, hex) != 0, DL_ERR_CORRUPT,
                       "%s is damaged: bytes 0-%zu have the digest %s, %.32s was written", path,
                       n_bytes - TAIL_BYTES - 1, digest, tail + start);
    return DL_OK;
}

/* Limits depth and number of values before any memory is taken for them. */
static dl_status check_size(const char *path, const char *text, size_t n_bytes) {
    int64_t depth = 0, deepest = 0, n_values = 0;
    bool in_string = false;
    for (size_t i = 0; i < n_bytes; i++) {
        const char c = text[i];
        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            deepest = ++depth > deepest ? depth : deepest;
            n_values++;
        } else if (c == ']' || c == '}') {
            depth--;
        } else {
            n_values += c == ',';
        }
    }
    DL_RETURN_ERROR_IF(deepest > MAX_DEPTH, DL_ERR_CORRUPT, "%s is damaged: values are nested deeper than %d",
                       path, MAX_DEPTH);
    DL_RETURN_ERROR_IF(n_values > MAX_VALUES, DL_ERR_CORRUPT, "%s is damaged: more than %d values", path,
                       MAX_VALUES);
    return DL_OK;
}

static dl_status parse_json(const char *path, const char *text, size_t n_bytes, json_t **root) {
    json_error_t error;
    *root = json_loadb(text, n_bytes, JSON_REJECT_DUPLICATES, &error);
    DL_RETURN_ERROR_IF(*root == NULL && json_error_code(&error) == json_error_out_of_memory, DL_ERR_MEMORY,
                       "cannot read %s: out of memory", path);
    DL_RETURN_ERROR_IF(*root == NULL, DL_ERR_CORRUPT, "%s is damaged: %.100s at byte %d", path, error.text,
                       error.position);
    DL_RETURN_ERROR_IF(!json_is_object(*root), DL_ERR_CORRUPT, "%s is damaged: it is no JSON object", path);
    return DL_OK;
}

static dl_status parse_about(dl_checkpoint *c, const char *path) {
    int64_t format = 0, ranks = 0;
    json_t *versions = NULL, *state = NULL, *value = NULL;
    const char *key = NULL;
    DL_RETURN_IF_ERROR(dl_checkpoint_take_int(path, c->root, "", "format", 1, INT32_MAX, &format));
    DL_RETURN_ERROR_IF(format != DL_CHECKPOINT_FORMAT, DL_ERR_CORRUPT,
                       "%s is of format %" PRId64 ", this program reads format %d: use a newer one", path,
                       format, DL_CHECKPOINT_FORMAT);
    DL_RETURN_IF_ERROR(dl_checkpoint_take_int(path, c->root, "", "step", 0, max_count, &c->about.step));
    DL_RETURN_IF_ERROR(dl_checkpoint_take_int(path, c->root, "", "epoch", 0, max_count, &c->about.epoch));
    DL_RETURN_IF_ERROR(dl_checkpoint_take_int(path, c->root, "", "samples", 0, max_count, &c->about.samples));
    DL_RETURN_IF_ERROR(
        dl_checkpoint_take_int(path, c->root, "", "ranks", 1, DL_CHECKPOINT_MAX_RANKS, &ranks));
    c->about.ranks = (int)ranks;
    DL_RETURN_IF_ERROR(
        dl_checkpoint_take_text(path, c->root, "", "config_digest", MAX_TEXT_BYTES, &c->about.config_digest));
    DL_RETURN_IF_ERROR(
        dl_checkpoint_take_text(path, c->root, "", "data_digest", MAX_TEXT_BYTES, &c->about.data_digest));
    DL_RETURN_IF_ERROR(dl_checkpoint_take(path, c->root, "", "versions", JSON_OBJECT, &versions));
    DL_RETURN_IF_ERROR(dl_checkpoint_take(path, c->root, "", "state", JSON_OBJECT, &state));
    json_object_foreach(versions, key, value) {
        DL_RETURN_ERROR_IF(!json_is_string(value), DL_ERR_CORRUPT,
                           "%s is damaged: versions.%.60s must be a string", path, key);
    }
    c->about.versions = versions;
    c->about.state = state;
    return dl_checkpoint_take_no_more(path, c->root, "", FORMAT_KEYS);
}

dl_status dl_checkpoint_parse_file(const char *path, const json_t *value, const char *where,
                                   dl_checkpoint_file *out) {
    json_t *blocks = NULL;
    DL_RETURN_ERROR_IF(!json_is_object(value), DL_ERR_CORRUPT, "%s is damaged: %s must be an object", path,
                       where);
    DL_RETURN_IF_ERROR(
        dl_checkpoint_take_text(path, value, where, "name", DL_CHECKPOINT_PART_NAME_BYTES, &out->name));
    DL_RETURN_IF_ERROR(dl_checkpoint_take_int(path, value, where, "bytes", 1, max_count, &out->n_bytes));
    DL_RETURN_IF_ERROR(
        dl_checkpoint_take_text(path, value, where, "digest", DL_DIGEST_TEXT_BYTES, &out->digest));
    DL_RETURN_IF_ERROR(dl_checkpoint_take(path, value, where, "blocks", JSON_ARRAY, &blocks));
    DL_RETURN_IF_ERROR(dl_checkpoint_take_no_more(path, value, where, 4));
    DL_RETURN_ERROR_IF(!dl_checkpoint_is_part(out->name), DL_ERR_CORRUPT,
                       "%s is damaged: %s.name is not part-NNNNN.h5", path, where);
    bool good = dl_checkpoint_is_digest(out->digest) &&
                (int64_t)json_array_size(blocks) ==
                    (out->n_bytes + DL_CHECKPOINT_BLOCK_BYTES - 1) / DL_CHECKPOINT_BLOCK_BYTES;
    for (size_t i = 0; i < json_array_size(blocks) && good; i++) {
        const char *text = json_string_value(json_array_get(blocks, i));
        good = text != NULL && dl_checkpoint_is_digest(text);
    }
    DL_RETURN_ERROR_IF(!good, DL_ERR_CORRUPT,
                       "%s is damaged: the digests of %s are not those of %" PRId64 " bytes", path, where,
                       out->n_bytes);
    out->blocks = blocks;
    out->n_blocks = (int)json_array_size(blocks);
    return DL_OK;
}

static dl_status parse_files(dl_checkpoint *c, const char *path) {
    json_t *files = NULL;
    DL_RETURN_IF_ERROR(dl_checkpoint_take(path, c->root, "", "files", JSON_ARRAY, &files));
    const size_t n = json_array_size(files);
    DL_RETURN_ERROR_IF(n != (size_t)c->about.ranks, DL_ERR_CORRUPT, "%s is damaged: %zu files of %d ranks",
                       path, n, c->about.ranks);
    DL_RETURN_IF_ERROR(dl_pool_alloc(c->pool, n, sizeof *c->file, &c->file));
    for (size_t i = 0; i < n; i++) {
        char where[32];
        (void)snprintf(where, sizeof where, "files[%zu]", i);
        DL_RETURN_IF_ERROR(dl_checkpoint_parse_file(path, json_array_get(files, i), where, &c->file[i]));
        DL_RETURN_ERROR_IF(i > 0 && strcmp(c->file[i - 1].name, c->file[i].name) >= 0, DL_ERR_CORRUPT,
                           "%s is damaged: files[%zu] is not in order of names", path, i);
        c->n_files++;
    }
    return DL_OK;
}

static dl_status parse_all(dl_checkpoint *c, const char *path, const char *text, size_t n_bytes) {
    DL_RETURN_ERROR_IF(n_bytes > DL_CHECKPOINT_MAX_MANIFEST_BYTES, DL_ERR_CORRUPT,
                       "%s is damaged: %zu bytes, at most %d", path, n_bytes,
                       DL_CHECKPOINT_MAX_MANIFEST_BYTES);
    DL_RETURN_IF_ERROR(check_digest(path, text, n_bytes));
    DL_RETURN_IF_ERROR(check_size(path, text, n_bytes));
    dl_thread_rest();
    DL_RETURN_IF_ERROR(parse_json(path, text, n_bytes, &c->root));
    dl_thread_rest();
    DL_RETURN_IF_ERROR(parse_about(c, path));
    DL_RETURN_IF_ERROR(parse_files(c, path));
    DL_RETURN_IF_ERROR(dl_checkpoint_parse_tensors(c, path));
    return DL_OK;
}

dl_status dl_checkpoint_manifest_parse(const char *path, const char *text, size_t n_bytes,
                                       dl_checkpoint **out) {
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof **out, out));
    (*out)->folder = -1;
    dl_checkpoint_json_begin();
    dl_status status = dl_pool_create(&(*out)->pool);
    if (status == DL_OK) {
        status = parse_all(*out, path, text, n_bytes);
    }
    status = dl_checkpoint_json_end(status, path);
    if (status != DL_OK) {
        dl_checkpoint_close(out);
    }
    return status;
}
