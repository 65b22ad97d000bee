/* A text of numbered words or characters: /tokens. */
#include "base/mem.h"
#include "datasets/shard.h"

#include <inttypes.h>
#include <string.h>

enum { TOKENS_AT_ONCE = 65536 };

/* An attribute of /tokens, else of the root. */
static dl_status read_attribute(const dl_shard *shard, const char *name, int64_t *out, bool *found) {
    DL_RETURN_IF_ERROR(dl_h5_attribute_int(shard->file, "/tokens", name, out, found));
    return *found ? DL_OK : dl_h5_attribute_int(shard->file, "/", name, out, found);
}

static dl_status take_attributes(dl_shard *shard) {
    bool has_size = false, has_unk = false;
    shard->unk_id = -1;
    DL_RETURN_IF_ERROR(read_attribute(shard, "vocab_size", &shard->vocab_size, &has_size));
    DL_RETURN_IF_ERROR(read_attribute(shard, "unk_id", &shard->unk_id, &has_unk));
    DL_RETURN_ERROR_IF(has_size && (shard->vocab_size < 1 || shard->vocab_size > DL_MAX_CLASSES), DL_ERR_DATA,
                       "%s: attribute vocab_size of /tokens is %" PRId64
                       "; a number from 1 to 2147483647 is expected",
                       shard->path, shard->vocab_size);
    DL_RETURN_ERROR_IF(has_unk && (shard->unk_id < -1 || (has_size && shard->unk_id >= shard->vocab_size)),
                       DL_ERR_DATA,
                       "%s: attribute unk_id of /tokens is %" PRId64
                       "; a number below vocab_size is expected, or -1 for none",
                       shard->path, shard->unk_id);
    return DL_OK;
}

/* The digest of /meta/vocab, whose words are as many as the attribute says; none of words that cannot be
 * read.
 */
static dl_status take_words(dl_shard *shard) {
    dl_h5_texts words = {0};
    dl_digest *digest = NULL;
    bool found = false;
    dl_status status = dl_h5_read_texts(shard->file, "/meta/vocab", &words, &found);
    if (status == DL_ERR_DATA) { /* whoever needs the words says so: training does not */
        status = DL_OK;
        goto done;
    }
    DL_GOTO_IF_ERROR(status, status, done);
    DL_GOTO_ERROR_IF(status, found && shard->vocab_size > 0 && words.n != shard->vocab_size, done,
                     DL_ERR_DATA, "%s: /meta/vocab has %" PRId64 " words but vocab_size is %" PRId64,
                     shard->path, words.n, shard->vocab_size);
    if (found) {
        DL_GOTO_IF_ERROR(status, dl_digest_create(&digest), done);
        for (int64_t i = 0; i < words.n; i++) {
            dl_digest_add(digest, words.text[i], strlen(words.text[i]) + 1);
        }
        dl_digest_text(digest, shard->words);
    }
done:
    dl_digest_destroy(&digest);
    dl_h5_texts_free(&words);
    return status;
}

/* 16-bit tokens that stand at the beginning of a buffer, widened in it, from the last to the first. */
static void widen(int32_t *buffer, int64_t n) {
    for (int64_t i = n - 1; i >= 0; i--) {
        uint16_t token = 0;
        memcpy(&token, (const char *)buffer + 2 * i, sizeof token);
        buffer[i] = token;
    }
}

static dl_status check_block(dl_shard *shard, int64_t first, const int32_t *token, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        DL_RETURN_ERROR_IF(
            token[i] < 0 || (shard->vocab_size > 0 && token[i] >= shard->vocab_size), DL_ERR_DATA,
            "%s: token %" PRId64 " of /tokens is %" PRId32 "; %s%" PRId64 " are expected", shard->path,
            first + i, token[i], shard->vocab_size > 0 ? "numbers from 0 to vocab_size - 1 = " : "at least ",
            shard->vocab_size > 0 ? shard->vocab_size - 1 : 0);
        shard->largest_token = token[i] > shard->largest_token ? token[i] : shard->largest_token;
    }
    return DL_OK;
}

static dl_status check_all(dl_shard *shard, const dl_h5_dataset *tokens, int32_t *block) {
    for (int64_t first = 0; first < tokens->shape.dim[0]; first += TOKENS_AT_ONCE) {
        const int64_t left = tokens->shape.dim[0] - first, n = left < TOKENS_AT_ONCE ? left : TOKENS_AT_ONCE;
        DL_RETURN_IF_ERROR(dl_h5_read_rows(shard->file, tokens, first, n, block));
        if (tokens->dtype == DL_U16) {
            widen(block, n);
        }
        DL_RETURN_IF_ERROR(check_block(shard, first, block, n));
    }
    return DL_OK;
}

dl_status dl_shard_check_tokens(dl_shard *shard, const dl_h5_dataset *tokens) {
    char text[DL_SHAPE_TEXT_BYTES];
    DL_RETURN_ERROR_IF(tokens->dtype != DL_U16 && tokens->dtype != DL_I32, DL_ERR_DATA,
                       "%s: /tokens is %s; uint16 or int32 is expected", shard->path,
                       dl_dtype_name(tokens->dtype));
    DL_RETURN_ERROR_IF(tokens->shape.n_dims != 1 || tokens->shape.dim[0] < 1, DL_ERR_DATA,
                       "%s: /tokens has shape %s; [T] is expected, at least one token", shard->path,
                       dl_shape_text(&tokens->shape, text));
    DL_RETURN_IF_ERROR(take_attributes(shard));
    DL_RETURN_IF_ERROR(take_words(shard));
    shard->is_text = true;
    int32_t *block = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(TOKENS_AT_ONCE, sizeof *block, &block));
    const dl_status status = check_all(shard, tokens, block);
    dl_free(&block);
    return status;
}

dl_status dl_shard_read_tokens(const dl_shard *shard, int64_t first, int64_t n, int32_t *out) {
    const dl_h5_dataset *tokens = &shard->dataset[0];
    const size_t each = dl_dtype_bytes(tokens->dtype);
    if (tokens->offset < 0) {
        DL_RETURN_IF_ERROR(dl_h5_read_rows(shard->file, tokens, first, n, out));
    } else {
        memcpy(out, shard->bytes + tokens->offset + (size_t)first * each, (size_t)n * each);
    }
    if (tokens->dtype == DL_U16) {
        widen(out, n);
    }
    return DL_OK;
}
