#include "base/digest.h"

#include "base/mem.h"

#include <stdio.h>
#include <xxhash.h>

struct dl_digest {
    XXH3_state_t *state;
};

dl_status dl_digest_create(dl_digest **out) {
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof(dl_digest), out));
    (*out)->state = XXH3_createState();
    if ((*out)->state == NULL) {
        dl_digest_destroy(out);
        DL_RETURN_ERROR(DL_ERR_MEMORY, "cannot allocate a digest");
    }
    (void)XXH3_128bits_reset((*out)->state);
    return DL_OK;
}

void dl_digest_add(dl_digest *digest, const void *bytes, size_t n_bytes) {
    (void)XXH3_128bits_update(digest->state, bytes, n_bytes);
}

static void hash_text(XXH128_hash_t hash, char out[DL_DIGEST_TEXT_BYTES]) {
    (void)snprintf(out, DL_DIGEST_TEXT_BYTES, "%016llx%016llx", (unsigned long long)hash.high64,
                   (unsigned long long)hash.low64);
}

void dl_digest_text(const dl_digest *digest, char out[DL_DIGEST_TEXT_BYTES]) {
    hash_text(XXH3_128bits_digest(digest->state), out);
}

void dl_digest_destroy(dl_digest **digest) {
    if (*digest != NULL) {
        (void)XXH3_freeState((*digest)->state);
        dl_free(digest);
    }
}

void dl_digest_of(const void *bytes, size_t n_bytes, char out[DL_DIGEST_TEXT_BYTES]) {
    hash_text(XXH3_128bits(bytes, n_bytes), out);
}
