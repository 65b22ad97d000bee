/* Who touched which bytes of a storage last: a sorted list of extents that covers every address. For the
 * checker (verify.c). */
#ifndef DLTRAIN_PROGRAM_EXTENTS_H
#define DLTRAIN_PROGRAM_EXTENTS_H

#include "program/program.h"

enum { DL_NOBODY = -1 };

/* Bytes with one history. */
typedef struct dl_extent {
    size_t begin, end;
    int writer;             /* instruction that wrote them last, DL_NOBODY: none of this program */
    int value;              /* slot whose value they hold, DL_NOBODY: unknown */
    int reader[DL_N_LANES]; /* last instruction of each lane that read them since, DL_NOBODY: none */
    bool pending;           /* a contribution that nobody has used yet */
} dl_extent;

typedef struct dl_extents {
    dl_extent *extent;
    int64_t capacity;
    int n;
} dl_extents;

/* One extent over all addresses that nobody has touched. Release with dl_extents_destroy. */
DL_NODISCARD dl_status dl_extents_create(dl_extents *extents);
void dl_extents_destroy(dl_extents *extents);

/* The extents that make up begin..end exactly (not empty): *n of them from *first on. The numbers are valid
 * until the next call. */
DL_NODISCARD dl_status dl_extents_find(dl_extents *extents, size_t begin, size_t end, int *first, int *n);

/* Makes begin..end one extent with this history. */
DL_NODISCARD dl_status dl_extents_set(dl_extents *extents, const dl_extent *written);

#endif
