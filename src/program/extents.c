#include "program/extents.h"

#include <string.h>

dl_status dl_extents_create(dl_extents *extents) {
    *extents = (dl_extents){.n = 1};
    DL_RETURN_IF_ERROR(dl_grow(&extents->extent, &extents->capacity, 1, sizeof *extents->extent));
    extents->extent[0] = (dl_extent){.end = SIZE_MAX, .writer = DL_NOBODY, .value = DL_NOBODY};
    for (int lane = 0; lane < DL_N_LANES; lane++) {
        extents->extent[0].reader[lane] = DL_NOBODY;
    }
    return DL_OK;
}

void dl_extents_destroy(dl_extents *extents) {
    dl_free(&extents->extent);
}

/* Number of the extent that holds the byte at `place`. */
static int number_at(const dl_extents *extents, size_t place) {
    int low = 0, high = extents->n - 1;
    while (low < high) {
        const int middle = low + (high - low + 1) / 2;
        if (extents->extent[middle].begin <= place) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

/* Makes an extent begin at `place`; gives its number. */
static dl_status split(dl_extents *extents, size_t place, int *number) {
    int at = number_at(extents, place);
    if (extents->extent[at].begin < place) {
        DL_RETURN_IF_ERROR(
            dl_grow(&extents->extent, &extents->capacity, extents->n + 1, sizeof *extents->extent));
        dl_extent *extent = &extents->extent[at];
        memmove(extent + 1, extent, (size_t)(extents->n - at) * sizeof *extent);
        extent[0].end = extent[1].begin = place;
        extents->n++;
        at++;
    }
    *number = at;
    return DL_OK;
}

dl_status dl_extents_find(dl_extents *extents, size_t begin, size_t end, int *first, int *n) {
    int behind = 0;
    DL_RETURN_IF_ERROR(split(extents, begin, first));
    DL_RETURN_IF_ERROR(split(extents, end, &behind));
    *n = behind - *first;
    return DL_OK;
}

dl_status dl_extents_set(dl_extents *extents, const dl_extent *written) {
    int first = 0, n = 0;
    DL_RETURN_IF_ERROR(dl_extents_find(extents, written->begin, written->end, &first, &n));
    dl_extent *extent = &extents->extent[first];
    memmove(extent + 1, extent + n, (size_t)(extents->n - first - n) * sizeof *extent);
    extent[0] = *written;
    extents->n -= n - 1;
    return DL_OK;
}
