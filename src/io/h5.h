/* HDF5 files. The h5*.c of this folder are the only users of hdf5.h.
 *
 * Reading: files are opened read-only; links and layouts that could reach outside the file are refused. A
 * contiguous unfiltered dataset gives its byte offset, so that callers map the file and leave HDF5 out of the
 * hot path. Writing: libhdf5 lays out an empty file (early allocation, no fill value), then bytes are
 * streamed to the datasets' offsets with checked writes. Not collective: each call concerns the calling
 * process only. Reading is thread-safe (calls into the library wait for each other); a writer belongs to
 * one thread. Errors: DL_ERR_DATA names file and dataset; DL_ERR_USAGE when there is no such
 * file; DL_ERR_IO for failing system calls.
 *
 * Refused: soft and external links, virtual datasets, external storage, filters other than deflate, shuffle
 * and fletcher32, user blocks. Datasets whose elements are no dl_dtype (texts, records) are left out of
 * lists; texts have functions of their own. */
#ifndef DLTRAIN_IO_H5_H
#define DLTRAIN_IO_H5_H

#include "base/tensor.h"

typedef struct dl_h5 dl_h5;

typedef struct dl_h5_dataset {
    char name[128]; /* path, "/x" */
    dl_dtype dtype;
    dl_shape shape;
    int64_t offset;     /* of the first byte in the file, -1: not contiguous or of foreign byte order
                           (dl_h5_read_rows) */
    int64_t chunk_rows; /* rows of a chunk, 0: not chunked */
} dl_h5_dataset;

DL_NODISCARD dl_status dl_h5_open(const char *path, dl_h5 **out);
void dl_h5_close(dl_h5 **file);

/* Describes a dataset; *found false when there is none of that name. */
DL_NODISCARD dl_status dl_h5_find(dl_h5 *file, const char *name, dl_h5_dataset *out, bool *found);

/* Describes all datasets below the root (up to `capacity`), in bytewise order of their paths. */
DL_NODISCARD dl_status dl_h5_list(dl_h5 *file, dl_h5_dataset *out, int capacity, int *n);

/* Reads rows first..first+n of dimension 0 into `out` (native byte order, the dataset's dtype). Up to 256 MiB
 * of decoded chunks are kept per dataset, so that a smaller one is decompressed once. */
DL_NODISCARD dl_status dl_h5_read_rows(dl_h5 *file, const dl_h5_dataset *dataset, int64_t first, int64_t n,
                                       void *out);

/* Reads n_bytes from byte `first` of a dataset that has an offset. */
DL_NODISCARD dl_status dl_h5_read_bytes(dl_h5 *file, const dl_h5_dataset *dataset, int64_t first,
                                        size_t n_bytes, void *out);

/* Describes a dataset of texts ([n] strings): as dtype DL_U8 and shape [n, width], where `width` bytes,
 * padded with zeros, hold each text; width 0: of varying lengths, as h5py writes lists of str (offset is -1).
 */
DL_NODISCARD dl_status dl_h5_find_texts(dl_h5 *file, const char *name, dl_h5_dataset *out, bool *found);

/* The texts of a dataset, of fixed or varying length. DL_ERR_DATA above 256 MiB. Release with
 * dl_h5_texts_free in any case. */
typedef struct dl_h5_texts {
    int64_t n;
    char **text; /* [n], terminated */
    char *bytes; /* what they lie in */
} dl_h5_texts;
DL_NODISCARD dl_status dl_h5_read_texts(dl_h5 *file, const char *name, dl_h5_texts *out, bool *found);
void dl_h5_texts_free(dl_h5_texts *texts);

/* Compares the bytes of every dataset with its digest in /meta/digests (dl_h5_writer_keep_digests).
 * *n_checked: datasets compared; *n_without: datasets that have none, as in files of other programs.
 * DL_ERR_DATA names the first that differs or is missing. */
DL_NODISCARD dl_status dl_h5_verify(dl_h5 *file, int64_t *n_checked, int64_t *n_without);

/* Attributes of a dataset or of the root ("/"): one integer, or one text of fixed length (h5py:
 * numpy.bytes_). *found false when absent; DL_ERR_DATA for another type. */
DL_NODISCARD dl_status dl_h5_attribute_int(dl_h5 *file, const char *object, const char *name, int64_t *out,
                                           bool *found);
DL_NODISCARD dl_status dl_h5_attribute_text(dl_h5 *file, const char *object, const char *name, char *out,
                                            size_t n_bytes, bool *found);

/* Writing: declare datasets and attributes, lay the file out, stream the bytes, commit by rename. */
typedef struct dl_h5_writer dl_h5_writer;

/* Starts writing `path` (through a temporary file beside it). */
DL_NODISCARD dl_status dl_h5_writer_create(const char *path, dl_h5_writer **out);
/* Declares a contiguous dataset; groups on its path are made. Returns its number in *index. */
DL_NODISCARD dl_status dl_h5_writer_dataset(dl_h5_writer *writer, const char *name, dl_dtype dtype,
                                            const dl_shape *shape, int *index);
/* Declares a dataset of n texts of `width` bytes each, shorter ones to be padded with zeros: n * width bytes
 * are to be written. */
DL_NODISCARD dl_status dl_h5_writer_texts(dl_h5_writer *writer, const char *name, int64_t n, int64_t width,
                                          int *index);
/* Digests (XXH3-128) of all datasets' bytes are stored beside them: texts "NAME DIGEST" in /meta/digests. */
void dl_h5_writer_keep_digests(dl_h5_writer *writer);
DL_NODISCARD dl_status dl_h5_writer_attribute_int(dl_h5_writer *writer, const char *object, const char *name,
                                                  int64_t value);
DL_NODISCARD dl_status dl_h5_writer_attribute_text(dl_h5_writer *writer, const char *object, const char *name,
                                                   const char *value);
/* No declarations after this. */
DL_NODISCARD dl_status dl_h5_writer_layout(dl_h5_writer *writer);
/* Writes n_bytes at byte `offset` of a dataset. */
DL_NODISCARD dl_status dl_h5_writer_write(dl_h5_writer *writer, int index, int64_t offset, const void *bytes,
                                          size_t n_bytes);
/* Brings all bytes to disk and closes the temporary file; nothing is written after this. Only the rename is
 * left: callers with several files finish all of them before they commit the first. DL_ERR_INTERNAL when a
 * dataset has not got all its bytes. */
DL_NODISCARD dl_status dl_h5_writer_finish(dl_h5_writer *writer);
/* Finishes, then renames to `path` and brings the folder to disk. */
DL_NODISCARD dl_status dl_h5_writer_commit(dl_h5_writer *writer);
/* Releases it; what was not committed is removed. */
void dl_h5_writer_destroy(dl_h5_writer **writer);

/* A layout alone, for callers that write the file themselves: what libhdf5 has to say lies in memory, so that
 * it never writes to a disk. Declare, dl_h5_writer_layout, then ask; not dl_h5_writer_write, _finish or
 * _commit. `path` is for messages. */
DL_NODISCARD dl_status dl_h5_writer_create_in_memory(const char *path, dl_h5_writer **out);
/* Bytes of the laid-out file. */
DL_NODISCARD dl_status dl_h5_writer_size(const dl_h5_writer *writer, int64_t *n_bytes);
/* Gives an attribute that was declared, and laid out, another value. */
DL_NODISCARD dl_status dl_h5_writer_change_int(const dl_h5_writer *writer, const char *object,
                                               const char *name, int64_t value);
/* Where a dataset's first byte belongs in the file; -1: it has no bytes. */
int64_t dl_h5_writer_offset(const dl_h5_writer *writer, int index);
/* Bytes first .. first + n_bytes of the laid-out file into out: metadata, and zeros where data belong. */
DL_NODISCARD dl_status dl_h5_writer_image(const dl_h5_writer *writer, int64_t first, size_t n_bytes,
                                          void *out);

/* "1.10.8" into out. */
void dl_h5_version(char *out, size_t n_bytes);

#endif
