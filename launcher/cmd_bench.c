/* dltrain bench: the time of a training step on data that is already there. */
#define _GNU_SOURCE
#include "base/clock.h"
#include "base/rng.h"
#include "launcher/roofline.h"
#include "launcher/setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A batch of random samples in host memory. */
typedef struct sample_batch {
    void *field[DL_MAX_FIELDS];
    int64_t *ids;
    dl_step_block step;
} sample_batch;

static void release_batch(sample_batch *batch) {
    for (int i = 0; i < DL_MAX_FIELDS; i++) {
        dl_free(&batch->field[i]);
    }
    dl_free(&batch->ids);
}

static void fill_images(const dl_field *field, int64_t n_elements, void *out) {
    for (int64_t i = 0; i < n_elements; i++) {
        const double u = dl_rng_uniform(1, DL_RNG_TEST, (uint64_t)i, 0);
        if (field->dtype == DL_U8) {
            ((uint8_t *)out)[i] = (uint8_t)(256.0 * u);
        } else {
            ((float *)out)[i] = (float)u;
        }
    }
}

static void fill_numbers(uint64_t purpose, int64_t n, int64_t below, int32_t *out) {
    for (int64_t i = 0; i < n; i++) {
        out[i] = (int32_t)dl_rng_below(1, DL_RNG_TEST, (uint64_t)i, purpose, (uint64_t)below);
    }
}

/* Field `name` of the batch, as large as the program's value; NULL when the model does not read it. */
static dl_status make_field(const dl_session *session, const char *name, sample_batch *batch,
                            const dl_slot **slot, void **out) {
    const dl_program *program = session->plan->program[session->train_full];
    const dl_view_info *info = &session->view_info[DL_SPLIT_TRAIN];
    const int number = dl_view_field(info, name);
    *out = NULL;
    for (int s = 0; s < program->n_slots && number >= 0; s++) {
        if (program->slot[s].storage == DL_STORE_INPUT && strcmp(program->slot[s].name, name) == 0) {
            *slot = &program->slot[s];
            const size_t sample = program->slot[s].n_bytes / (size_t)program->slot[s].tensor.shape.dim[0];
            DL_RETURN_IF_ERROR(dl_alloc((size_t)program->local_samples, sample, &batch->field[number]));
            *out = batch->field[number];
            return DL_OK;
        }
    }
    return DL_OK;
}

static dl_status make_batch(const dl_session *session, sample_batch *batch) {
    const dl_program *program = session->plan->program[session->train_full];
    const dl_model *model = session->model;
    const int64_t n = program->local_samples;
    const dl_shape *outputs = &model->value[model->output.value].shape;
    const int64_t n_classes = outputs->dim[outputs->n_dims - 1];
    const dl_slot *slot = NULL;
    void *field = NULL;
    DL_RETURN_IF_ERROR(make_field(session, "x", batch, &slot, &field));
    const int64_t n_values = field == NULL ? 0 : n * dl_shape_stride(&slot->tensor.shape, 1);
    if (field != NULL && slot->tensor.dtype == DL_I32) { /* tokens: a text's outputs are its vocabulary */
        fill_numbers(2, n_values, n_classes, field);
    } else if (field != NULL) {
        fill_images(&session->train_info.field[0], n_values, field);
    }
    DL_RETURN_IF_ERROR(make_field(session, "lengths", batch, &slot, &field));
    for (int64_t i = 0; i < n && field != NULL; i++) {
        ((int32_t *)field)[i] = (int32_t)program->length;
    }
    DL_RETURN_IF_ERROR(make_field(session, "y", batch, &slot, &field));
    const int64_t n_targets = n * dl_shape_elements(&model->value[model->output.labels].shape);
    if (field != NULL && model->output.classes) {
        fill_numbers(1, n_targets, n_classes, field);
    }
    for (int64_t i = 0; i < n_targets && field != NULL && !model->output.classes; i++) {
        ((float *)field)[i] = (float)dl_rng_uniform(1, DL_RNG_TEST, (uint64_t)i, 1);
    }
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n, sizeof *batch->ids, &batch->ids));
    for (int64_t i = 0; i < n; i++) {
        batch->ids[i] = program->local_begin + i;
    }
    batch->step = (dl_step_block){.weight = (double)(n * model->output.rows), .learning_rate = 1e-4};
    return DL_OK;
}

/* A step, as training makes one: where the device works by itself the host gives it a step and waits for the
 * end of an earlier one. */
static dl_status run_step(dl_session *session, sample_batch *batch, double *seconds) {
    const double before = dl_clock_seconds();
    const int64_t wanted = session->plan->n_runs - session->device->backend->steps_in_flight;
    dl_outcome ignored;
    const dl_host_batch host = {
        .field = (const void *const *)batch->field, .ids = batch->ids, .step = &batch->step};
    batch->step.step++;
    batch->step.t++;
    DL_RETURN_IF_ERROR(dl_execute(session->plan, session->train_full, &host));
    DL_RETURN_IF_ERROR(wanted >= 0 ? dl_plan_outcome(session->plan, wanted, &ignored) : DL_OK);
    *seconds = dl_clock_seconds() - before;
    return DL_OK;
}

static int ascending(const void *left, const void *right) {
    const double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

/* Peak memory less mapped files, in MB, from /proc/self/status. */
static double peak_megabytes(void) {
    double high = 0.0, file = 0.0;
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL) {
        (void)sscanf(line, "VmHWM: %lf", &high);
        (void)sscanf(line, "RssFile: %lf", &file);
    }
    if (status != NULL) {
        (void)fclose(status);
    }
    return (high - file) * 1024.0 / 1e6;
}

static void print_result(const dl_session *session, const double *sorted, int64_t n, double first_step_s) {
    static const char *const dtypes[] = {"f32", "bf16", "f16", "tf32"}; /* as dl_config_precisions */
    const dl_config *config = session->config;
    const int64_t seq = config->model.input.dtype != 0 ? config->model.input.shape.value[0] : 0;
    const double median = 1e3 * (n % 2 == 1 ? sorted[n / 2] : 0.5 * (sorted[n / 2 - 1] + sorted[n / 2]));
    (void)printf(
        "{\"peer\":\"dltrain " DLTRAIN_VERSION "\",\"model\":\"%s\",\"parameters\":%lld,\"device\":\"%s\","
        "\"ranks\":%d,\"threads\":%d,\"dtype\":\"%s\",\"batch\":%lld,\"seq\":%lld,\"optimizer\":\"%s\","
        "\"compile\":false,\"channels_last\":true,\"train\":true,\"ms_step\":%.4f,\"ms_p10\":%.4f,"
        "\"ms_p90\":%.4f,\"per_s\":%.1f,\"unit\":\"%s\",\"import_s\":0,\"first_step_s\":%.3f,"
        "\"peak_mb\":%.1f}\n",
        config->name, (long long)session->model->table.n_total, session->device->backend->name,
        session->world->size, session->n_threads, dtypes[config->precision],
        (long long)config->train.batch_size, (long long)seq, config->train.optimizer.kind->name, median,
        1e3 * sorted[n / 10], 1e3 * sorted[n * 9 / 10],
        1e3 * (double)(config->train.batch_size * (seq > 0 ? seq : 1)) / median,
        seq > 0 ? "tokens" : "samples", first_step_s, peak_megabytes());
}

static dl_status measure(dl_session *session, sample_batch *batch, int64_t warmup, int64_t steps,
                         double began) {
    double *seconds = NULL, ignored = 0.0;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)steps, sizeof *seconds, &seconds));
    dl_status status = run_step(session, batch, &ignored);
    status = status == DL_OK ? dl_plan_wait(session->plan) : status;
    const double first = dl_clock_seconds() - began;
    for (int64_t i = 0; i < warmup && status == DL_OK; i++) {
        status = run_step(session, batch, &ignored);
    }
    for (int64_t i = 0; i < steps && status == DL_OK; i++) {
        status = run_step(session, batch, &seconds[i]);
    }
    if (status == DL_OK && session->world->rank == 0) {
        qsort(seconds, (size_t)steps, sizeof *seconds, ascending);
        print_result(session, seconds, steps, first);
    }
    dl_free(&seconds);
    return status;
}

enum { LAYER_RUNS = 10 };

/* Rank 0's table goes before the line of figures. */
static dl_status show_layers(dl_session *session, const sample_batch *batch) {
    const dl_host_batch host = {
        .field = (const void *const *)batch->field, .ids = batch->ids, .step = &batch->step};
    dl_roofline roofline;
    dl_text text = {0};
    DL_RETURN_IF_ERROR(dl_comm_agree(session->world, dl_roofline_measure(session, &roofline), NULL));
    const dl_status status = dl_roofline_layers(session, &host, LAYER_RUNS, &roofline, &text);
    if (status == DL_OK && session->world->rank == 0) {
        (void)fputs(text.data, stdout);
    }
    dl_text_free(&text);
    return status;
}

static dl_status run_in(dl_setup *setup, const dl_arguments *arguments, dl_session **session,
                        sample_batch *batch) {
    dl_runtime *runtime = NULL;
    int64_t steps = 0, warmup = 0;
    const double began = dl_clock_seconds();
    DL_RETURN_IF_ERROR(dl_arguments_int(arguments, "steps", 1, 1000000, 50, &steps));
    DL_RETURN_IF_ERROR(dl_arguments_int(arguments, "warmup", 0, 1000000, 10, &warmup));
    DL_RETURN_IF_ERROR(dl_runtime_start(&runtime));
    DL_RETURN_IF_ERROR(dl_setup_load(arguments->positional[0], arguments->override, arguments->n_overrides,
                                     runtime->world, setup));
    const dl_session_options options = {
        .world = runtime->world, .n_threads = runtime->n_threads, .training = true, .synthetic = true};
    DL_RETURN_IF_ERROR(dl_setup_session(setup, &options, session));
    DL_RETURN_IF_ERROR(dl_session_init_parameters(*session));
    DL_RETURN_IF_ERROR(make_batch(*session, batch));
    if (dl_arguments_flag(arguments, "layers") != NULL) {
        DL_RETURN_IF_ERROR(show_layers(*session, batch));
    }
    return measure(*session, batch, warmup, steps, began);
}

static dl_status run(const dl_arguments *arguments) {
    dl_setup setup = {0};
    dl_session *session = NULL;
    sample_batch batch = {0};
    const dl_status status = dl_runtime_settle(run_in(&setup, arguments, &session, &batch));
    release_batch(&batch);
    dl_session_close(&session);
    dl_setup_release(&setup);
    return status;
}

static const dl_flag flags[] = {
    {"steps", "N", "steps to time (default 50)"},
    {"warmup", "N", "steps before them (default 10)"},
    {"layers", NULL, "before that: each layer's time, work, and share of what the device could do"},
    {NULL, NULL, NULL},
};

const dl_command dl_command_bench = {
    .name = "bench",
    .usage = "CONFIG [KEY.PATH=VALUE ...] [--steps 50] [--warmup 10] [--layers]",
    .doc = "time training steps on random samples; prints one JSON line",
    .flags = flags,
    .takes_overrides = true,
    .min_positional = 1,
    .max_positional = 1,
    .uses_ranks = true,
    .run = run,
};
