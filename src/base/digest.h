/* XXH3-128: digests against damage and for comparison, not against malice. */
#ifndef DLTRAIN_BASE_DIGEST_H
#define DLTRAIN_BASE_DIGEST_H

#include "base/status.h"

enum { DL_DIGEST_TEXT_BYTES = 33 };

typedef struct dl_digest dl_digest;
DL_NODISCARD dl_status dl_digest_create(dl_digest **out);
void dl_digest_add(dl_digest *digest, const void *bytes, size_t n_bytes);
/* 32 hex digits and a terminator into out; the digest can go on. */
void dl_digest_text(const dl_digest *digest, char out[DL_DIGEST_TEXT_BYTES]);
void dl_digest_destroy(dl_digest **digest);

/* Digest of one piece of memory. */
void dl_digest_of(const void *bytes, size_t n_bytes, char out[DL_DIGEST_TEXT_BYTES]);

#endif
