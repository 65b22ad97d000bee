/* The batch-invariance table: rows of per-sample kinds, bit by bit, at many batch sizes against a batch of
 * 128. */
#include "conformance.h"

#include <stdio.h>
#include <string.h>

enum { FULL = 128 };
static const int64_t sizes[] = {1, 2, 3, 5, 7, 8, 13, 16, 31, 61, 64, 100, 127, 128};

/* Whether rows begin .. begin + n of `whole` equal those of `part`. */
static bool rows_equal(const dl_op_desc *part_desc, const dlc_values *part, const dlc_values *whole,
                       int64_t begin) {
    const dl_op_info *info = dl_op_info_of(part_desc->kind);
    for (int i = 0; i < info->n_slots; i++) {
        if (dlc_is_result(part_desc, i) && info->slots[i].batched) {
            const size_t skip = whole->n_bytes[i] / FULL * (size_t)begin;
            if (memcmp(part->slot[i], (const char *)whole->slot[i] + skip, part->n_bytes[i]) != 0) {
                return false;
            }
        }
    }
    return true;
}

/* Runs samples begin .. begin + n alone. */
static dl_status run_part(dlc_suite *suite, const dlc_problem *whole, dlc_way way, const dlc_values *expected,
                          int64_t begin, int64_t n, bool *equal, dlc_findings *findings) {
    dlc_problem part;
    dlc_values got;
    DL_RETURN_IF_ERROR(dlc_problem_slice(whole, begin, n, &part));
    DL_RETURN_IF_ERROR(dlc_values_create(&part.desc, &got));
    const dl_status status = dlc_execute(suite->device, &part, way, &got, findings);
    *equal = status == DL_OK && rows_equal(&part.desc, &got, expected, begin);
    dlc_values_destroy(&got);
    dlc_problem_destroy(&part);
    return status;
}

static dl_status check_way(dlc_suite *suite, const dlc_problem *whole, dlc_way way) {
    dlc_values expected;
    dlc_findings full, findings;
    char label[DLC_LABEL_BYTES], differs[96] = "";
    bool broken = false;
    DL_RETURN_IF_ERROR(dlc_values_create(&whole->desc, &expected));
    DL_RETURN_IF_ERROR(dlc_execute(suite->device, whole, way, &expected, &full));
    /* on other devices than CPUs what is not promised is not looked for: an emulated one takes minutes */
    const bool looks = full.batch_invariant || !suite->device->backend->own_memory;
    for (size_t i = 0; looks && i < sizeof sizes / sizeof sizes[0]; i++) {
        bool head = false, tail = false;
        DL_RETURN_IF_ERROR(run_part(suite, whole, way, &expected, 0, sizes[i], &head, &findings));
        DL_RETURN_IF_ERROR(
            run_part(suite, whole, way, &expected, FULL - sizes[i], sizes[i], &tail, &findings));
        if (!head || !tail) {
            const size_t used = strlen(differs);
            (void)snprintf(differs + used, sizeof differs - used, " %lld", (long long)sizes[i]);
            broken = broken || (full.batch_invariant && findings.batch_invariant);
        }
    }
    (void)dlc_label(whole, way, label);
    (void)printf("rows  %-72s %-28s %s%s\n", label, full.implementation,
                 full.batch_invariant ? "promised, " : "not promised, ",
                 !looks               ? "not compared"
                 : differs[0] == '\0' ? "equal at all sizes"
                                      : "differ at");
    if (differs[0] != '\0') {
        (void)printf("      differ at%s\n", differs);
    }
    if (broken) {
        dlc_fail(suite, label, "rows depend on the batch size at%s", differs);
    } else {
        dlc_pass(suite);
    }
    dlc_values_destroy(&expected);
    return DL_OK;
}

static dl_status check_ways(dlc_suite *suite, const dlc_problem *whole) {
    for (int variant = 0; variant < 2 + DL_MAX_LAYOUTS; variant++) {
        dl_op_desc desc = whole->desc;
        const bool plain_only = suite->device->backend->layouts == NULL; /* then variants are all the same */
        if (!dlc_apply_variant(suite->device, &desc, variant) || (plain_only && variant > 0)) {
            continue;
        }
        const int n = dl_device_n_algorithms(suite->device, &desc);
        for (int algorithm = 0; algorithm < n; algorithm++) {
            DL_RETURN_IF_ERROR(check_way(suite, whole, (dlc_way){variant, algorithm, true}));
        }
    }
    return DL_OK;
}

void dlc_check_rows(dlc_suite *suite, const dlc_case *test, dlc_which which) {
    dlc_problem whole;
    dl_status status = dlc_problem_create(suite->ref, test, which, FULL, &whole);
    const dl_op_info *info = dl_op_info_of(whole.desc.kind);
    if (status == DL_OK && info->batch == DL_BATCH_PER_SAMPLE && dlc_is_taken(suite, &whole)) {
        status = check_ways(suite, &whole);
    }
    if (status != DL_OK) {
        dlc_fail(suite, test->name, "%s, rows: %s", info->name, dl_error_last()->message);
    }
    dlc_problem_destroy(&whole);
}
