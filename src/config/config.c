/* The table of all options, with their defaults. */
#include "config/config.h"

#include "config/expand.h"
#include "config/option_type.h"

#include <string.h>

const char *const dl_config_backends[] = {"auto", "ref", "ref:strict", "cpu", "cuda", NULL};
const char *const dl_config_makers[] = {"none",   "digits", "shapes",     "shapes224",
                                        "series", "text",   "text_chars", NULL};
const char *const dl_config_precisions[] = {"float32", "bfloat16", "float16", "tf32", NULL};

static const char *const dtype_words[] = {"float32", "tokens", NULL};
static const char *const auto_word[] = {"auto", NULL};
static const char *const open_words[] = {"null", "auto", NULL};

bool dl_config_is_open(int64_t number) {
    return number == DL_WORD(0) || number == DL_WORD(1);
}

enum { COUNT_LIMIT = 1000000000, MAX_RANKS = 1 << 20 };

static const dl_option data_options[] = {
    {.name = "path",
     .type = DL_TYPE_TEXT,
     .offset = offsetof(dl_data_config, path),
     .fallback = "data/digits",
     .doc = "folder of the shards train-*.h5 and test-*.h5"},
    {.name = "make",
     .type = DL_TYPE_CHOICE,
     .offset = offsetof(dl_data_config, make),
     .fallback = "digits",
     .words = dl_config_makers,
     .doc = "data set to make where path does not exist; none when path is given and this is not"},
    {.name = "valid",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(dl_data_config, valid),
     .fallback = "0.0",
     .max = 0.9,
     .doc = "share of the training samples kept for validation, unless there are shards valid-*.h5; without "
            "either, epochs are validated on the test samples"},
    {.name = "window",
     .type = DL_TYPE_INT,
     .offset = offsetof(dl_data_config, window),
     .fallback = "auto",
     .min = 1,
     .max = 1 << 24,
     .words = auto_word,
     .doc = "of a text: tokens that a sample consists of; auto: as many as model.input.shape says"},
    {.name = "stride",
     .type = DL_TYPE_INT,
     .offset = offsetof(dl_data_config, stride),
     .fallback = "1",
     .min = 1,
     .max = 1 << 24,
     .doc = "of a text: tokens from one window to the next, where a model predicts what follows a window"},
    {.name = "mean",
     .type = DL_TYPE_FLOATS,
     .offset = offsetof(dl_data_config, mean),
     .fallback = "[0.0]",
     .min_items = 1,
     .max_items = DL_MAX_LIST,
     .doc = "subtracted from the values (pixels are divided by 255 first); one for all channels or one each"},
    {.name = "std",
     .type = DL_TYPE_FLOATS,
     .offset = offsetof(dl_data_config, std),
     .fallback = "[1.0]",
     .min_items = 1,
     .max_items = DL_MAX_LIST,
     .doc = "then divides them; one for all channels or one each"},
    {.name = "augment",
     .type = DL_TYPE_NODE,
     .offset = offsetof(dl_data_config, augment),
     .entry = "augmentation",
     .fallback = "[]",
     .doc = "random changes of the training images, one after the other"},
    DL_OPTION_END,
};

static const dl_option input_options[] = {
    {.name = "shape",
     .type = DL_TYPE_INTS,
     .offset = offsetof(dl_input_config, shape),
     .min = 1,
     .max = 1 << 24,
     .min_items = 1,
     .max_items = 5,
     .item_words = open_words,
     .doc =
         "of one sample, channels last: [height, width, channels], [length], or [steps, features]; null for "
         "steps where samples differ in length"},
    {.name = "dtype",
     .type = DL_TYPE_CHOICE,
     .offset = offsetof(dl_input_config, dtype),
     .fallback = "float32",
     .words = dtype_words,
     .doc = "what a sample consists of"},
    DL_OPTION_END,
};

static const dl_option model_options[] = {
    {.name = "input",
     .type = DL_TYPE_GROUP,
     .offset = offsetof(dl_model_config, input),
     .group = input_options,
     .doc = "what goes in"},
    {.name = "layers",
     .type = DL_TYPE_NODE,
     .offset = offsetof(dl_model_config, layers),
     .entry = "layer",
     .min_items = 1,
     .doc = "from the input to the output; each takes the output of the one above it"},
    {.name = "top",
     .type = DL_TYPE_NODE,
     .offset = offsetof(dl_model_config, top),
     .fallback = "",
     .doc = "layers behind `layers` that an include with top: false leaves out: the head of a network"},
    {.name = "freeze",
     .type = DL_TYPE_NODE,
     .offset = offsetof(dl_model_config, freeze),
     .fallback = "",
     .doc = "a list of patterns like [conv1_*]: layers of such names keep their parameters"},
    DL_OPTION_END,
};

static const dl_option early_stopping_options[] = {
    {.name = "monitor",
     .type = DL_TYPE_TEXT,
     .offset = offsetof(dl_early_stopping_config, monitor),
     .fallback = "valid_loss",
     .doc = "the figure that must improve: valid_loss, valid_METRIC, loss or METRIC"},
    {.name = "patience",
     .type = DL_TYPE_INT,
     .offset = offsetof(dl_early_stopping_config, patience),
     .fallback = "0",
     .max = 1000000,
     .doc = "training ends after so many epochs in a row without improvement; 0: never"},
    {.name = "min_delta",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(dl_early_stopping_config, min_delta),
     .fallback = "0",
     .max = 1e300,
     .doc = "a change of this much or less is no improvement"},
    DL_OPTION_END,
};

static const char *const on_nan_words[] = {"stop", "skip", NULL};

static const dl_option train_options[] = {
    {.name = "epochs",
     .type = DL_TYPE_INT,
     .offset = offsetof(dl_train_config, epochs),
     .fallback = "5",
     .min = 1,
     .max = 1000000,
     .doc = "passes over the training samples"},
    {.name = "max_steps",
     .type = DL_TYPE_INT,
     .offset = offsetof(dl_train_config, max_steps),
     .fallback = "0",
     .max = COUNT_LIMIT,
     .doc = "training ends after so many steps; 0: after the epochs"},
    {.name = "batch_size",
     .type = DL_TYPE_INT,
     .offset = offsetof(dl_train_config, batch_size),
     .fallback = "128",
     .min = 1,
     .max = 1 << 24,
     .doc = "samples of a step, on all ranks together"},
    {.name = "accumulate",
     .type = DL_TYPE_INT,
     .offset = offsetof(dl_train_config, accumulate),
     .fallback = "1",
     .min = 1,
     .max = 4096,
     .doc = "micro-batches that a step's samples are divided into, to save memory"},
    {.name = "loss",
     .type = DL_TYPE_CHOICE,
     .offset = offsetof(dl_train_config, loss),
     .fallback = "softmax_cross_entropy",
     .doc = "what is minimised"},
    {.name = "label_smoothing",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(dl_train_config, label_smoothing),
     .fallback = "0",
     .max = 1,
     .doc = "share of the target that is spread evenly over all classes"},
    {.name = "metrics",
     .type = DL_TYPE_WORDS,
     .offset = offsetof(dl_train_config, metrics),
     .fallback = "[accuracy]",
     .max_items = 6,
     .doc = "what is reported beside the loss; none by default for losses of numbers"},
    {.name = "optimizer",
     .type = DL_TYPE_VARIANT,
     .offset = offsetof(dl_train_config, optimizer),
     .fallback = "adam",
     .doc = "how the weights follow the gradient"},
    {.name = "schedule",
     .type = DL_TYPE_VARIANT,
     .offset = offsetof(dl_train_config, schedule),
     .fallback = "constant",
     .doc = "how the learning rate goes"},
    {.name = "clip_norm",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(dl_train_config, clip_norm),
     .fallback = "0",
     .max = 1e300,
     .doc = "largest norm of the mean gradient over all parameters; 0: no limit"},
    {.name = "ema_decay",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(dl_train_config, ema_decay),
     .fallback = "0",
     .max = 0.99999999,
     .doc =
         "share of the averaged weights kept in a step: 0.999; they are evaluated and kept in ema.h5. 0: none"},
    {.name = "loss_scale",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(dl_train_config, loss_scale),
     .fallback = "0",
     .max = 1e37,
     .doc = "what losses are scaled by at first; halved when a gradient overflows, doubled after 2000 good "
            "steps. 0: 65536 with float16, else none"},
    {.name = "on_nan",
     .type = DL_TYPE_CHOICE,
     .offset = offsetof(dl_train_config, on_nan),
     .fallback = "stop",
     .words = on_nan_words,
     .doc =
         "when a gradient is NaN or infinite: stop training, or skip the step, which then changes nothing"},
    {.name = "max_skips",
     .type = DL_TYPE_INT,
     .offset = offsetof(dl_train_config, max_skips),
     .fallback = "10",
     .min = 1,
     .max = COUNT_LIMIT,
     .doc = "steps skipped in a row before training stops all the same"},
    {.name = "early_stopping",
     .type = DL_TYPE_GROUP,
     .offset = offsetof(dl_train_config, early_stopping),
     .fallback = "",
     .group = early_stopping_options,
     .doc = "when to end before the epochs are over"},
    DL_OPTION_END,
};

static const dl_option parallel_options[] = {
    {.name = "data",
     .type = DL_TYPE_INT,
     .offset = offsetof(dl_parallel_config, data),
     .fallback = "auto",
     .min = 1,
     .max = MAX_RANKS,
     .words = auto_word,
     .doc = "ranks that share a step's samples; auto: all"},
    {.name = "tensor",
     .type = DL_TYPE_INT,
     .offset = offsetof(dl_parallel_config, tensor),
     .fallback = "1",
     .min = 1,
     .max = MAX_RANKS,
     .doc = "ranks that share layers: pairs of dense layers with activations and dropout between them; the "
            "rest of the model is computed by each"},
    {.name = "pipeline",
     .type = DL_TYPE_INT,
     .offset = offsetof(dl_parallel_config, pipeline),
     .fallback = "1",
     .min = 1,
     .max = MAX_RANKS,
     .doc = "ranks that share the layers; 1 today"},
    DL_OPTION_END,
};

static const dl_option run_options[] = {
    {.name = "dir",
     .type = DL_TYPE_TEXT,
     .offset = offsetof(dl_run_config, dir),
     .fallback = "",
     .doc = "folder of the results; default: runs/NAME"},
    {.name = "log_every",
     .type = DL_TYPE_INT,
     .offset = offsetof(dl_run_config, log_every),
     .fallback = "10",
     .min = 1,
     .max = COUNT_LIMIT,
     .doc = "steps between two step lines in metrics.jsonl"},
    {.name = "audit",
     .type = DL_TYPE_BOOL,
     .offset = offsetof(dl_run_config, audit),
     .fallback = "false",
     .doc = "write the numbers of the samples of every step to audit.rankRRRRR.jsonl"},
    DL_OPTION_END,
};

static const char *const on_error_words[] = {"continue", "stop", NULL};

static const dl_option checkpoint_options[] = {
    {.name = "every_steps",
     .type = DL_TYPE_INT,
     .offset = offsetof(dl_checkpoint_config, every_steps),
     .fallback = "0",
     .max = COUNT_LIMIT,
     .doc = "steps between two checkpoints; 0: not by steps"},
    {.name = "every_minutes",
     .type = DL_TYPE_FLOAT,
     .offset = offsetof(dl_checkpoint_config, every_minutes),
     .fallback = "10",
     .max = 1e6,
     .doc = "minutes between two checkpoints; 0: not by time"},
    {.name = "every_epochs",
     .type = DL_TYPE_INT,
     .offset = offsetof(dl_checkpoint_config, every_epochs),
     .fallback = "1",
     .max = COUNT_LIMIT,
     .doc = "epochs between two checkpoints; 0: not by epochs"},
    {.name = "keep",
     .type = DL_TYPE_INT,
     .offset = offsetof(dl_checkpoint_config, keep),
     .fallback = "2",
     .min = 1,
     .max = COUNT_LIMIT,
     .doc = "newest checkpoints that are kept"},
    {.name = "on_error",
     .type = DL_TYPE_CHOICE,
     .offset = offsetof(dl_checkpoint_config, on_error),
     .fallback = "continue",
     .words = on_error_words,
     .doc = "what becomes of training when a checkpoint cannot be saved"},
    {.name = "best",
     .type = DL_TYPE_TEXT,
     .offset = offsetof(dl_checkpoint_config, best),
     .fallback = "valid_loss",
     .doc =
         "figure whose best epoch is kept: its weights in best.h5, its checkpoint beside the newest ones; "
         "none: of no figure. Default: what early_stopping watches, else valid_loss where there is something to "
         "validate on and every_epochs is not 0"},
    DL_OPTION_END,
};

static const dl_option root_options[] = {
    {.name = "name",
     .type = DL_TYPE_TEXT,
     .offset = offsetof(dl_config, name),
     .fallback = "",
     .doc = "of the run; default: the config file's name without its ending"},
    {.name = "seed",
     .type = DL_TYPE_INT,
     .offset = offsetof(dl_config, seed),
     .fallback = "1",
     .max = 9007199254740991,
     .doc = "of everything random: the same seed gives the same run"},
    {.name = "backend",
     .type = DL_TYPE_CHOICE,
     .offset = offsetof(dl_config, backend),
     .fallback = "auto",
     .words = dl_config_backends,
     .doc = "what computes; auto: cuda where there is a GPU, else cpu"},
    {.name = "precision",
     .type = DL_TYPE_CHOICE,
     .offset = offsetof(dl_config, precision),
     .fallback = "float32",
     .words = dl_config_precisions,
     .doc =
         "of activations and of weights as kernels read them; sums, gradients and the weights kept stay float32"},
    {.name = "reproducible",
     .type = DL_TYPE_BOOL,
     .offset = offsetof(dl_config, reproducible),
     .fallback = "false",
     .doc = "true: the same bits with any number of ranks up to 8 and any number of threads"},
    {.name = "data",
     .type = DL_TYPE_GROUP,
     .offset = offsetof(dl_config, data),
     .fallback = "",
     .group = data_options,
     .doc = "the samples"},
    {.name = "model",
     .type = DL_TYPE_GROUP,
     .offset = offsetof(dl_config, model),
     .group = model_options,
     .doc = "the network"},
    {.name = "train",
     .type = DL_TYPE_GROUP,
     .offset = offsetof(dl_config, train),
     .fallback = "",
     .group = train_options,
     .doc = "how it is trained"},
    {.name = "parallel",
     .type = DL_TYPE_GROUP,
     .offset = offsetof(dl_config, parallel),
     .fallback = "",
     .group = parallel_options,
     .doc = "how the work is divided over ranks"},
    {.name = "run",
     .type = DL_TYPE_GROUP,
     .offset = offsetof(dl_config, run),
     .fallback = "",
     .group = run_options,
     .doc = "where the results go and what is written"},
    {.name = "checkpoint",
     .type = DL_TYPE_GROUP,
     .offset = offsetof(dl_config, checkpoint),
     .fallback = "",
     .group = checkpoint_options,
     .doc = "which weights are kept beside the newest"},
    DL_OPTION_END,
};

/* A copy of a table in the pool, for rows that are only known at run time. */
static dl_status copy_table(const dl_option *table, size_t n, dl_pool *pool, dl_option **out) {
    DL_RETURN_IF_ERROR(dl_pool_alloc(pool, n, sizeof **out, out));
    memcpy(*out, table, n * sizeof **out);
    return DL_OK;
}

static dl_option *row(dl_option *table, const char *name) {
    while (strcmp(table->name, name) != 0) {
        table++;
    }
    return table;
}

/* The layer kinds, and repeat and include. */
static dl_status with_expansions(const dl_variant_kind *const *layers, dl_pool *pool,
                                 const dl_variant_kind *const **out) {
    const dl_variant_kind **all = NULL;
    size_t n = 0, m = 0;
    if (layers == NULL) {
        *out = NULL;
        return DL_OK;
    }
    while (layers[n] != NULL) {
        n++;
    }
    while (dl_expansions[m] != NULL) {
        m++;
    }
    DL_RETURN_IF_ERROR(dl_pool_alloc(pool, n + m + 1, sizeof *all, &all));
    memcpy(all, layers, n * sizeof *all);
    memcpy(all + n, dl_expansions, (m + 1) * sizeof *all);
    *out = all;
    return DL_OK;
}

/* A choice among the names of kinds; the kinds stay for their documentation. */
static dl_status name_choices(dl_option *option, const dl_variant_kind *const *kinds, dl_pool *pool) {
    option->variants = kinds;
    return dl_variant_names(kinds, pool, &option->words);
}

dl_status dl_config_table(const dl_config_kinds *kinds, dl_pool *pool, const dl_option **out) {
    dl_option *data = NULL, *model = NULL, *train = NULL, *root = NULL;
    DL_RETURN_IF_ERROR(copy_table(data_options, sizeof data_options / sizeof *data, pool, &data));
    DL_RETURN_IF_ERROR(copy_table(model_options, sizeof model_options / sizeof *model, pool, &model));
    DL_RETURN_IF_ERROR(copy_table(train_options, sizeof train_options / sizeof *train, pool, &train));
    DL_RETURN_IF_ERROR(copy_table(root_options, sizeof root_options / sizeof *root, pool, &root));
    DL_RETURN_IF_ERROR(with_expansions(kinds->layers, pool, &row(model, "layers")->variants));
    row(data, "augment")->variants = kinds->augmentations;
    row(train, "optimizer")->variants = kinds->optimizers;
    row(train, "schedule")->variants = kinds->schedules;
    DL_RETURN_IF_ERROR(name_choices(row(train, "loss"), kinds->losses, pool));
    DL_RETURN_IF_ERROR(name_choices(row(train, "metrics"), kinds->metrics, pool));
    row(root, "data")->group = data;
    row(root, "model")->group = model;
    row(root, "train")->group = train;
    *out = root;
    return DL_OK;
}
