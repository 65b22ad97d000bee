#include "model/scoring.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>

const dl_option dl_no_options[] = {DL_OPTION_END};

#define DL_LOSS(name) extern const dl_loss_kind dl_loss_##name;
#define DL_LOSS_ALIAS(other, name)
#include "model/losses.def"
#undef DL_LOSS
#undef DL_LOSS_ALIAS
#define DL_METRIC(name) extern const dl_metric_kind dl_metric_##name;
#include "model/metrics.def"
#undef DL_METRIC

/* --- the tables --- */

/* Rows in the order of the names: losses, then aliases. */
static const dl_loss_kind *const losses[] = {
#define DL_LOSS(name) &dl_loss_##name,
#define DL_LOSS_ALIAS(other, name) &dl_loss_##name,
#include "model/losses.def"
#undef DL_LOSS
#undef DL_LOSS_ALIAS
};

static const dl_metric_kind *const metrics[] = {
#define DL_METRIC(name) &dl_metric_##name,
#include "model/metrics.def"
#undef DL_METRIC
};

enum { N_LOSSES = sizeof losses / sizeof losses[0], N_METRICS = sizeof metrics / sizeof metrics[0] };

#define DL_LOSS(name)
#define DL_LOSS_ALIAS(other, name)                                                                           \
    static const dl_variant_kind alias_##other = {#other, "another name of " #name, dl_no_options, 0};
#include "model/losses.def"
#undef DL_LOSS
#undef DL_LOSS_ALIAS

const dl_variant_kind *const *dl_loss_variants(void) {
    static const dl_variant_kind *const variants[] = {
#define DL_LOSS(name) &dl_loss_##name.variant,
#define DL_LOSS_ALIAS(other, name) &alias_##other,
#include "model/losses.def"
#undef DL_LOSS
#undef DL_LOSS_ALIAS
        NULL};
    return variants;
}

const dl_variant_kind *const *dl_metric_variants(void) {
    static const dl_variant_kind *const variants[] = {
#define DL_METRIC(name) &dl_metric_##name.variant,
#include "model/metrics.def"
#undef DL_METRIC
        NULL};
    return variants;
}

const dl_loss_kind *dl_loss_at(int index) {
    return losses[index];
}

const dl_metric_kind *dl_metric_at(int64_t index) {
    return metrics[index];
}

const dl_loss_kind *dl_loss_find(const char *name) {
    for (int i = 0; i < N_LOSSES; i++) {
        if (strcmp(dl_loss_variants()[i]->name, name) == 0) {
            return losses[i];
        }
    }
    return NULL;
}

static int metric_number(const char *name) {
    for (int i = 0; i < N_METRICS; i++) {
        if (strcmp(metrics[i]->variant.name, name) == 0) {
            return i;
        }
    }
    return -1;
}

const dl_metric_kind *dl_metric_find(const char *name) {
    const int i = metric_number(name);
    return i < 0 ? NULL : metrics[i];
}

dl_status dl_score_rows(dl_score_build *b, const char *name, dl_op_kind kind, const dl_op_attr *attr,
                        int *value) {
    dl_model *model = b->build.model;
    dl_shape rows = model->value[b->scores].shape;
    rows.dim[--rows.n_dims] = 0;
    const dl_value made = {.kind = DL_VALUE_COMPUTED,
                           .name = name,
                           .layer = -1,
                           .dtype = DL_F32,
                           .batched = true,
                           .figure = true,
                           .shape = rows,
                           .source = -1,
                           .any_length = model->value[b->scores].any_length};
    DL_RETURN_IF_ERROR(dl_model_add_value(model, &made, value));
    const int slots[] = {b->scores, b->targets, *value};
    return dl_layer_op(&b->build, kind, attr, slots, 3, NULL);
}

/* --- the configuration --- */

/* The number of a loss's own name, whichever name was given. */
static int own_number(int index) {
    for (int i = 0; i < N_LOSSES; i++) {
        if (losses[i] == losses[index]) {
            return i;
        }
    }
    return index;
}

static dl_status check_metrics(const dl_config *config, const dl_loss_kind *loss,
                               dl_diagnostics *diagnostics) {
    const dl_train_config *train = &config->train;
    for (int i = 0; i < train->metrics.n; i++) {
        const dl_metric_kind *metric = dl_metric_at(train->metrics.value[i]);
        if (metric->target != loss->target) {
            DL_RETURN_IF_ERROR(dl_diagnose(
                diagnostics, config->places.metrics, "%s is a metric of %s, but the loss %s is one of %s",
                metric->variant.name, metric->target == DL_TARGET_CLASSES ? "classes" : "numbers",
                loss->variant.name, loss->target == DL_TARGET_CLASSES ? "classes" : "numbers"));
        }
    }
    return DL_OK;
}

bool dl_monitor_parse(const dl_train_config *train, const char *name, dl_monitor *out) {
    const char *figure = strncmp(name, "valid_", 6) == 0 ? name + 6 : name;
    *out = (dl_monitor){.valid = figure != name, .metric = -1};
    if (strcmp(figure, "loss") == 0) {
        return true;
    }
    for (int i = 0; i < train->metrics.n; i++) {
        const dl_metric_kind *metric = dl_metric_at(train->metrics.value[i]);
        if (strcmp(metric->variant.name, figure) == 0) {
            out->metric = i;
            out->larger_is_better = metric->larger_is_better;
            return true;
        }
    }
    return false;
}

/* "valid_loss, valid_accuracy, loss, accuracy": what can be watched. */
static dl_status check_monitor(const dl_config *config, const char *key, const char *name, dl_place place,
                               dl_diagnostics *diagnostics) {
    dl_monitor monitor;
    if (dl_monitor_parse(&config->train, name, &monitor)) {
        return DL_OK;
    }
    dl_text known = {0};
    dl_status status = dl_text_append(&known, "valid_loss");
    for (int i = 0; i < config->train.metrics.n && status == DL_OK; i++) {
        status =
            dl_text_append(&known, ", valid_%s", dl_metric_at(config->train.metrics.value[i])->variant.name);
    }
    if (status == DL_OK) {
        status = dl_diagnose(diagnostics, place,
                             "%s is '%.60s', which is not computed; there is %s, and the same without valid_",
                             key, name, known.data);
    }
    dl_text_free(&known);
    return status;
}

/* checkpoint.best may say that there is none. */
static bool is_figure(const char *best) {
    return best[0] != '\0' && strcmp(best, "none") != 0;
}

dl_status dl_scoring_check(dl_config *config, dl_diagnostics *diagnostics) {
    dl_train_config *train = &config->train;
    train->loss = own_number(train->loss);
    const dl_loss_kind *loss = dl_loss_at(train->loss);
    if (!config->places.metrics_given) {
        train->metrics = (dl_int_list){.word = -1};
        if (loss->metric != NULL) {
            train->metrics.value[train->metrics.n++] = metric_number(loss->metric);
        }
    }
    DL_RETURN_IF_ERROR(check_metrics(config, loss, diagnostics));
    if (train->label_smoothing > 0 && loss->target != DL_TARGET_CLASSES) {
        DL_RETURN_IF_ERROR(
            dl_diagnose(diagnostics, config->places.label_smoothing,
                        "label_smoothing is for classes, but the loss %s is one of numbers; leave it out",
                        loss->variant.name));
    }
    if (!config->places.best_given && train->early_stopping.patience > 0) {
        config->checkpoint.best = train->early_stopping.monitor;
    } else if (!config->places.best_given && config->checkpoint.every_epochs == 0) {
        config->checkpoint.best = "none";
    }
    DL_RETURN_IF_ERROR(
        check_monitor(config, "monitor", train->early_stopping.monitor, config->places.monitor, diagnostics));
    if (is_figure(config->checkpoint.best) && config->checkpoint.best != train->early_stopping.monitor) {
        DL_RETURN_IF_ERROR(
            check_monitor(config, "best", config->checkpoint.best, config->places.best, diagnostics));
    }
    return DL_OK;
}
