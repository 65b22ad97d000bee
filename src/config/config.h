/* The checked configuration of a run: the structs that the option table fills. */
#ifndef DLTRAIN_CONFIG_CONFIG_H
#define DLTRAIN_CONFIG_CONFIG_H

#include "config/option.h"

typedef enum dl_backend_choice {
    DL_BACKEND_AUTO,
    DL_BACKEND_REF,
    DL_BACKEND_REF_STRICT,
    DL_BACKEND_CPU,
    DL_BACKEND_CUDA
} dl_backend_choice;

typedef struct dl_data_config {
    const char *path; /* folder of shards */
    int make;         /* index into dl_config_makers; what to make when path is absent (0: nothing) */
    double valid;     /* share of the training samples kept for validation */
    int64_t window;   /* of a text; DL_WORD(0): as the input's shape says */
    int64_t stride;   /* between the beginnings of two windows */
    dl_float_list mean, std;
    const dl_node *augment;
} dl_data_config;

typedef struct dl_input_config {
    dl_int_list shape; /* of one sample, channels last; the first number may be open (dl_config_is_open) */
    int dtype;         /* 0 float32 (images as pixels/255), 1 tokens */
} dl_input_config;

typedef struct dl_model_config {
    dl_input_config input;
    const dl_node
        *layers;        /* read by src/model, with the layers' own tables; repeat and include are expanded */
    const dl_node *top; /* NULL: its layers are in `layers` */
    const dl_node *freeze; /* read by src/model; may be NULL */
} dl_model_config;

typedef struct dl_early_stopping_config {
    const char *monitor;
    int64_t patience; /* epochs without improvement; 0: never stop early */
    double min_delta;
} dl_early_stopping_config;

typedef struct dl_train_config {
    int64_t epochs, max_steps, batch_size, accumulate;
    int loss; /* index into the losses given to dl_config_table */
    double label_smoothing;
    dl_int_list metrics; /* indices into the metrics given to dl_config_table */
    dl_variant optimizer, schedule;
    double clip_norm, ema_decay;
    double loss_scale; /* the first one; 0: 65536 with float16, none otherwise */
    int on_nan;        /* 0: a gradient that is not finite stops training, 1: its step is skipped */
    int64_t max_skips; /* in a row */
    dl_early_stopping_config early_stopping;
} dl_train_config;

typedef struct dl_parallel_config {
    int64_t data; /* DL_WORD(0): auto, all ranks */
    int64_t tensor, pipeline;
} dl_parallel_config;

typedef struct dl_run_config {
    const char *dir;
    int64_t log_every;
    bool audit;
} dl_run_config;

typedef struct dl_checkpoint_config {
    int64_t every_steps, every_epochs; /* 0: not by this */
    double every_minutes;              /* 0: not by this */
    int64_t keep;                      /* checkpoints, at least 1 */
    const char *best;                  /* the figure whose best weights are kept; "none", "": none */
    int on_error;                      /* 0: training goes on, 1: it stops */
} dl_checkpoint_config;

/* Where values stand that others than this module check, for messages. */
typedef struct dl_config_places {
    dl_place loss, label_smoothing, metrics, monitor, best, tensor;
    bool metrics_given, best_given; /* train.metrics and checkpoint.best are not the default */
} dl_config_places;

typedef struct dl_config {
    const char *name;
    int64_t seed;
    int backend; /* dl_backend_choice */
    int precision;
    bool reproducible;
    dl_data_config data;
    dl_model_config model;
    dl_train_config train;
    dl_parallel_config parallel;
    dl_run_config run;
    dl_checkpoint_config checkpoint;
    /* not options */
    const char *file;     /* the config file's name for messages, "built-in example" */
    dl_place model_place; /* where the model is described, for messages */
    dl_place input_place; /* and the shape of its input */
    dl_config_places places;
} dl_config;

/* The kinds that other modules bring, NULL-terminated: config knows nobody. */
typedef struct dl_config_kinds {
    const dl_variant_kind *const *optimizers, *const *schedules, *const *layers;
    const dl_variant_kind *const *augmentations;
    const dl_variant_kind *const *losses, *const *metrics; /* names and docs; they have no options */
} dl_config_kinds;

/* The whole table. */
DL_NODISCARD dl_status dl_config_table(const dl_config_kinds *kinds, dl_pool *pool, const dl_option **out);

/* Loads, overrides, checks. path NULL: the built-in example (dl_config_example). Every mistake is reported to
 * `diagnostics` first; then the status is DL_ERR_USAGE, reported. The result lives in `pool`. */
DL_NODISCARD dl_status dl_config_load(const char *path, const char *const *overrides, int n_overrides,
                                      const dl_option *table, dl_pool *pool, dl_diagnostics *diagnostics,
                                      dl_config **out);

/* The resolved configuration as YAML; given back to dl_config_load it is the same run. */
DL_NODISCARD dl_status dl_config_print(const dl_config *config, const dl_option *table, dl_text *out);

/* Was a number of the input's shape left open: null or auto? */
bool dl_config_is_open(int64_t number);

/* The text of the built-in MNIST example; equal to configs/mnist_cnn.yaml (a test compares them). */
const char *dl_config_example(void);

/* Names behind the indices above, NULL-terminated. */
extern const char *const dl_config_backends[];
extern const char *const dl_config_makers[];
extern const char *const dl_config_precisions[];

#endif
