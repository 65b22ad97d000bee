/* What train, check, eval and bench begin with: configuration, session. */
#ifndef DLTRAIN_LAUNCHER_SETUP_H
#define DLTRAIN_LAUNCHER_SETUP_H

#include "launcher/bootstrap.h"
#include "launcher/command.h"
#include "train/session.h"

enum { DL_SETUP_PATH_BYTES = 4096 };

/* A loaded configuration and what it lives in. */
typedef struct dl_setup {
    dl_pool *pool;
    const dl_option *table;
    dl_config *config;
    dl_diagnostics diagnostics;
    dl_text mistakes; /* of ranks other than 0, which print nothing by themselves */
    bool predict;     /* for dl_setup_session: evaluations keep their samples' scores */
    bool generate;    /* for dl_setup_session: text is generated */
} dl_setup;

/* Loads CONFIG (path NULL: ./dltrain.yaml, else the built-in example, said in one line) with the overrides.
 * With a world, all ranks agree: mistakes are told once, and differing configurations are DL_ERR_USAGE naming
 * the key. */
DL_NODISCARD dl_status dl_setup_load(const char *path, const char *const *overrides, int n_overrides,
                                     dl_comm *world, dl_setup *out);
void dl_setup_release(dl_setup *setup);

/* The files of a finished run: RUN/config.yaml, and its weights: `weights` when that is not NULL, else the
 * averaged ones, RUN/ema.h5, which are what the run itself evaluated, else RUN/weights.h5. DL_ERR_USAGE when
 * RUN is no run directory or has no such file. */
typedef struct dl_run_files {
    char config[DL_SETUP_PATH_BYTES], weights[DL_SETUP_PATH_BYTES];
} dl_run_files;
DL_NODISCARD dl_status dl_setup_find_run(const char *run, const char *weights, dl_run_files *out);

/* What the tables of optimizers, layers, ... bring to a configuration. */
dl_config_kinds dl_setup_kinds(void);

/* The resolved configuration as text, owned by `out`. */
DL_NODISCARD dl_status dl_setup_print(const dl_setup *setup, dl_text *out);

/* Opens a session for it. world NULL: dry, for n_ranks ranks. */
DL_NODISCARD dl_status dl_setup_session(dl_setup *setup, dl_comm *world, int n_ranks, int n_threads,
                                        bool training, bool synthetic, dl_session **out);

/* Prints progress of long work on a terminal (stderr). */
void dl_setup_progress(const char *what, double share);

#endif
