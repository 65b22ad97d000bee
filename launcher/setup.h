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
    dl_text mistakes;    /* of ranks other than 0, which print nothing by themselves */
    bool predict;        /* for dl_setup_session: evaluations keep their samples' scores */
    bool generate;       /* for dl_setup_session: text is generated */
    bool apply;          /* for dl_setup_session: the model is applied to other samples, */
    int64_t longest;     /* the longest of this length */
    bool as_gpu;         /* for dl_setup_session: the same field of its options */
    const char *choices; /* for dl_setup_session: of the run that goes on; NULL: none */
    int gpu_sharing;     /* ranks on the GPU of this one; 0: it has none (after dl_setup_session) */
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

/* Opens a session for it. world NULL: dry, for n_ranks ranks. */
DL_NODISCARD dl_status dl_setup_session(dl_setup *setup, dl_comm *world, int n_ranks, int n_threads,
                                        bool training, bool synthetic, dl_session **out);

/* Prints progress of long work on a terminal (stderr). */
void dl_setup_progress(const char *what, double share);

#endif
