/* Reads any bytes as the manifest of a checkpoint. The digest at the end is made to fit: without that, chance
 * would not get past it. What is accepted keeps its promises. */
#define _GNU_SOURCE
#include "base/log.h"
#include "train/checkpoint/checkpoint_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static void check_pieces(const dl_checkpoint *c, const dl_checkpoint_entry *entry) {
    int64_t n_elements = 0;
    for (int i = 0; i < entry->n_pieces; i++) {
        const dl_checkpoint_piece *piece = &entry->piece[i];
        if (piece->file < 0 || piece->file >= c->n_files || !dl_checkpoint_is_tensor_name(piece->path)) {
            abort();
        }
        for (int k = 0; k < entry->tensor.shape.n_dims; k++) {
            if (piece->offset[k] < 0 || piece->shape.dim[k] < 0 ||
                piece->offset[k] > entry->tensor.shape.dim[k] - piece->shape.dim[k]) {
                abort();
            }
        }
        n_elements += dl_shape_elements(&piece->shape);
    }
    if (n_elements != dl_shape_elements(&entry->tensor.shape)) {
        abort();
    }
}

static void check(const dl_checkpoint *c) {
    for (int i = 0; i < c->n_files; i++) {
        if (!dl_checkpoint_is_part(c->file[i].name) || strchr(c->file[i].name, '/') != NULL ||
            c->file[i].n_bytes < 1) {
            abort();
        }
    }
    for (int i = 0; i < c->n_tensors; i++) {
        check_pieces(c, &c->entry[i]);
        if (dl_checkpoint_find(c, c->entry[i].tensor.name) != i) {
            abort();
        }
    }
}

static void parse(const char *text, size_t n_bytes) {
    dl_checkpoint *c = NULL;
    const dl_status status = dl_checkpoint_manifest_parse("manifest.json", text, n_bytes, &c);
    if (status == DL_OK) {
        check(c);
    } else if (c != NULL || dl_error_last()->message[0] == '\0') {
        abort();
    }
    dl_checkpoint_close(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    static const char start[] = ",\"digest\":\"", end[] = "\"}\n";
    char hex[DL_DIGEST_TEXT_BYTES];
    dl_text text = {0};
    parse((const char *)bytes, n_bytes);
    dl_digest_of(bytes, n_bytes, hex);
    if (dl_text_append_bytes(&text, bytes, n_bytes) != DL_OK ||
        dl_text_append(&text, "%s%s%s", start, hex, end) != DL_OK) {
        abort();
    }
    parse(text.data, text.size);
    dl_text_free(&text);
    return 0;
}
