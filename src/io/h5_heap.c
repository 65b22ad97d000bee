/* Texts of varying length lie in global heaps (HDF5 File Format Specification 3.0, III.E): a dataset holds
 * where. libhdf5 1.10 believes the sizes it finds there: a damaged heap leads it round in circles or beyond
 * its buffers. So heaps are checked before it reads them. Heaps of chunked datasets, and of files with other
 * sizes of addresses than today's, are left to it. */
#define _GNU_SOURCE
#include "base/mem.h"
#include "io/h5_private.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REFERENCE_BYTES = 16, HEADER_BYTES = 16, MAX_OBJECTS = 65536 };

/* One text: so many bytes in object `index` of the heap at `address`; 0: nothing. */
typedef struct reference {
    uint64_t address;
    uint32_t length, index;
} reference;

typedef struct heap_check {
    const dl_h5 *file;
    const char *name; /* of the dataset */
    int64_t *size_of; /* [MAX_OBJECTS] of a heap's objects, -1: not there */
} heap_check;

static uint64_t little_endian(const unsigned char *byte, int n) {
    uint64_t value = 0;
    for (int i = n - 1; i >= 0; i--) {
        value = value << 8 | byte[i];
    }
    return value;
}

static dl_status damaged(const heap_check *c) {
    DL_RETURN_ERROR(DL_ERR_DATA, "%s: the texts of %s are damaged; write the file again, or fetch it again",
                    c->file->path, c->name);
}

/* Bytes of the file that must be there. */
static dl_status read_at(const heap_check *c, uint64_t offset, uint64_t n_bytes, unsigned char **out) {
    const uint64_t there = (uint64_t)c->file->n_bytes;
    if (offset > there || n_bytes > there - offset) {
        return damaged(c);
    }
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n_bytes, 1, out));
    for (uint64_t done = 0; done < n_bytes;) {
        const ssize_t got = pread(c->file->fd, *out + done, (size_t)(n_bytes - done), (off_t)(offset + done));
        DL_RETURN_ERROR_IF(got <= 0, DL_ERR_IO, "cannot read %s", c->file->path);
        done += (uint64_t)got;
    }
    return DL_OK;
}

/* Walks over the objects of a heap: every one ends before the next begins, and the last within the heap. */
static dl_status walk(heap_check *c, const unsigned char *heap, uint64_t n_bytes) {
    for (int i = 0; i < MAX_OBJECTS; i++) {
        c->size_of[i] = -1;
    }
    for (uint64_t at = HEADER_BYTES; n_bytes - at >= HEADER_BYTES;) {
        const uint64_t index = little_endian(heap + at, 2), size = little_endian(heap + at + 8, 8);
        if (size > n_bytes) {
            return damaged(c);
        }
        /* object 0 is free space, whose size counts its header */
        const uint64_t needed = index == 0 ? size : HEADER_BYTES + (size + 7) / 8 * 8;
        if (needed < HEADER_BYTES || needed > n_bytes - at) {
            return damaged(c);
        }
        c->size_of[index] = (int64_t)size;
        at += needed;
    }
    return DL_OK;
}

/* The heap at an address, into size_of. */
static dl_status check_heap(heap_check *c, uint64_t address) {
    unsigned char *header = NULL, *heap = NULL;
    uint64_t n_bytes = 0;
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, read_at(c, address, HEADER_BYTES, &header), done);
    n_bytes = little_endian(header + 8, 8);
    const bool good = memcmp(header, "GCOL\1", 5) == 0 && n_bytes >= HEADER_BYTES;
    DL_GOTO_IF_ERROR(status, good ? DL_OK : damaged(c), done);
    DL_GOTO_IF_ERROR(status, read_at(c, address, n_bytes, &heap), done);
    status = walk(c, heap, n_bytes);
done:
    dl_free(&heap);
    dl_free(&header);
    return status;
}

static int by_address(const void *a, const void *b) {
    const reference *x = a, *y = b;
    return (x->address > y->address) - (x->address < y->address);
}

/* References to texts, sorted by their heaps. */
static dl_status check_references(heap_check *c, const reference *all, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (all[i].address == 0) {
            continue;
        }
        if (i == 0 || all[i].address != all[i - 1].address) {
            DL_RETURN_IF_ERROR(check_heap(c, all[i].address));
        }
        if (all[i].index >= MAX_OBJECTS || c->size_of[all[i].index] != (int64_t)all[i].length) {
            return damaged(c);
        }
    }
    return DL_OK;
}

static dl_status check_texts(heap_check *c, uint64_t offset, int64_t n) {
    unsigned char *stored = NULL;
    reference *all = NULL;
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, read_at(c, offset, (uint64_t)n * REFERENCE_BYTES, &stored), done);
    DL_GOTO_IF_ERROR(status, dl_alloc((size_t)n, sizeof *all, &all), done);
    DL_GOTO_IF_ERROR(status, dl_alloc(MAX_OBJECTS, sizeof *c->size_of, &c->size_of), done);
    for (int64_t i = 0; i < n; i++) {
        const unsigned char *each = stored + i * REFERENCE_BYTES;
        all[i] = (reference){.length = (uint32_t)little_endian(each, 4),
                             .address = little_endian(each + 4, 8),
                             .index = (uint32_t)little_endian(each + 12, 4)};
    }
    qsort(all, (size_t)n, sizeof *all, by_address);
    status = check_references(c, all, n);
done:
    dl_free(&c->size_of);
    dl_free(&all);
    dl_free(&stored);
    return status;
}

/* Addresses and sizes of 8 bytes, counted from the file's first byte. */
static bool is_plain(const dl_h5 *file) {
    size_t address_bytes = 0, size_bytes = 0;
    hsize_t before = 0;
    const hid_t creation = H5Fget_create_plist(file->id);
    const bool plain = creation >= 0 && H5Pget_sizes(creation, &address_bytes, &size_bytes) >= 0 &&
                       H5Pget_userblock(creation, &before) >= 0 && address_bytes == 8 && size_bytes == 8 &&
                       before == 0;
    dl_h5_close_id(creation);
    return plain;
}

dl_status dl_h5_check_heaps(const dl_h5 *file, hid_t dataset, const char *name, int64_t n) {
    heap_check c = {.file = file, .name = name};
    const haddr_t offset = H5Dget_offset(dataset); /* undefined unless contiguous */
    return offset != HADDR_UNDEF && is_plain(file) ? check_texts(&c, offset, n) : DL_OK;
}
