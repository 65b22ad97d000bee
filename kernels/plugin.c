#define _GNU_SOURCE
#include "kernels/plugin.h"

#include "base/text.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_FOLDERS = 2 };

static struct {
    const dl_plugin *plugin;
    char path[PATH_MAX];
} opened;

const dl_plugin *dl_plugin_opened(void) {
    return opened.plugin;
}

const char *dl_plugin_path(void) {
    return opened.path;
}

/* The folder of this program; "." when the system does not tell. */
static void program_folder(char out[PATH_MAX]) {
    const ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
    out[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(out, '/');
    if (slash == NULL) {
        (void)snprintf(out, PATH_MAX, ".");
    } else {
        *slash = '\0';
    }
}

/* Where plugins may lie; DLTRAIN_PLUGIN_LIBDIR is the way from the installed program to its libdir. */
static dl_status find_folders(char folder[MAX_FOLDERS][PATH_MAX], int *n) {
    const char *named = getenv("DLTRAIN_PLUGIN_DIR");
    *n = 0;
    if (named != NULL && named[0] != '\0') {
        DL_RETURN_ERROR_IF(strlen(named) >= PATH_MAX, DL_ERR_USAGE, "DLTRAIN_PLUGIN_DIR is too long");
        memcpy(folder[(*n)++], named, strlen(named) + 1);
        return DL_OK;
    }
    program_folder(folder[(*n)++]);
    DL_RETURN_IF_ERROR(dl_path_join(folder[*n], PATH_MAX, folder[0], DLTRAIN_PLUGIN_LIBDIR));
    (*n)++;
    return DL_OK;
}

static dl_status find_file(const char *name, char path[PATH_MAX]) {
    char folder[MAX_FOLDERS][PATH_MAX], file[64];
    int n = 0;
    DL_RETURN_IF_ERROR(find_folders(folder, &n));
    (void)snprintf(file, sizeof file, "dltrain_%s.so", name);
    for (int i = 0; i < n; i++) {
        DL_RETURN_IF_ERROR(dl_path_join(path, PATH_MAX, folder[i], file));
        if (dl_file_exists(path)) {
            return DL_OK;
        }
    }
    DL_RETURN_ERROR(
        DL_ERR_USAGE,
        "backend %s: there is no plugin %s in %.500s%s%.500s; build dltrain where CUDA, cuDNN and "
        "NCCL are installed, or name the plugin's folder in DLTRAIN_PLUGIN_DIR",
        name, file, folder[0], n > 1 ? " or " : "", n > 1 ? folder[1] : "");
}

bool dl_plugin_exists(const char *name) {
    char path[PATH_MAX];
    return find_file(name, path) == DL_OK;
}

bool dl_plugin_has_driver(void) {
    /* stays open: who finds it goes on to use it */
    return dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL) != NULL;
}

/* ISO C has no way from an object pointer to a function; POSIX says that this one works. */
static dl_plugin_function *function_of(void *symbol) {
    dl_plugin_function *function = NULL;
    memcpy(&function, &symbol, sizeof function);
    return function;
}

static dl_status take_plugin(void *library, const char *name, const char *path) {
    void *symbol = dlsym(library, DL_PLUGIN_SYMBOL);
    DL_RETURN_ERROR_IF(symbol == NULL, DL_ERR_USAGE, "backend %s: %s is no plugin of dltrain", name, path);
    const dl_plugin *plugin = function_of(symbol)();
    DL_RETURN_ERROR_IF(plugin == NULL || plugin->abi != DL_PLUGIN_ABI, DL_ERR_USAGE,
                       "backend %s: %s belongs to another version of dltrain (its ABI is %" PRIx64
                       ", this program's is %" PRIx64 "): build and install both together",
                       name, path, plugin == NULL ? (uint64_t)0 : plugin->abi, DL_PLUGIN_ABI);
    DL_RETURN_ERROR_IF(strcmp(plugin->backend->name, name) != 0, DL_ERR_USAGE,
                       "backend %s: %s brings backend %s", name, path, plugin->backend->name);
    opened.plugin = plugin;
    return DL_OK;
}

dl_status dl_plugin_open(const char *name, const dl_plugin **out) {
    *out = opened.plugin;
    if (opened.plugin != NULL && strcmp(opened.plugin->backend->name, name) == 0) {
        return DL_OK;
    }
    char path[PATH_MAX];
    DL_RETURN_IF_ERROR(find_file(name, path));
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    DL_RETURN_ERROR_IF(library == NULL, DL_ERR_USAGE, "backend %s: the plugin cannot be opened: %s", name,
                       dlerror());
    const dl_status status = take_plugin(library, name, path);
    if (status != DL_OK) {
        (void)dlclose(library);
        return status;
    }
    memcpy(opened.path, path, sizeof path);
    *out = opened.plugin;
    return DL_OK;
}
