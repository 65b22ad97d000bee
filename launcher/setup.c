#define _GNU_SOURCE
#include "launcher/setup.h"

#include "base/log.h"
#include "base/text.h"
#include "launcher/gpu_choice.h"
#include "launcher/gpu_join.h"
#include "model/augment.h"
#include "model/scoring.h"
#include "optim/optim.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *default_path(void) {
    return dl_file_exists("dltrain.yaml") ? "dltrain.yaml" : NULL;
}

dl_config_kinds dl_setup_kinds(void) {
    return (dl_config_kinds){.optimizers = dl_optimizer_kinds(),
                             .schedules = dl_schedule_kinds(),
                             .layers = dl_layer_variants(),
                             .augmentations = dl_augmentation_variants(),
                             .losses = dl_loss_variants(),
                             .metrics = dl_metric_variants()};
}

static dl_status load(const char *path, const char *const *overrides, int n_overrides, dl_setup *setup) {
    DL_RETURN_IF_ERROR(dl_pool_create(&setup->pool));
    const dl_config_kinds kinds = dl_setup_kinds();
    DL_RETURN_IF_ERROR(dl_config_table(&kinds, setup->pool, &setup->table));
    DL_RETURN_IF_ERROR(dl_config_load(path, overrides, n_overrides, setup->table, setup->pool,
                                      &setup->diagnostics, &setup->config));
    DL_RETURN_IF_ERROR(dl_optimizer_check(&setup->config->train.optimizer, &setup->diagnostics));
    DL_RETURN_IF_ERROR(dl_scoring_check(setup->config, &setup->diagnostics));
    DL_RETURN_IF_ERROR(dl_schedule_check(&setup->config->train.schedule, &setup->diagnostics));
    return dl_diagnostics_finish(&setup->diagnostics);
}

/* Mistakes that rank 0 does not have, in a job whose ranks were given different files, are told by the lowest
 * rank that has them. */
static void tell_mistakes_of_others(const dl_setup *setup, const dl_comm *world) {
    if (world->failed && world->failed_rank == world->rank && world->rank > 0 && setup->mistakes.size > 0) {
        (void)fwrite(setup->mistakes.data, 1, setup->mistakes.size, stderr);
    }
}

static dl_status compare(const dl_setup *setup, dl_comm *world) {
    dl_text text = {0};
    dl_status status = dl_setup_print(setup, &text);
    if (status == DL_OK) {
        status = dl_comm_compare(world, "config", text.data);
    }
    dl_text_free(&text);
    return status;
}

dl_status dl_setup_load(const char *path, const char *const *overrides, int n_overrides, dl_comm *world,
                        dl_setup *out) {
    *out = (dl_setup){0};
    if (world != NULL && world->rank > 0) {
        out->diagnostics.quiet = true;
        out->diagnostics.out = &out->mistakes;
    }
    if (path == NULL) {
        path = default_path();
        if (path == NULL && (world == NULL || world->rank == 0)) {
            (void)printf("no configuration given: running the built-in example, a small CNN on made digits "
                         "(see `dltrain help config`)\n");
            (void)fflush(stdout);
        }
    }
    dl_status status = load(path, overrides, n_overrides, out);
    if (world == NULL) {
        return status;
    }
    status = dl_comm_agree(world, status, NULL);
    tell_mistakes_of_others(out, world);
    DL_RETURN_IF_ERROR(status);
    return compare(out, world);
}

void dl_setup_release(dl_setup *setup) {
    dl_text_free(&setup->mistakes);
    dl_pool_destroy(&setup->pool);
}

dl_status dl_setup_print(const dl_setup *setup, dl_text *out) {
    return dl_config_print(setup->config, setup->table, out);
}

dl_status dl_setup_session(dl_setup *setup, const dl_session_options *wanted, dl_session **out) {
    dl_session_options options = *wanted;
    options.config = setup->config;
    options.diagnostics = &setup->diagnostics;
    options.join = dl_gpu_join;
    options.progress = dl_setup_progress;
    if (setup->config->backend == DL_BACKEND_AUTO || setup->config->backend == DL_BACKEND_CUDA) {
        DL_RETURN_IF_ERROR(dl_gpu_choose(options.world, &options.gpu, &setup->gpu_sharing));
    }
    return dl_session_open(&options, out);
}

void dl_setup_progress(const char *what, double share) {
    if (isatty(STDERR_FILENO)) {
        (void)fprintf(stderr, "\r\033[K%s %3.0f %%%s", what, 100.0 * share, share >= 1.0 ? "\n" : "");
    }
}
