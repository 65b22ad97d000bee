/* What train, check, eval and bench begin with: configuration, session. */
#ifndef DLTRAIN_LAUNCHER_SETUP_H
#define DLTRAIN_LAUNCHER_SETUP_H

#include "launcher/bootstrap.h"
#include "launcher/command.h"
#include "train/session.h"

/* A loaded configuration and what it lives in. */
typedef struct dl_setup {
    dl_pool *pool;
    const dl_option *table;
    dl_config *config;
    dl_diagnostics diagnostics;
    dl_text mistakes; /* of ranks other than 0, which print nothing by themselves */
    int gpu_sharing;  /* ranks on the GPU of this one; 0: it has none (after dl_setup_session) */
} dl_setup;

/* Loads CONFIG (path NULL: ./dltrain.yaml, else the built-in example, said in one line) with the overrides.
 * With a world, all ranks agree: mistakes are told once, and differing configurations are DL_ERR_USAGE naming
 * the key. */
DL_NODISCARD dl_status dl_setup_load(const char *path, const char *const *overrides, int n_overrides,
                                     dl_comm *world, dl_setup *out);
void dl_setup_release(dl_setup *setup);

/* What the tables of optimizers, layers, ... bring to a configuration. */
dl_config_kinds dl_setup_kinds(void);

/* The resolved configuration as text, owned by `out`. */
DL_NODISCARD dl_status dl_setup_print(const dl_setup *setup, dl_text *out);

/* Opens a session for it, as `wanted`, whose fields config, diagnostics, gpu, join and progress are set here.
 * Collective over wanted->world. */
DL_NODISCARD dl_status dl_setup_session(dl_setup *setup, const dl_session_options *wanted, dl_session **out);

/* Prints progress of long work on a terminal (stderr). */
void dl_setup_progress(const char *what, double share);

#endif
