#define _GNU_SOURCE
#include "base/log.h"
#include "launcher/job.h"

#include <limits.h>
#include <string.h>

/* With the configuration of the run that the checkpoint is of. A copy may have come without it: then tensors
 * and data alone tell whether it fits. */
static dl_status compare_with_file(dl_job *j, const dl_resume_freedom *freedom) {
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
        status = dl_resume_compare(before.data, j->config_text.data, freedom);
    }
    dl_text_free(&before);
    return status;
}

/* Rank 0: may this configuration go on with that run? */
static dl_status compare_configs(dl_job *j, const dl_arguments *arguments) {
    const dl_config *config = j->setup.config;
    const char *forced[DL_MAX_REPEATS + 1], *schedule = config->train.schedule.kind->name;
    const dl_resume_freedom freedom = {.any_length = strcmp(schedule, "cosine") != 0 &&
                                                     strcmp(schedule, "polynomial") != 0,
                                       .forced = forced,
                                       .n_forced = dl_arguments_all(arguments, "force", forced)};
    bool other_data = false;
    for (int i = 0; i < freedom.n_forced; i++) {
        other_data = other_data || strcmp(forced[i], "data.path") == 0;
    }
    DL_RETURN_IF_ERROR(compare_with_file(j, &freedom));
    DL_RETURN_ERROR_IF(
        strcmp(j->resume.data_digest, j->session->train_info.digest) != 0 && !other_data, DL_ERR_USAGE,
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
    const dl_status status = compared ? compare_configs(j, arguments) : DL_OK;
    return dl_comm_agree(j->runtime->world, status, NULL);
}

/* Rank 0: what was found before the session was made is still what there is. */
static dl_status open_run(dl_job *j, bool fresh) {
    const char *run_dir = j->setup.config->run.dir;
    if (j->resume.found && !j->resume.elsewhere) {
        DL_RETURN_IF_ERROR(dl_run_dir_open(run_dir, &j->run));
    }
    return fresh ? DL_OK : dl_resume_is_current(run_dir, &j->resume);
}

dl_status dl_job_load(dl_job *j, const dl_arguments *arguments) {
    dl_comm *world = j->runtime->world;
    const bool fresh = dl_arguments_flag(arguments, "fresh") != NULL;
    const dl_status status = world->rank == 0 ? open_run(j, fresh) : DL_OK;
    DL_RETURN_IF_ERROR(dl_comm_agree(world, status, NULL));
    DL_RETURN_IF_ERROR(dl_session_init_parameters(j->session));
    return j->resume.found ? dl_resume_load(&j->resume, j->session) : DL_OK;
}

dl_status dl_job_is_finished(dl_job *j, const dl_arguments *arguments, int64_t *step) {
    dl_comm *world = j->runtime->world;
    const int64_t total = j->session->total_steps;
    const bool at_end = j->resume.found && (j->resume.trainer.early || j->resume.step >= total);
    int64_t told = world->rank == 0 ? dl_run_status_done(j->setup.config->run.dir) : -1;
    DL_RETURN_IF_ERROR(world->functions->broadcast(world, &told, sizeof told, 0));
    *step = -1;
    if (at_end && (told >= 0 || j->resume.step > total)) {
        *step = j->resume.step;
    } else if (j->resume.found && dl_arguments_flag(arguments, "resume") == NULL && told >= total) {
        *step = told; /* its last checkpoint could not be saved */
    }
    return DL_OK;
}
