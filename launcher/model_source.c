#define _GNU_SOURCE
#include "launcher/model_source.h"

#include "launcher/ckpt_paths.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* --- where the configuration is --- */

/* The folder above, as the path is written: RUN/checkpoints may be a link to a larger disk. False when it
 * does not say. */
static bool take_parent(char path[PATH_MAX]) {
    char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path || strcmp(slash, "/..") == 0 || strcmp(slash, "/.") == 0) {
        return false;
    }
    *slash = '\0';
    return true;
}

/* The config.yaml `levels` folders above the path. */
static bool find_config_above(const char *path, int levels, char out[PATH_MAX]) {
    char folder[PATH_MAX];
    (void)snprintf(folder, sizeof folder, "%s", path);
    for (int i = 0; i < levels; i++) {
        if (!take_parent(folder)) { /* as the system resolves it */
            return snprintf(out, PATH_MAX, "%s/%sconfig.yaml", path, levels == 1 ? "../" : "../../") <
                       PATH_MAX &&
                   dl_file_exists(out);
        }
    }
    return dl_path_join(out, PATH_MAX, folder, "config.yaml") == DL_OK && dl_file_exists(out);
}

static dl_status find_config(const dl_arguments *arguments, const char *path, int levels,
                             char out[PATH_MAX]) {
    const char *wanted = dl_arguments_flag(arguments, "config");
    if (wanted != NULL) {
        DL_RETURN_ERROR_IF(!dl_file_exists(wanted), DL_ERR_USAGE, "there is no %s (--config)", wanted);
        return dl_path_join(out, PATH_MAX, "", wanted);
    }
    DL_RETURN_ERROR_IF(!find_config_above(path, levels, out), DL_ERR_USAGE,
                       "%s does not stand in a run directory, so its model is not known: name the run's "
                       "configuration with --config FILE (RUN/config.yaml)",
                       path);
    return DL_OK;
}

/* --- what the path is --- */

/* A file: of weights, when it is HDF5. */
static dl_status find_of_file(const dl_arguments *arguments, const char *path, dl_model_source *out) {
    static const char signature[] = {'\x89', 'H', 'D', 'F'};
    char first[sizeof signature] = {0}, folder[PATH_MAX];
    FILE *file = fopen(path, "rb");
    const size_t n = file == NULL ? 0 : fread(first, 1, sizeof first, file);
    if (file != NULL) {
        (void)fclose(file);
    }
    DL_RETURN_ERROR_IF(
        n != sizeof first || memcmp(first, signature, sizeof first) != 0, DL_ERR_USAGE,
        "%s is not a run directory and no file of weights (HDF5); name the folder that training wrote, "
        "runs/NAME, a checkpoint in it, or its weights.h5",
        path);
    DL_RETURN_ERROR_IF(dl_arguments_flag(arguments, "weights") != NULL, DL_ERR_USAGE,
                       "%s is a file of weights itself; leave out --weights", path);
    DL_RETURN_IF_ERROR(dl_path_join(out->weights, sizeof out->weights, "", path));
    (void)snprintf(folder, sizeof folder, "%s%s", strchr(path, '/') == NULL ? "./" : "", path);
    return find_config(arguments, folder, 1, out->config);
}

/* One checkpoint, or the newest of a folder of them. */
static dl_status find_of_checkpoints(const dl_arguments *arguments, const char *path, dl_model_source *out) {
    dl_ckpt_paths paths;
    dl_status status = DL_OK;
    DL_GOTO_IF_ERROR(status, dl_ckpt_paths_find(path, &paths), done);
    DL_GOTO_ERROR_IF(
        status, paths.n == 0, done, DL_ERR_USAGE,
        "there is no %s/weights.h5 and no checkpoint in %s; the run has not finished an epoch yet", path,
        paths.folder);
    DL_GOTO_IF_ERROR(status, dl_ckpt_paths_at(&paths, 0, out->checkpoint), done);
    if (out->config[0] == '\0') {
        status = find_config(arguments, out->checkpoint, 2, out->config);
    }
done:
    dl_ckpt_paths_free(&paths);
    return status;
}

/* The weights of a run whose configuration is found. */
static dl_status find_of_run(const dl_arguments *arguments, const char *run, dl_model_source *out) {
    static const char *const names[] = {"ema.h5", "weights.h5"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        DL_RETURN_IF_ERROR(dl_path_join(out->weights, sizeof out->weights, run, names[i]));
        if (dl_file_exists(out->weights)) {
            return DL_OK;
        }
    }
    out->weights[0] = '\0';
    return find_of_checkpoints(arguments, run, out);
}

static bool is_folder_of_checkpoints(const char *path) {
    dl_ckpt_paths paths;
    const bool found = dl_ckpt_paths_find(path, &paths) == DL_OK && paths.n > 0;
    dl_ckpt_paths_free(&paths);
    return found;
}

static dl_status find_of_folder(const dl_arguments *arguments, const char *path, dl_model_source *out) {
    const char *weights = dl_arguments_flag(arguments, "weights"),
               *config = dl_arguments_flag(arguments, "config");
    DL_RETURN_IF_ERROR(dl_path_join(out->config, sizeof out->config, path, "config.yaml"));
    const bool is_run = dl_file_exists(out->config);
    if (!is_run || config != NULL) {
        out->config[0] = '\0';
    }
    DL_RETURN_ERROR_IF(
        !is_run && !is_folder_of_checkpoints(path), DL_ERR_USAGE,
        "%s is not a run directory (it has no config.yaml) and no checkpoint; name the folder that training "
        "wrote, runs/NAME, or a checkpoint in it, runs/NAME/checkpoints/step-00001200",
        path);
    if (weights != NULL) {
        DL_RETURN_ERROR_IF(!dl_file_exists(weights), DL_ERR_USAGE,
                           "there is no %s; --weights names a file of weights, RUN/best.h5 say", weights);
        DL_RETURN_IF_ERROR(dl_path_join(out->weights, sizeof out->weights, "", weights));
        if (out->config[0] != '\0') {
            return DL_OK;
        }
    }
    if (!is_run) {
        return find_of_checkpoints(arguments, path, out);
    }
    if (config != NULL) {
        DL_RETURN_IF_ERROR(find_config(arguments, path, 0, out->config));
    }
    return weights != NULL ? DL_OK : find_of_run(arguments, path, out);
}

static dl_status find(const dl_arguments *arguments, dl_model_source *out) {
    struct stat info;
    char path[PATH_MAX];
    DL_RETURN_IF_ERROR(dl_path_join(path, sizeof path, "", arguments->positional[0]));
    for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--) {
        path[n - 1] = '\0';
    }
    DL_RETURN_ERROR_IF(stat(path, &info) != 0, DL_ERR_USAGE,
                       "%s is not a run directory: there is no such file or folder; name the folder that "
                       "training wrote, runs/NAME, a checkpoint in it, or a file of weights",
                       path);
    return S_ISDIR(info.st_mode) ? find_of_folder(arguments, path, out) : find_of_file(arguments, path, out);
}

dl_status dl_model_source_find(dl_comm *world, const dl_arguments *arguments, dl_model_source *out) {
    *out = (dl_model_source){.config = ""};
    DL_RETURN_IF_ERROR(dl_comm_agree(world, world->rank == 0 ? find(arguments, out) : DL_OK, NULL));
    return world->functions->broadcast(world, out, sizeof *out, 0);
}

/* --- the parameters --- */

static dl_status open_verified(const char *path, dl_comm *comm, dl_checkpoint **out) {
    dl_status status = dl_checkpoint_open(path, out);
    DL_RETURN_IF_ERROR(dl_comm_agree(comm, status, NULL));
    status = dl_checkpoint_verify(*out, comm->rank, comm->size);
    DL_RETURN_IF_ERROR(dl_comm_agree(comm, status, NULL));
    dl_checkpoint_trust(*out);
    return DL_OK;
}

dl_status dl_model_source_read(const dl_model_source *source, dl_comm *comm, dl_session *session) {
    if (source->weights[0] != '\0') {
        return dl_comm_agree(comm, dl_session_read_weights(session, source->weights), NULL);
    }
    dl_checkpoint *checkpoint = NULL;
    dl_status status = open_verified(source->checkpoint, comm, &checkpoint);
    if (status == DL_OK) {
        status = dl_comm_agree(comm, dl_session_read_checkpoint(session, checkpoint), NULL);
    }
    dl_checkpoint_close(&checkpoint);
    return status;
}
