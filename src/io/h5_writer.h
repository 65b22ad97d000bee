/* What the files that write HDF5 share: h5_layout.c makes the empty file, h5_write.c fills it. */
#ifndef DLTRAIN_IO_H5_WRITER_H
#define DLTRAIN_IO_H5_WRITER_H

#include "base/digest.h"
#include "base/mem.h"
#include "io/h5_private.h"

typedef struct dl_h5_declared {
    dl_h5_dataset dataset; /* of texts: uint8 [n, width] */
    bool texts;
    int64_t n_bytes, written;
    dl_digest *digest; /* of the first n_digested bytes; NULL: none is kept */
    int64_t n_digested;
} dl_h5_declared;

typedef struct dl_h5_attribute {
    const char *object, *name, *text; /* text NULL: the integer */
    int64_t number;
} dl_h5_attribute;

struct dl_h5_writer {
    char path[PATH_MAX], temporary[PATH_MAX];
    dl_pool *pool;
    dl_h5_declared *dataset;
    dl_h5_attribute *attribute;
    int64_t n_datasets, dataset_capacity, n_attributes, attribute_capacity;
    int fd;
    bool made, finished, committed, keep_digests;
    bool in_memory; /* `temporary` is the name of a file without a folder, `fd` */
};

#endif
