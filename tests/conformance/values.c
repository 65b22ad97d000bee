/* Each operation in each way it can be run: value against ref, guards, inputs, repetition. */
#include "half.h"

#include <stdio.h>
#include <string.h>

enum { MAX_VARIANTS = 2 + DL_MAX_LAYOUTS };

const char *dlc_label(const dlc_problem *problem, dlc_way way, char *out) {
    static const char *const variants[] = {"plain", "any", "layout 0", "layout 1", "layout 2", "layout 3"};
    const dl_dtype half = dlc_half_of_desc(&problem->desc);
    (void)snprintf(out, DLC_LABEL_BYTES, "%s/%s%s [%s%sn %lld, %s, algorithm %d]",
                   dl_op_info_of(problem->desc.kind)->name, problem->name,
                   problem->has_forward && problem->desc.attr.activation == DL_ACT_RELU ? " with relu" : "",
                   half == DL_F32 ? "" : dl_dtype_name(half), half == DL_F32 ? "" : ", ",
                   (long long)dl_op_samples(&problem->desc), variants[way.variant], way.algorithm);
    return out;
}

static dl_status compare(dlc_suite *suite, const dlc_problem *problem, dlc_way way,
                         const dlc_values *expected) {
    dlc_values got;
    dlc_findings findings;
    char label[DLC_LABEL_BYTES];
    (void)dlc_label(problem, way, label);
    DL_RETURN_IF_ERROR(dlc_values_create(&problem->desc, &got));
    const dl_status status = dlc_execute(suite->device, problem, way, &got, &findings);
    if (status != DL_OK) {
        dlc_values_destroy(&got);
        return status;
    }
    const dl_op_info *info = dl_op_info_of(problem->desc.kind);
    bool good = findings.broken == NULL;
    if (!good) {
        dlc_fail(suite, label, "%s: slot '%s' (%s)", findings.broken, findings.slot, findings.implementation);
    }
    for (int i = 0; i < info->n_slots; i++) {
        if (dlc_is_result(&problem->desc, i)) {
            const double tolerance = dlc_tolerance(&problem->desc, i, findings.rounds_sums);
            const double difference = dlc_difference(&problem->desc.slot[i], got.slot[i], expected->slot[i]);
            if (!(difference <= tolerance)) {
                dlc_fail(suite, label, "slot '%s' differs from ref by %.3g, allowed are %.3g (%s)",
                         info->slots[i].name, difference, tolerance, findings.implementation);
                good = false;
            } else if (suite->verbose) {
                (void)printf("%s: '%s' %.3g (%s)\n", label, info->slots[i].name, difference,
                             findings.implementation);
            }
        }
    }
    if (good) {
        dlc_pass(suite);
    }
    suite->value_checks[problem->desc.kind]++;
    dlc_values_destroy(&got);
    return DL_OK;
}

/* As many algorithms have a name as are counted: the one of `beyond` is the first without. */
static void check_names(dlc_suite *suite, const dlc_problem *problem, const dl_op_desc *desc,
                        dlc_way beyond) {
    char label[DLC_LABEL_BYTES];
    for (int algorithm = 0; algorithm <= beyond.algorithm; algorithm++) {
        if ((dl_device_algorithm_name(suite->device, desc, algorithm) == NULL) !=
            (algorithm == beyond.algorithm)) {
            dlc_fail(suite, dlc_label(problem, beyond, label), "%d algorithms, and number %d has %s name",
                     beyond.algorithm, algorithm, algorithm == beyond.algorithm ? "a" : "no");
        }
    }
}

static dl_status check_ways(dlc_suite *suite, const dlc_problem *problem) {
    dlc_values expected;
    dlc_findings ignored;
    char label[DLC_LABEL_BYTES];
    DL_RETURN_IF_ERROR(dlc_values_create(&problem->desc, &expected));
    if (dlc_half_of_desc(&problem->desc) != DL_F32) {
        DL_RETURN_IF_ERROR(dlc_half_expected(suite->ref, problem, &expected));
    } else {
        DL_RETURN_IF_ERROR(dlc_execute(suite->ref, problem, (dlc_way){.once = true}, &expected, &ignored));
    }
    for (int variant = 0; variant < MAX_VARIANTS; variant++) {
        dl_op_desc desc = problem->desc;
        if (!dlc_apply_variant(suite->device, &desc, variant)) {
            continue;
        }
        const int n = dl_device_n_algorithms(suite->device, &desc);
        check_names(suite, problem, &desc, (dlc_way){.variant = variant, .algorithm = n});
        for (int algorithm = 0; algorithm < n; algorithm++) {
            const dlc_way way = {.variant = variant, .algorithm = algorithm};
            if (compare(suite, problem, way, &expected) != DL_OK) {
                dlc_fail(suite, dlc_label(problem, way, label), "%s", dl_error_last()->message);
            }
        }
    }
    dlc_values_destroy(&expected);
    return DL_OK;
}

/* A step that the control word forbids leaves everything as it was, on ref too. */
static dl_status check_unchanged(dlc_suite *suite, const dlc_problem *problem) {
    dlc_values got;
    dlc_findings ignored;
    DL_RETURN_IF_ERROR(dlc_values_create(&problem->desc, &got));
    const dl_status status = dlc_execute(suite->device, problem, (dlc_way){.once = true}, &got, &ignored);
    for (int i = 0; i < dl_op_info_of(problem->desc.kind)->n_slots && status == DL_OK; i++) {
        if (dlc_is_result(&problem->desc, i) &&
            memcmp(got.slot[i], problem->in.slot[i], got.n_bytes[i]) != 0) {
            dlc_fail(suite, problem->name, "%s changes slot %d in a forbidden step",
                     dl_op_info_of(problem->desc.kind)->name, i);
        }
    }
    dlc_values_destroy(&got);
    return status;
}

static void check_samples(dlc_suite *suite, const dlc_case *test, dlc_which which, int64_t n_samples) {
    dlc_problem problem;
    dl_status status = dlc_problem_create(suite->ref, test, which, n_samples, &problem);
    const bool taken = status == DL_OK && dlc_is_taken(suite, &problem);
    if (taken) {
        status = check_ways(suite, &problem);
    }
    if (taken && status == DL_OK && (test->flags & DLC_FORBIDDEN) != 0) {
        status = check_unchanged(suite, &problem);
    }
    if (status != DL_OK) {
        dlc_fail(suite, test->name, "%s: %s", dl_op_info_of(problem.desc.kind)->name,
                 dl_error_last()->message);
    }
    dlc_problem_destroy(&problem);
}

void dlc_check_values(dlc_suite *suite, const dlc_case *test, dlc_which which) {
    check_samples(suite, test, which, -1);
    if ((test->flags & DLC_ROWS) != 0 && dl_op_samples(&test->desc) > 0) {
        check_samples(suite, test, which, 0);
    }
}
