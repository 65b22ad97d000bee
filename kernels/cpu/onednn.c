#include "kernels/cpu/onednn.h"

#include "base/mem.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>

enum { LETTERS_BYTES = 8 };

typedef struct layout_entry {
    dl_layout layout;
    dl_md_owned md;
    char letters[LETTERS_BYTES];
    char name[DL_LAYOUT_NAME_BYTES];
    struct layout_entry *next;
} layout_entry;

static layout_entry *layouts;
static pthread_mutex_t layouts_lock = PTHREAD_MUTEX_INITIALIZER;

static const char *status_text(dnnl_status_t status) {
    switch (status) {
    case dnnl_out_of_memory:
        return "out of memory";
    case dnnl_invalid_arguments:
        return "invalid arguments";
    case dnnl_unimplemented:
        return "unimplemented";
    case dnnl_runtime_error:
        return "runtime error";
    case dnnl_not_required:
        return "not required";
    default:
        return "error";
    }
}

dl_status dl_onednn_raise(dnnl_status_t status, const char *call, const char *file, int line,
                          const char *function) {
    const dl_code code = status == dnnl_out_of_memory ? DL_ERR_MEMORY : DL_ERR_INTERNAL;
    return dl_error_raise(code, file, line, function, "oneDNN: %s (%d) from %.200s", status_text(status),
                          (int)status, call);
}

/* Letters by falling stride, upper case for blocked dimensions, then the blocks: "nChw16c", "OIhw16i16o". */
static void name_blocked(const dl_shim_md_info *info, const char *letters, char *out, size_t n_bytes) {
    size_t at = 0;
    bool used[DNNL_MAX_NDIMS] = {false};
    for (int i = 0; i < info->n_dims; i++) {
        int widest = -1;
        for (int d = 0; d < info->n_dims; d++) {
            if (!used[d] && (widest < 0 || info->strides[d] > info->strides[widest])) {
                widest = d;
            }
        }
        used[widest] = true;
        bool blocked = false;
        for (int k = 0; k < info->n_blocks; k++) {
            blocked = blocked || info->block_dim[k] == widest;
        }
        const int letter = blocked ? toupper(letters[widest]) : letters[widest];
        at += (size_t)snprintf(out + at, n_bytes - at, "%c", letter);
    }
    for (int k = 0; k < info->n_blocks && at + 8 < n_bytes; k++) {
        at += (size_t)snprintf(out + at, n_bytes - at, "%lld%c", (long long)info->block[k],
                               letters[info->block_dim[k]]);
    }
}

static void name_layout(dl_md md, const char *letters, char *out, size_t n_bytes) {
    dl_shim_md_info info;
    dl_shim_md_info_of(md, &info);
    if (info.blocked) {
        name_blocked(&info, letters, out, n_bytes);
    } else {
        (void)snprintf(out, n_bytes, "winograd");
    }
}

static layout_entry *find_entry(dl_md md, const char *letters) {
    for (layout_entry *e = layouts; e != NULL; e = e->next) {
        if (strcmp(e->letters, letters) == 0 && dnnl_memory_desc_equal(e->md, md)) {
            return e;
        }
    }
    return NULL;
}

static dl_status create_entry(dl_md md, const char *letters, layout_entry **out) {
    layout_entry *entry = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *entry, &entry));
    const dnnl_status_t cloned = dl_shim_md_clone(md, &entry->md);
    if (cloned != dnnl_success) {
        dl_free(&entry);
        return dl_onednn_raise(cloned, "dl_shim_md_clone", __FILE__, __LINE__, __func__);
    }
    (void)snprintf(entry->letters, sizeof entry->letters, "%s", letters);
    name_layout(md, letters, entry->name, sizeof entry->name);
    entry->layout.name = entry->name;
    entry->layout.n_bytes = dnnl_memory_desc_get_size(md);
    entry->layout.impl = entry->md;
    entry->next = layouts;
    layouts = entry;
    *out = entry;
    return DL_OK;
}

dl_status dl_onednn_layout_md(dl_md md, const char *letters, const dl_layout **out) {
    (void)pthread_mutex_lock(&layouts_lock);
    layout_entry *entry = find_entry(md, letters);
    const dl_status status = entry != NULL ? DL_OK : create_entry(md, letters, &entry);
    (void)pthread_mutex_unlock(&layouts_lock);
    if (status == DL_OK) {
        *out = &entry->layout;
    }
    return status;
}

dl_status dl_onednn_layout_tag(int n_dims, const dnnl_dims_t dims, dnnl_data_type_t dtype,
                               dnnl_format_tag_t tag, const char *letters, const dl_layout **out) {
    dl_md_owned md = NULL;
    DL_RETURN_IF_DNNL(dl_shim_md_with_tag(&md, n_dims, dims, dtype, tag));
    const dl_status status = dl_onednn_layout_md(md, letters, out);
    dl_shim_md_destroy(md);
    return status;
}

dl_status dl_onednn_layout_strides(int n_dims, const dnnl_dims_t dims, dnnl_data_type_t dtype,
                                   const dnnl_dims_t strides, const char *letters, const dl_layout **out) {
    dl_md_owned md = NULL;
    DL_RETURN_IF_DNNL(dl_shim_md_with_strides(&md, n_dims, dims, dtype, strides));
    const dl_status status = dl_onednn_layout_md(md, letters, out);
    dl_shim_md_destroy(md);
    return status;
}

static bool first_dim_is_blocked(dl_md md) {
    dl_shim_md_info info;
    dl_shim_md_info_of(md, &info);
    bool blocked = !info.blocked;
    for (int k = 0; k < info.n_blocks; k++) {
        blocked = blocked || info.block_dim[k] == 0;
    }
    return blocked;
}

const dl_layout *dl_onednn_layout_with_first_dim(const dl_layout *layout, int64_t n) {
    const dl_md md = dl_onednn_md(layout);
    dl_md_owned changed = NULL;
    if (first_dim_is_blocked(md) || dl_shim_md_with_first_dim(md, n, &changed) != dnnl_success) {
        return NULL;
    }
    const layout_entry *entry =
        (const layout_entry *)(const void *)layout; /* the layout is its first member */
    const dl_layout *out = NULL;
    const dl_status status = dl_onednn_layout_md(changed, entry->letters, &out);
    dl_shim_md_destroy(changed);
    return status == DL_OK ? out : NULL;
}

const char *dl_onednn_implementation(dl_pd_const pd) {
    const char *text = NULL;
    const dnnl_status_t status = dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &text);
    return status == dnnl_success && text != NULL ? text : "unknown";
}

bool dl_onednn_is_reference(const char *implementation) {
    return strncmp(implementation, "ref", 3) == 0;
}

dnnl_data_type_t dl_onednn_dtype(dl_dtype dtype) {
    switch (dtype) {
    case DL_F32:
        return dnnl_f32;
    case DL_BF16:
        return dnnl_bf16;
    case DL_F16:
        return dnnl_f16;
    case DL_I32:
        return dnnl_s32;
    case DL_U8:
        return dnnl_u8;
    default:
        return dnnl_data_type_undef;
    }
}

void dl_onednn_version(char *out, size_t n_bytes) {
    const dnnl_version_t *version = dnnl_version();
    (void)snprintf(out, n_bytes, "oneDNN %d.%d.%d", version->major, version->minor, version->patch);
}
