/* A model to use, as eval, generate and predict take it: a run, a checkpoint, or a file of weights. */
#ifndef DLTRAIN_LAUNCHER_MODEL_SOURCE_H
#define DLTRAIN_LAUNCHER_MODEL_SOURCE_H

#include "launcher/command.h"
#include "train/session.h"

#include <limits.h>

/* The flags that go with it, for a command's table. */
#define DL_MODEL_SOURCE_FLAGS                                                                                \
    {"weights", "FILE", "other weights than the run's newest, RUN/best.h5 say"}, {                           \
        "config", "FILE", "the model's configuration, where no config.yaml stands with the weights"          \
    }

/* What it can be, for a command's help. */
#define DL_MODEL_SOURCE_HELP                                                                                    \
    "The model is that of a run, runs/NAME: its averaged weights RUN/ema.h5, which it evaluated itself, else\n" \
    "RUN/weights.h5, else its newest checkpoint; or of a checkpoint, RUN/checkpoints/step-00001200, whose\n"    \
    "digests are compared first and which gives its averaged weights where the run had them; or of a file of\n" \
    "weights in a run directory."

/* What of it is where. */
typedef struct dl_model_source {
    char config[PATH_MAX];
    char weights[PATH_MAX];    /* a file of weights; "": the parameters are those of */
    char checkpoint[PATH_MAX]; /* this checkpoint's folder */
} dl_model_source;

/* Finds what the command's first word names:
 *  - a run: the weights are --weights FILE, else the averaged ones, RUN/ema.h5, which are what the run itself
 *    evaluated, else RUN/weights.h5, else those of its newest checkpoint;
 *  - a checkpoint (RUN/checkpoints/step-00001200, or a copy), or a folder of them, of which the newest
 * counts: the averaged parameters where it has them. The configuration is that of the run it stands in;
 *  - a file of weights: the configuration is the config.yaml beside it.
 * --config FILE takes the configuration's place. DL_ERR_USAGE when there is no such thing. Collective over
 * world: rank 0 looks. */
DL_NODISCARD dl_status dl_model_source_find(dl_comm *world, const dl_arguments *arguments,
                                            dl_model_source *out);

/* Sets the session's parameters. The ranks of `comm` divide the comparing of a checkpoint's digests;
 * DL_ERR_CORRUPT names file and bytes. Collective over it; all ranks return the same. */
DL_NODISCARD dl_status dl_model_source_read(const dl_model_source *source, dl_comm *comm,
                                            dl_session *session);

#endif
