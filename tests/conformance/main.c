/* conformance [--backend NAME] [--kind NAME] [--threads N] [--verbose]: see conformance.h. Without --backend
 * all backends of this program are checked. Exit 0 when nothing failed; the last line counts. */
#include "half.h"

#include "base/mem.h"
#include "base/text.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct options {
    const char *backend, *kind;
    int64_t n_threads;
    bool verbose;
} options;

void dlc_pass(dlc_suite *suite) {
    suite->passed++;
}

void dlc_fail(dlc_suite *suite, const char *what, const char *format, ...) {
    char reason[DL_ERROR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    (void)printf("FAIL  %s: %s: %s\n", suite->device->backend->name, what, reason);
    suite->failed++;
}

/* By itself, or as casts around float32 (kernels/widened.h). */
static bool takes(const dl_device *device, const dl_op_desc *desc) {
    const dl_op_desc wide = dl_op_widened(desc);
    return device->backend->takes(device, desc) ||
           (dl_op_has_half(desc) && device->backend->takes(device, &wide));
}

bool dlc_is_taken(dlc_suite *suite, const dlc_problem *problem) {
    const dl_device *device = suite->device;
    const bool taken =
        device->fallback != NULL ||
        (takes(device, &problem->desc) && (!problem->has_forward || takes(device, &problem->forward)));
    suite->skipped += !taken;
    suite->refused[problem->desc.kind] += !taken;
    return taken;
}

/* What is being checked, for the handler below. */
static const char *volatile current_kind = "", *volatile current_case = "";

/* A crash is an answer too (ref:strict fences inputs): it names the case and ends the program. */
static void on_crash(int signal_number) {
    const char *const words[] = {"conformance: crashed in ", current_kind, "/", current_case, "\n"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (write(STDERR_FILENO, words[i], strlen(words[i])) < 0) {
            break;
        }
    }
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

static void check_operation(dlc_suite *suite, const dlc_case *test, dlc_which which) {
    const dl_op_info *info = dl_op_info_of(test->desc.kind);
    current_kind =
        which.gradient < 0 ? info->name : dl_op_info_of(info->gradients[which.gradient].kind)->name;
    current_case = test->name;
    dlc_check_values(suite, test, which);
    if ((test->flags & DLC_ROWS) != 0) {
        dlc_check_rows(suite, test, which);
    }
}

static void check_operations(dlc_suite *suite, const dlc_case *test) {
    const dl_op_info *info = dl_op_info_of(test->desc.kind);
    check_operation(suite, test, (dlc_which){-1, false});
    for (int k = 0; k < info->n_gradients && (test->flags & DLC_FORWARD_ONLY) == 0; k++) {
        check_operation(suite, test, (dlc_which){k, false});
        if (dl_op_info_of(info->gradients[k].kind)->fuses_activation) {
            check_operation(suite, test, (dlc_which){k, true});
        }
    }
}

static void check_case(dlc_suite *suite, const dlc_case *test) {
    static const dl_dtype halves[] = {DL_BF16, DL_F16};
    check_operations(suite, test);
    for (size_t i = 0; i < sizeof halves / sizeof halves[0] && dlc_half_of_desc(&test->desc) == DL_F32; i++) {
        dlc_case narrow = *test;
        dlc_narrow(&narrow.desc, halves[i]);
        if (halves[i] == DL_F16 || dl_op_info_of(test->desc.kind)->flops == NULL) {
            narrow.flags &= ~DLC_ROWS; /* only products of bfloat16 are more than casts around float32 */
        }
        if (dlc_half_of_desc(&narrow.desc) != DL_F32) {
            check_operations(suite, &narrow);
        }
    }
    dlc_check_gradients(suite, test);
}

/* Every kind must have been checked, and every gradient kind's gradients; those that the backend never takes
 * are named. */
static void check_coverage(dlc_suite *suite) {
    for (int kind = 0; kind < DL_N_OP_KINDS; kind++) {
        const dl_op_info *info = dl_op_info_of((dl_op_kind)kind);
        if (suite->value_checks[kind] == 0 && suite->refused[kind] > 0) {
            (void)printf("%s takes no %s\n", suite->device->backend->name, info->name);
        } else if (suite->value_checks[kind] == 0) {
            dlc_fail(suite, info->name, "has no case");
        }
        for (int k = 0; k < info->n_gradients; k++) {
            if (suite->gradient_checks[info->gradients[k].kind] == 0 &&
                suite->refused[info->gradients[k].kind] == 0) {
                dlc_fail(suite, dl_op_info_of(info->gradients[k].kind)->name, "has no gradient case");
            }
        }
    }
}

/* Kinds that belong together: a kind's cases run with it and with its gradient kinds. */
static bool concerns(const dlc_case *test, const char *kind) {
    const dl_op_info *info = dl_op_info_of(test->desc.kind);
    bool found = kind == NULL || strcmp(info->name, kind) == 0;
    for (int k = 0; k < info->n_gradients; k++) {
        found = found || strcmp(dl_op_info_of(info->gradients[k].kind)->name, kind) == 0;
    }
    return found;
}

static dl_status check_backend(const dl_backend *backend, const options *opts, const dlc_list *list,
                               dlc_suite *total) {
    const dl_device_options device_options = {.n_threads = (int)opts->n_threads};
    dlc_suite suite = {.verbose = opts->verbose};
    DL_RETURN_IF_ERROR(dl_device_open(backend, &device_options, &suite.device));
    DL_RETURN_IF_ERROR(dl_device_open(dl_backend_find("ref"), &device_options, &suite.ref));
    for (int64_t i = 0; i < list->n; i++) {
        if (concerns(&list->at[i], opts->kind)) {
            check_case(&suite, &list->at[i]);
        }
    }
    const bool batch_norm = suite.refused[DL_OP_BATCH_NORM_BACKWARD_SUMS] == 0;
    if (batch_norm && (opts->kind == NULL || strncmp(opts->kind, "batch_norm", strlen("batch_norm")) == 0)) {
        dlc_check_batch_norm(&suite);
    }
    if (opts->kind == NULL) {
        check_coverage(&suite);
    }
    dl_device_close(&suite.device);
    dl_device_close(&suite.ref);
    total->passed += suite.passed;
    total->failed += suite.failed;
    total->skipped += suite.skipped;
    return DL_OK;
}

static dl_status parse(int argc, char **argv, options *out) {
    *out = (options){.n_threads = 1};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--verbose") == 0) {
            out->verbose = true;
            continue;
        }
        DL_RETURN_ERROR_IF(value == NULL, DL_ERR_USAGE, "%s: unknown, or without its value", argv[i]);
        if (strcmp(argv[i], "--backend") == 0) {
            out->backend = value;
        } else if (strcmp(argv[i], "--kind") == 0) {
            out->kind = value;
        } else {
            DL_RETURN_ERROR_IF(strcmp(argv[i], "--threads") != 0 || !dl_parse_int64(value, &out->n_threads),
                               DL_ERR_USAGE, "%s %s: unknown, or not a number", argv[i], value);
        }
        i++;
    }
    return DL_OK;
}

static dl_status run(int argc, char **argv, dlc_suite *total) {
    options opts;
    DL_RETURN_IF_ERROR(parse(argc, argv, &opts));
    dlc_list list = {0};
#define DLC_FAMILY(name) dlc_cases_##name(&list);
#include "cases.def"
#undef DLC_FAMILY
    if (opts.backend != NULL) { /* a plugin's, too */
        const dl_backend *backend = NULL;
        DL_RETURN_IF_ERROR(dl_backend_open(opts.backend, &backend));
        DL_RETURN_IF_ERROR(check_backend(backend, &opts, &list, total));
    }
    for (const dl_backend *const *backend = dl_backends(); opts.backend == NULL && *backend != NULL;
         backend++) {
        DL_RETURN_IF_ERROR(check_backend(*backend, &opts, &list, total));
    }
    dl_free(&list.at);
    return DL_OK;
}

int main(int argc, char **argv) {
    dlc_suite total = {0};
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    (void)signal(SIGSEGV, on_crash);
    (void)signal(SIGABRT, on_crash);
    const dl_status status = run(argc, argv, &total);
    if (status != DL_OK) {
        (void)fprintf(stderr, "conformance: %s\n", dl_error_last()->message);
        return (int)status;
    }
    (void)printf("%d passed, %d failed, %d skipped\n", total.passed, total.failed, total.skipped);
    return total.failed > 0 || total.passed == 0;
}
