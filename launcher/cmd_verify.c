/* dltrain verify: the same step on two backends, instruction by instruction. */
#define _GNU_SOURCE
#include "base/log.h"
#include "base/text.h"
#include "launcher/setup.h"
#include "optim/optim.h"
#include "program/crosscheck.h"
#include "train/batches.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the options ask for. */
typedef struct request {
    const char *against; /* NULL: ref, or cpu where the configuration's own backend is ref */
    const char *perturb;
    int64_t steps;
    bool json;
} request;

/* What the command holds while it works: a cross-check for each program that was run. */
typedef struct verification {
    dl_session *session;
    dl_device *other;
    dl_perturbation perturbation;
    dl_batches *batches;
    int n_checks;
    dl_crosscheck *check[DL_MAX_PROGRAMS];
    const dl_crosscheck *first; /* in which something departed before any other; NULL: nothing has */
} verification;

static dl_status read_request(const dl_arguments *arguments, request *out) {
    static const char *const names[] = {"ref", "cpu"};
    out->against = dl_arguments_flag(arguments, "against");
    out->perturb = dl_arguments_flag(arguments, "perturb");
    out->json = dl_arguments_flag(arguments, "json") != NULL;
    DL_RETURN_ERROR_IF(out->against != NULL && strcmp(out->against, names[0]) != 0 &&
                           strcmp(out->against, names[1]) != 0,
                       DL_ERR_USAGE, "--against is '%s'; it must be ref or cpu", out->against);
    return dl_arguments_int(arguments, "steps", 1, 1000000, 2, &out->steps);
}

/* --- opening --- */

static dl_status open_other(verification *v, const request *r) {
    const char *own = v->session->device->backend->name;
    const char *name = r->against != NULL ? r->against : strncmp(own, "ref", 3) == 0 ? "cpu" : "ref";
    DL_RETURN_ERROR_IF(strcmp(name, own) == 0, DL_ERR_USAGE,
                       "--against %s is the backend of the configuration itself; the other one is meant",
                       name);
    const dl_backend *backend = dl_backend_find(name);
    DL_RETURN_ERROR_IF(backend == NULL, DL_ERR_USAGE, "backend %s is not part of this build", name);
    return dl_device_open(backend, &(dl_device_options){.n_threads = v->session->n_threads}, &v->other);
}

/* Of the parameters of a layer the weight: the one of most dimensions, the first by name of several. */
static int weight_of(const dl_parameter_table *table, const char *layer) {
    int best = -1;
    for (int i = 0; i < table->n; i++) {
        const dl_parameter *p = &table->parameter[i], *b = best >= 0 ? &table->parameter[best] : NULL;
        if (strcmp(p->layer, layer) != 0 || p->statistic) {
            continue;
        }
        const int more = b == NULL ? 1 : p->shape.n_dims - b->shape.n_dims;
        if (more > 0 || (more == 0 && strcmp(p->tensor, "gamma") == 0)) {
            best = i;
        }
    }
    return best;
}

static dl_status no_such_tensor(const dl_session *session, const char *word) {
    const dl_parameter_table *table = &session->model->table;
    const char **names = NULL;
    dl_status status = dl_alloc((size_t)table->n, sizeof *names, &names);
    for (int i = 0; i < table->n && status == DL_OK; i++) {
        names[i] = table->parameter[i].layer;
    }
    if (status == DL_OK) {
        const char *near = dl_nearest_name(word, names, (size_t)table->n);
        status = dl_error_raise(DL_ERR_USAGE, __FILE__, __LINE__, __func__,
                                "--perturb: there is no layer with weights named '%s'%s%s%s", word,
                                near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                                near != NULL ? "'?" : "");
    }
    dl_free(&names);
    return status;
}

/* "LAYER=X" or "LAYER/TENSOR=X". */
static dl_status find_perturbation(verification *v, const char *text) {
    const dl_parameter_table *table = &v->session->plan->options.model->table;
    v->perturbation = (dl_perturbation){.parameter = -1};
    if (text == NULL) {
        return DL_OK;
    }
    const char *equals = strrchr(text, '=');
    DL_RETURN_ERROR_IF(equals == NULL || !dl_parse_double(equals + 1, &v->perturbation.by), DL_ERR_USAGE,
                       "--perturb is '%s'; it must be LAYER=X or LAYER/TENSOR=X, X a number: 1e-2", text);
    char *path = NULL;
    DL_RETURN_IF_ERROR(dl_pool_printf(v->session->pool, &path, "/%.*s", (int)(equals - text), text));
    const dl_parameter *named = dl_parameter_find(table, path);
    v->perturbation.parameter = named != NULL ? (int)(named - table->parameter) : weight_of(table, path + 1);
    if (v->perturbation.parameter < 0) {
        return no_such_tensor(v->session, path + 1);
    }
    DL_RETURN_ERROR_IF(table->parameter[v->perturbation.parameter].statistic, DL_ERR_USAGE,
                       "--perturb: '%s' is a moving average, not a weight", path);
    return DL_OK;
}

/* --- running --- */

/* tf32 is a mode of GPUs' float32 products: their factors keep 11 bits. */
static double product_roundoff(const dl_session *session) {
    const bool tf32 = strcmp(dl_config_precisions[session->config->precision], "tf32") == 0;
    return tf32 && strcmp(session->device->backend->name, "cuda") == 0 ? 0x1p-11 : 0;
}

static dl_status crosscheck_of(verification *v, int program, dl_crosscheck **out) {
    for (int i = 0; i < v->n_checks; i++) {
        if (v->check[i]->number == program) {
            *out = v->check[i];
            return DL_OK;
        }
    }
    const dl_status status =
        dl_crosscheck_create(v->session->plan, program, v->other, v->perturbation, &v->check[v->n_checks]);
    *out = v->check[v->n_checks];
    v->n_checks += *out != NULL;
    DL_RETURN_IF_ERROR(status);
    (*out)->product_roundoff = product_roundoff(v->session);
    return DL_OK;
}

static dl_status run_batch(verification *v, dl_program_kind kind, const dl_batch *batch,
                           const dl_step_block *step) {
    const int program = dl_session_program(v->session, kind, &batch->global);
    DL_RETURN_ERROR_IF(program < 0, DL_ERR_INTERNAL, "there is no program for a batch of %lld samples",
                       (long long)batch->global.n_samples);
    if (batch->global.number == 0) {
        DL_RETURN_IF_ERROR(dl_plan_clear_state(v->session->plan, kind));
    }
    dl_crosscheck *check = NULL;
    DL_RETURN_IF_ERROR(crosscheck_of(v, program, &check));
    const dl_host_batch host = {.field = (const void *const *)batch->field, .ids = batch->ids, .step = step};
    DL_RETURN_IF_ERROR(dl_crosscheck_step(check, &host));
    v->first = v->first == NULL && check->first >= 0 ? check : v->first;
    return DL_OK;
}

/* Up to `steps` batches from v->batches; training where they are of a training pass. */
static dl_status run_batches(verification *v, dl_program_kind kind, int64_t steps) {
    const dl_train_config *train = &v->session->config->train;
    for (int64_t step = 1; step <= steps; step++) {
        const dl_batch *batch = NULL;
        DL_RETURN_IF_ERROR(dl_batches_next(v->batches, &batch));
        if (batch == NULL) {
            return DL_OK;
        }
        const dl_step_block block = {.step = step,
                                     .t = step,
                                     .weight = (double)batch->weight,
                                     .learning_rate = dl_optimizer_base_rate(&train->optimizer)};
        const dl_status status = run_batch(v, kind, batch, &block);
        dl_batches_release(v->batches, batch);
        DL_RETURN_IF_ERROR(status);
    }
    return DL_OK;
}

/* The training steps, then one evaluation of a batch. */
static dl_status run_steps(verification *v, int64_t steps) {
    DL_RETURN_IF_ERROR(dl_session_init_parameters(v->session));
    DL_RETURN_IF_ERROR(dl_batches_start_training(v->session, 1, &v->batches));
    DL_RETURN_IF_ERROR(run_batches(v, DL_PROGRAM_TRAIN, steps));
    dl_batches_stop(&v->batches);
    const dl_split split = v->session->split[DL_SPLIT_VALID].n > 0 ? DL_SPLIT_VALID : DL_SPLIT_TEST;
    if (v->session->split[split].n == 0) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_session_refresh(v->session));
    DL_RETURN_IF_ERROR(dl_batches_start_pass(v->session, split, &v->batches));
    return run_batches(v, DL_PROGRAM_EVALUATE, 1);
}

/* --- the report --- */

static const char *program_name(const dl_crosscheck *check) {
    return check->plan->program[check->number]->kind == DL_PROGRAM_TRAIN ? "training" : "evaluation";
}

static const char *layer_name(const verification *v, const dl_instruction *instruction) {
    return instruction->layer >= 0 ? v->session->model->layer[instruction->layer].name : "-";
}

static const char *slot_name(const dl_instruction *instruction, const dl_comparison *row) {
    return dl_op_info_of(instruction->kind)->slots[row->slot].name;
}

static void print_check(const verification *v, const dl_crosscheck *check) {
    const dl_program *program = check->plan->program[check->number];
    char name[64];
    (void)printf("%s program, %lld samples, %lld step%s: %s against %s\n", program_name(check),
                 (long long)program->global_samples, (long long)check->steps, check->steps == 1 ? "" : "s",
                 v->session->device->backend->name, v->other->backend->name);
    (void)printf("%5s  %-36s %-22s %-8s %10s %10s  %s\n", "#", "instruction", "layer", "slot", "max error",
                 "bound", "verdict");
    for (int i = 0; i < program->n_instructions; i++) {
        const dl_comparison *row = &check->comparison[i];
        if (row->compared) {
            const dl_instruction *instruction = &program->instruction[i];
            (void)printf("%5d  %-36s %-22s %-8s %10.2e %10.2e  %s\n", i,
                         dl_instruction_name(instruction, name), layer_name(v, instruction),
                         slot_name(instruction, row), row->error, row->bound,
                         row->departs ? "departs" : "ok");
        }
    }
}

/* What is no number is null. */
static json_t *json_figure(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *json_of_check(const verification *v, const dl_crosscheck *check) {
    const dl_program *program = check->plan->program[check->number];
    json_t *rows = json_array();
    char name[64];
    for (int i = 0; i < program->n_instructions; i++) {
        const dl_comparison *row = &check->comparison[i];
        const dl_instruction *instruction = &program->instruction[i];
        if (!row->compared) {
            continue;
        }
        (void)json_array_append_new(
            rows,
            json_pack("{s:i, s:s, s:s, s:s, s:o, s:f, s:I, s:s, s:s, s:s}", "instruction", i, "name",
                      dl_instruction_name(instruction, name), "layer", layer_name(v, instruction), "slot",
                      slot_name(instruction, row), "max_error", json_figure(row->error), "bound", row->bound,
                      "terms", (json_int_t)row->terms, "implementation", row->implementation[0], "against",
                      row->implementation[1], "verdict", row->departs ? "departs" : "ok"));
    }
    return json_pack("{s:s, s:I, s:I, s:o, s:o}", "program", program_name(check), "samples",
                     (json_int_t)program->global_samples, "steps", (json_int_t)check->steps, "first",
                     check->first >= 0 ? json_integer(check->first) : json_null(), "instructions", rows);
}

static dl_status print_json(const verification *v) {
    json_t *programs = json_array();
    for (int i = 0; i < v->n_checks; i++) {
        (void)json_array_append_new(programs, json_of_check(v, v->check[i]));
    }
    json_t *report = json_pack("{s:s, s:s, s:s, s:o}", "name", v->session->config->name, "backend",
                               v->session->device->backend->name, "against", v->other->backend->name,
                               "programs", programs);
    char *text = report == NULL ? NULL : json_dumps(report, JSON_COMPACT | JSON_REAL_PRECISION(6));
    json_decref(report);
    DL_RETURN_ERROR_IF(text == NULL, DL_ERR_MEMORY, "cannot make the JSON report");
    const bool written = printf("%s\n", text) >= 0;
    free(text);
    DL_RETURN_ERROR_IF(!written, DL_ERR_IO, "cannot write to stdout");
    return DL_OK;
}

/* DL_ERR_INTERNAL names the first instruction that departed. */
static dl_status judge(const verification *v) {
    const dl_crosscheck *check = v->first;
    if (check == NULL) {
        return DL_OK;
    }
    const dl_instruction *instruction = &check->plan->program[check->number]->instruction[check->first];
    const dl_comparison *row = &check->comparison[check->first];
    const char *other = v->other->backend->name;
    char name[64], layer[128] = "";
    if (instruction->layer >= 0) {
        (void)snprintf(layer, sizeof layer, ", layer '%s',", layer_name(v, instruction));
    }
    DL_RETURN_ERROR(
        DL_ERR_INTERNAL,
        "instruction %d (%s) of the %s program%s departs from %s in step %lld: %s[%lld] is %.9g, %s has "
        "%.9g; the error is %.2e, the bound %.2e (K = %lld)",
        check->first, dl_instruction_name(instruction, name), program_name(check), layer, other,
        (long long)check->first_step, slot_name(instruction, row), (long long)row->element, row->got, other,
        row->expected, row->error, row->bound, (long long)row->terms);
}

static dl_status report(const verification *v, const request *r) {
    if (r->json) {
        DL_RETURN_IF_ERROR(print_json(v));
        return judge(v);
    }
    for (int i = 0; i < v->n_checks; i++) {
        print_check(v, v->check[i]);
    }
    (void)fflush(stdout);
    return judge(v);
}

/* --- the command --- */

static dl_status verify(verification *v, const request *r) {
    DL_RETURN_IF_ERROR(open_other(v, r));
    DL_RETURN_IF_ERROR(find_perturbation(v, r->perturb));
    DL_RETURN_IF_ERROR(run_steps(v, r->steps));
    return report(v, r);
}

static void release(verification *v) {
    dl_batches_stop(&v->batches);
    for (int i = 0; i < v->n_checks; i++) {
        dl_crosscheck_destroy(&v->check[i]);
    }
    dl_device_close(&v->other);
    dl_session_close(&v->session);
}

static dl_status run_in(dl_setup *setup, const dl_arguments *arguments, verification *v) {
    dl_runtime *runtime = NULL;
    request r;
    DL_RETURN_IF_ERROR(read_request(arguments, &r));
    DL_RETURN_IF_ERROR(dl_runtime_start(&runtime));
    DL_RETURN_IF_ERROR(dl_setup_load(arguments->positional[0], arguments->override, arguments->n_overrides,
                                     runtime->world, setup));
    if (setup->config->parallel.tensor > 1) {
        DL_WARN(
            "parallel.tensor is 1 here: layers are compared whole, the exchanges of those that ranks share "
            "are not");
    }
    setup->config->parallel = (dl_parallel_config){.data = DL_WORD(0), .tensor = 1, .pipeline = 1};
    const dl_session_options options = {
        .world = runtime->world, .n_threads = runtime->n_threads, .training = true};
    DL_RETURN_IF_ERROR(dl_setup_session(setup, &options, &v->session));
    return verify(v, &r);
}

static dl_status run(const dl_arguments *arguments) {
    dl_setup setup = {0};
    verification v = {0};
    const dl_status status = dl_runtime_settle(run_in(&setup, arguments, &v));
    release(&v);
    dl_setup_release(&setup);
    return status;
}

static const dl_flag flags[] = {
    {"against", "ref|cpu", "the other backend (default ref; cpu where the configuration's own is ref)"},
    {"steps", "N", "training steps to verify (default 2: the second one reads what the first has packed)"},
    {"perturb", "LAYER=X",
     "multiply the layer's weight by 1 + X on the other backend: it must be found; or "
     "LAYER/TENSOR=X"},
    {"json", NULL, "print one JSON object instead"},
    {NULL, NULL, NULL},
};

const dl_command dl_command_verify = {
    .name = "verify",
    .usage = "CONFIG [KEY.PATH=VALUE ...] [--against ref|cpu] [--steps N] [--perturb LAYER=X] [--json]",
    .doc = "run training steps on two backends, instruction by instruction from the same inputs, and compare",
    .help =
        "The first backend is the configuration's. Every operation of its list is run on the other one too, from\n"
        "the same plain inputs, and what it gives is compared element by element; then one batch is evaluated in\n"
        "the same way. An error is |a - b| over the sum of the magnitudes that were added up for the element,\n"
        "where the operation is a sum of products (never less than the tensor's mean of that), else over the\n"
        "value itself (never less than the tensor's root mean square). The bound is 8 u sqrt(K): u the unit\n"
        "roundoff of the type, K the length of the sum; 0 where values are only moved.\n"
        "--perturb shows that it works: a weight that is off by 1 % is found (one that is zero stays so).\n"
        "\n"
        "Exit status 0: all agree; 70: the message names the first instruction that departs.\n"
        "The backend ref is slow: a smaller train.batch_size tells as much.",
    .flags = flags,
    .takes_overrides = true,
    .min_positional = 1,
    .max_positional = 1,
    .run = run,
};
