/* Laying out a file: libhdf5 makes the metadata, space for all data allocated and nothing written to it. */
#define _GNU_SOURCE
#include "io/h5_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const char digests_name[] = "/meta/digests";

static bool make_groups(hid_t file, const char *name) {
    char partial[sizeof((dl_h5_dataset *)0)->name];
    memcpy(partial, name, strlen(name) + 1);
    for (char *slash = strchr(partial + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        const htri_t exists = H5Lexists(file, partial, H5P_DEFAULT);
        const hid_t group =
            exists == 0 ? H5Gcreate2(file, partial, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT) : -1;
        dl_h5_close_id(group);
        if (exists < 0 || (exists == 0 && group < 0)) {
            return false;
        }
        *slash = '/';
    }
    return true;
}

/* Texts of exactly `width` bytes; shorter ones are padded with zeros. */
static hid_t text_type(int64_t width) {
    const hid_t type = H5Tcopy(H5T_C_S1);
    if (type >= 0 && (H5Tset_size(type, (size_t)width) < 0 || H5Tset_strpad(type, H5T_STR_NULLPAD) < 0 ||
                      H5Tset_cset(type, H5T_CSET_UTF8) < 0)) {
        dl_h5_close_id(type);
        return -1;
    }
    return type;
}

static bool make_dataset(hid_t file, dl_h5_declared *each) {
    dl_h5_dataset *dataset = &each->dataset;
    const int rank = each->texts ? 1 : dataset->shape.n_dims;
    hsize_t dim[DL_MAX_DIMS] = {0};
    for (int i = 0; i < dataset->shape.n_dims; i++) {
        dim[i] = (hsize_t)dataset->shape.dim[i];
    }
    const hid_t type = each->texts ? text_type(dataset->shape.dim[1]) : dl_h5_type_of(dataset->dtype);
    const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    const hid_t space = rank == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(rank, dim, NULL);
    /* No times: the same content is the same file. */
    const bool ready = type >= 0 && creation >= 0 && space >= 0 &&
                       H5Pset_layout(creation, H5D_CONTIGUOUS) >= 0 &&
                       H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY) >= 0 &&
                       H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER) >= 0 &&
                       H5Pset_obj_track_times(creation, false) >= 0 && make_groups(file, dataset->name);
    const hid_t id =
        ready ? H5Dcreate2(file, dataset->name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT) : -1;
    const haddr_t offset = id >= 0 ? H5Dget_offset(id) : HADDR_UNDEF;
    dataset->offset = offset == HADDR_UNDEF ? -1 : (int64_t)offset;
    const bool good = id >= 0 && H5Dclose(id) >= 0 && (dataset->offset >= 0 || each->n_bytes == 0);
    dl_h5_close_id(space);
    dl_h5_close_id(creation);
    dl_h5_close_id(type);
    return good;
}

static bool make_attribute(hid_t file, const dl_h5_attribute *value) {
    const bool is_text = value->text != NULL;
    const hid_t type = H5Tcopy(is_text ? H5T_C_S1 : H5T_STD_I64LE), space = H5Screate(H5S_SCALAR);
    bool good = type >= 0 && space >= 0;
    if (good && is_text) {
        good = H5Tset_size(type, strlen(value->text) + 1) >= 0 && H5Tset_cset(type, H5T_CSET_UTF8) >= 0;
    }
    const hid_t id = good ? H5Acreate_by_name(file, value->object, value->name, type, space, H5P_DEFAULT,
                                              H5P_DEFAULT, H5P_DEFAULT)
                          : -1;
    good = id >= 0;
    if (good) {
        good = is_text ? H5Awrite(id, type, value->text) >= 0
                       : H5Awrite(id, H5T_NATIVE_INT64, &value->number) >= 0;
    }
    dl_h5_close_id(id);
    dl_h5_close_id(space);
    dl_h5_close_id(type);
    return good;
}

/* Makes the temporary file with everything but the data. */
static dl_status make_file(dl_h5_writer *writer) {
    char reason[DL_H5_REASON_BYTES] = "out of memory";
    if (!writer->in_memory) {
        (void)unlink(writer->temporary);
    }
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    bool good = access >= 0 && H5Pset_alignment(access, DL_PAGE_BYTES, DL_PAGE_BYTES) >= 0;
    /* The usual driver asks for the real path of what is a link, and a file in memory has none. */
    good = good && (!writer->in_memory || H5Pset_fapl_stdio(access) >= 0);
    const unsigned how = writer->in_memory ? H5F_ACC_TRUNC : H5F_ACC_EXCL;
    const hid_t file = good ? H5Fcreate(writer->temporary, how, H5P_DEFAULT, access) : -1;
    /* A failed creation may leave a file, too. */
    writer->made = true;
    good = file >= 0;
    for (int64_t i = 0; good && i < writer->n_datasets; i++) {
        good = make_dataset(file, &writer->dataset[i]);
    }
    for (int64_t i = 0; good && i < writer->n_attributes; i++) {
        good = make_attribute(file, &writer->attribute[i]);
    }
    if (!good) {
        (void)dl_h5_reason(reason);
    }
    if (file >= 0 && H5Fclose(file) < 0) {
        (void)(good && dl_h5_reason(reason));
        good = false;
    }
    dl_h5_close_id(access);
    DL_RETURN_ERROR_IF(!good, DL_ERR_IO, "cannot create %s: %s (%s)",
                       writer->in_memory ? writer->path : writer->temporary, strerror(errno), reason);
    return DL_OK;
}

/* Reads the metadata back, as any reader would, and takes the offsets. */
static dl_status take_offsets(dl_h5_writer *writer) {
    dl_h5 *file = NULL;
    DL_RETURN_IF_ERROR(dl_h5_open(writer->temporary, &file));
    dl_status status = DL_OK;
    for (int64_t i = 0; i < writer->n_datasets; i++) {
        dl_h5_declared *want = &writer->dataset[i];
        dl_h5_dataset found;
        bool exists = false;
        DL_GOTO_IF_ERROR(status,
                         want->texts ? dl_h5_find_texts(file, want->dataset.name, &found, &exists)
                                     : dl_h5_find(file, want->dataset.name, &found, &exists),
                         done);
        const bool same = exists && found.dtype == want->dataset.dtype &&
                          dl_shape_equal(&found.shape, &want->dataset.shape) &&
                          (found.offset >= 0 || want->n_bytes == 0);
        DL_GOTO_ERROR_IF(status, !same, done, DL_ERR_IO, "%s: %s did not reach the disk", writer->path,
                         want->dataset.name);
        want->dataset.offset = found.offset;
    }
done:
    dl_h5_close(&file);
    return status;
}

/* Declares where the digests go and begins them: one for every dataset declared so far. */
static dl_status declare_digests(dl_h5_writer *writer) {
    size_t longest = 0;
    const int64_t n = writer->n_datasets;
    int index = 0;
    for (int64_t i = 0; i < n; i++) {
        const size_t length = strlen(writer->dataset[i].dataset.name);
        longest = length > longest ? length : longest;
        DL_RETURN_IF_ERROR(dl_digest_create(&writer->dataset[i].digest));
    }
    return dl_h5_writer_texts(writer, digests_name, n, (int64_t)longest + DL_DIGEST_TEXT_BYTES, &index);
}

dl_status dl_h5_writer_layout(dl_h5_writer *writer) {
    DL_RETURN_ERROR_IF(writer->made, DL_ERR_INTERNAL, "%s is already laid out", writer->path);
    if (writer->keep_digests) {
        DL_RETURN_IF_ERROR(declare_digests(writer));
    }
    dl_h5_lock();
    errno = 0;
    const dl_status status = make_file(writer);
    dl_h5_unlock();
    DL_RETURN_IF_ERROR(status);
    if (writer->in_memory) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(take_offsets(writer));
    writer->fd = open(writer->temporary, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    DL_RETURN_ERROR_IF(writer->fd < 0, DL_ERR_IO, "cannot open %s: %s", writer->temporary, strerror(errno));
    return DL_OK;
}
