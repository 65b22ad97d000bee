#define _GNU_SOURCE
#include "base/log.h"
#include "launcher/job.h"

#include <limits.h>
#include <string.h>

/* With the configuration of the run that the checkpoint is of. A copy may have come without it: then tensors
 * and data alone tell whether it fits. */
static dl_status compare_with_file(dl_job *j, const char *forced) {
    const char *schedule = j->setup.config->train.schedule.kind->name;
    const bool any_length = strcmp(schedule, "cosine") != 0 && strcmp(schedule, "polynomial") != 0;
    char path[PATH_MAX];
    dl_text before = {0};
    const bool here = !j->resume.elsewhere;
    DL_RETURN_IF_ERROR(dl_path_join(path, sizeof path, here ? j->setup.config->run.dir : j->resume.path,
                                    here ? "config.yaml" : "../../config.yaml"));
    if (!here && !dl_file_exists(path)) {
        DL_WARN(
            "there is no %s: the configuration that %s was made with is not known; tensors and data are compared",
            path, j->resume.path);
        return DL_OK;
    }
    dl_status status = dl_file_read(path, 1 << 20, &before);
    if (status == DL_OK) {
        status = dl_resume_compare(before.data, j->config_text.data, any_length, forced);
    }
    dl_text_free(&before);
    return status;
}

/* Rank 0: may this configuration go on with that run? */
static dl_status compare_configs(dl_job *j, const char *forced) {
    const dl_config *config = j->setup.config;
    DL_RETURN_IF_ERROR(compare_with_file(j, forced));
    DL_RETURN_ERROR_IF(
        strcmp(j->resume.data_digest, j->session->train_info.digest) != 0 &&
            (forced == NULL || strcmp(forced, "data.path") != 0),
        DL_ERR_USAGE,
        "the data set in '%s' is not the one that the run was begun with: its digest is %s, it was %s. "
        "--force data.path goes on all the same",
        config->data.path, j->session->train_info.digest, j->resume.data_digest);
    return DL_OK;
}

dl_status dl_job_find_resume(dl_job *j, const dl_arguments *arguments) {
    dl_comm *world = j->runtime->world;
    const char *wanted = dl_arguments_flag(arguments, "resume");
    const bool fresh = dl_arguments_flag(arguments, "fresh") != NULL;
    DL_RETURN_ERROR_IF(fresh && wanted != NULL, DL_ERR_USAGE, "--fresh and --resume exclude each other");
    DL_RETURN_IF_ERROR(dl_setup_print(&j->setup, &j->config_text));
    if (fresh) {
        return DL_OK;
    }
    const dl_resume_options options = {.run_dir = j->setup.config->run.dir,
                                       .wanted = wanted,
                                       .strict = dl_arguments_flag(arguments, "strict") != NULL};
    DL_RETURN_IF_ERROR(dl_resume_find(world, &options, &j->resume));
    return DL_OK;
}

dl_status dl_job_check_resume(dl_job *j, const dl_arguments *arguments) {
    const bool compared = j->resume.found && j->runtime->world->rank == 0;
    const dl_status status = compared ? compare_configs(j, dl_arguments_flag(arguments, "force")) : DL_OK;
    return dl_comm_agree(j->runtime->world, status, NULL);
}

dl_status dl_job_is_finished(dl_job *j, bool *out) {
    dl_comm *world = j->runtime->world;
    const int64_t total = j->session->total_steps;
    const bool at_end = j->resume.found && (j->resume.trainer.early || j->resume.step >= total);
    int told = world->rank == 0 && dl_run_dir_is_done(j->setup.config->run.dir);
    DL_RETURN_IF_ERROR(world->functions->broadcast(world, &told, sizeof told, 0));
    *out = at_end && (told || j->resume.step > total);
    return DL_OK;
}
