/* A session: a checked configuration made ready to run on this rank. Data opened, model built, device taken,
 * programs compiled, memory bound. Training, evaluation, bench and check all start from one. */
#ifndef DLTRAIN_TRAIN_SESSION_H
#define DLTRAIN_TRAIN_SESSION_H

#include "config/config.h"
#include "datasets/dataset.h"
#include "program/run.h"
#include "train/checkpoint/checkpoint.h"

typedef enum dl_split { DL_SPLIT_TRAIN, DL_SPLIT_VALID, DL_SPLIT_TEST, DL_N_SPLITS } dl_split;

const char *dl_split_name(dl_split split);

/* Samples of a data set that make up a split: first .. first + n of `dataset` (borrowed; NULL: no such
 * split). */
typedef struct dl_split_data {
    dl_dataset *dataset;
    int64_t first, n;
} dl_split_data;

typedef struct dl_shares dl_shares; /* session_shares.c */

typedef struct dl_session {
    dl_pool *pool;
    const dl_config *config;
    dl_comm *world;
    int n_threads;
    dl_comm *joined; /* the world in the memory of its devices; NULL where that is the host's */
    dl_grid *grid;   /* of joined or world; NULL in a dry session */
    int data_ranks;  /* that share the samples */
    /* Samples are divided into pieces, so that what is computed depends on no rank's share:
     * config.reproducible, and predictions, at as many ranks as there are pieces. */
    bool reproducible;
    dl_dataset *train_files, *valid_files, *test_files;
    dl_dataset_info train_info;     /* of the files; of the maker where there are none yet (check) */
    int64_t n_samples[DL_N_SPLITS]; /* of an epoch; of a text: windows (times rows) */
    dl_split_data split[DL_N_SPLITS];
    dl_view *view[DL_N_SPLITS];          /* NULL where there are no files */
    dl_view_info view_info[DL_N_SPLITS]; /* the forms of batches; what would be, where there are no files */
    bool data_unknown;                   /* dry: neither files nor a maker that fits the model */
    bool valid_is_test;                  /* there is no validation split: epochs are validated on test */
    dl_model *model;                     /* the whole one */
    dl_shares *shares;                   /* of it over the tensor axis; NULL: this rank has all of it */
    dl_device *device;
    char why_cpu[256]; /* `backend: auto` uses no GPU although there seems to be one: the reason; else "" */
    dl_plan *plan;
    bool trains;       /* programs for training, too (options.training) */
    bool one_position; /* the model is built for samples of one position (options.generate) */
    int generate;      /* program for one sample (options.generate), -1 */
    int apply;         /* program for a batch of other samples (options.apply), -1 */
    int train_full;    /* program for a full batch, of the longest sequences there are */
    int64_t steps_per_epoch, total_steps;
    dl_host_arenas host; /* for weights.h5: of the whole model */
    float *averaged;     /* trainable parameters for ema.h5; NULL without train.ema_decay */
} dl_session;

typedef struct dl_session_options {
    const dl_config *config;
    dl_diagnostics *diagnostics; /* for mistakes in the model */
    dl_comm *world; /* NULL: dry, as rank 0 of n_ranks; no data is made, nothing is taken (check) */
    int n_ranks;    /* dry sessions only; 0: as many as config.parallel asks for, at least */
    int n_threads;
    int gpu; /* which of the GPUs that this process sees, where one is used */
    /* Joins the ranks in the memory of their devices, where a backend has its own; collective over world. */
    dl_status (*join)(dl_comm *world, const dl_device *device, dl_comm **out);
    bool training; /* programs for training too, not for evaluation alone */
    bool predict;  /* evaluations keep the scores of their samples (predictions.h) */
    /* The session generates text (generate.h): programs for one sample, which keep its scores; where a state
     * carries all that came before (dl_model_context), for one position. Nothing is measured, so that the
     * same arithmetic is done every time. */
    bool generate;
    /* The model is applied to samples of other files (predict.h): one program for config.train.batch_size of
     * them that computes scores and nothing else, and keeps them. The data set says what samples are and is
     * neither made nor read; without it the maker or the config says. On one rank. */
    bool apply;
    int64_t longest;     /* with `apply`, of a model for sequences of any length: positions of the program */
    const char *choices; /* of the run that goes on (dl_plan_choices), NULL: none */
    bool as_gpu;         /* programs like a GPU's, on backend ref (dl_plan_options) */
    bool synthetic;      /* no data set is opened: shapes from the maker or the config (bench) */
    void (*progress)(const char *what, double share); /* of making data; may be NULL */
} dl_session_options;

/* Collective over world. Mistakes of the configuration are DL_ERR_USAGE, all ranks agree on them. Also on
 * failure *out holds what was opened so far: releasing it (dl_session_close) is collective, so a failure of
 * one rank alone must have ended the job before. */
DL_NODISCARD dl_status dl_session_open(const dl_session_options *options, dl_session **out);
void dl_session_close(dl_session **session);

/* Sets the parameters to their initial values and refreshes what depends on them. */
DL_NODISCARD dl_status dl_session_init_parameters(dl_session *session);

/* Sets them from a weights.h5. Every rank reads the file. */
DL_NODISCARD dl_status dl_session_read_weights(dl_session *session, const char *path);

/* Sets them from a checkpoint, averaged ones where it has them. Damaged files are DL_ERR_CORRUPT naming file
 * and bytes, tensors that do not fit the model DL_ERR_USAGE. Not collective. */
DL_NODISCARD dl_status dl_session_read_checkpoint(dl_session *session, dl_checkpoint *checkpoint);

/* Gives back the memory of the parameters on the host, for sessions that never save. */
void dl_session_release_host(dl_session *session);

/* Brings the parameters to session->host and ->averaged, whole. Collective over the tensor axis. */
DL_NODISCARD dl_status dl_session_fetch_parameters(dl_session *session);

/* Runs the refresh program: copies of parameters for evaluation. */
DL_NODISCARD dl_status dl_session_refresh(dl_session *session);

/* Bytes this rank takes beside the plan's storages: host copies of the parameters, batches read ahead. */
size_t dl_session_host_bytes(const dl_session *session);

/* The ranks that work together, also in a dry session. */
int dl_session_ranks(const dl_session *session);

/* The program of this kind for a global batch; -1 when it was not compiled. */
int dl_session_program(const dl_session *session, dl_program_kind kind, const dl_global_batch *batch);

#endif
