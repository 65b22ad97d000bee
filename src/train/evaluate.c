#include "train/evaluate.h"

#include "train/batches.h"

#include <string.h>

/* Hands a batch over; what becomes of it is added later (add_run). */
static dl_status evaluate_batch(const dl_evaluation *e, const dl_batch *batch, int64_t number) {
    const int program = dl_session_program(e->session, DL_PROGRAM_EVALUATE, &batch->global);
    DL_RETURN_ERROR_IF(program < 0, DL_ERR_INTERNAL,
                       "there is no program for an evaluation batch of %lld samples",
                       (long long)batch->global.n_samples);
    dl_step_block step = {.weight = (double)batch->weight};
    step.control[DL_CONTROL_STOP] = e->stop_word != NULL ? e->stop_word(e->context) : 0;
    const dl_host_batch host = {.field = (const void *const *)batch->field, .ids = batch->ids, .step = &step};
    DL_RETURN_IF_ERROR(dl_execute(e->session->plan, program, &host));
    if (e->predictions != NULL) {
        DL_RETURN_IF_ERROR(dl_plan_wait(e->session->plan));
        DL_RETURN_IF_ERROR(dl_predictions_add(e->predictions, program, batch, batch->global.n_samples));
    }
    if (e->audit == NULL) {
        return DL_OK;
    }
    return dl_run_dir_audit(e->audit, dl_split_name(e->split), e->epoch, number, batch->ids,
                            batch->n_samples);
}

/* What the batches that were read have brought. */
typedef struct results {
    double sums[DL_N_TOTALS];
    int stop; /* the largest word of all ranks */
} results;

static dl_status add_run(const dl_evaluation *e, int64_t run, results *r) {
    dl_outcome outcome;
    DL_RETURN_IF_ERROR(dl_plan_outcome(e->session->plan, run, &outcome));
    for (int i = 0; i < DL_N_TOTALS; i++) {
        r->sums[i] += outcome.totals[i];
    }
    const int word = outcome.control[DL_CONTROL_STOP];
    r->stop = word > r->stop ? word : r->stop;
    return DL_OK;
}

/* Where the device works by itself it is a batch ahead of the host. */
static dl_status evaluate_all(const dl_evaluation *e, dl_batches *batches, results *r) {
    const int64_t n_batches = e->session->view_info[e->split].n_batches;
    const int ahead = e->session->device->backend->steps_in_flight > 0;
    DL_RETURN_IF_ERROR(dl_plan_clear_state(e->session->plan, DL_PROGRAM_EVALUATE));
    int64_t next = e->session->plan->n_runs; /* the run to be added */
    for (int64_t number = 1; r->stop == 0; number++) {
        const dl_batch *batch = NULL;
        DL_RETURN_IF_ERROR(dl_batches_next(batches, &batch));
        if (batch == NULL) {
            break;
        }
        DL_RETURN_IF_ERROR(evaluate_batch(e, batch, number));
        dl_batches_release(batches, batch);
        for (; next + ahead < e->session->plan->n_runs; next++) {
            DL_RETURN_IF_ERROR(add_run(e, next, r));
        }
        dl_console_progress(e->console, dl_split_name(e->split), number, n_batches);
    }
    for (; next < e->session->plan->n_runs; next++) {
        DL_RETURN_IF_ERROR(add_run(e, next, r));
    }
    return DL_OK;
}

dl_score dl_score_of(const dl_model *model, const double totals[DL_N_TOTALS]) {
    const double weight = totals[DL_TOTAL_WEIGHT];
    const dl_output *output = &model->output;
    dl_score score = {.present = true, .loss = totals[DL_TOTAL_LOSS] / weight};
    for (int i = 0; i < output->n_metrics; i++) {
        const double mean = totals[DL_TOTAL_METRIC + i] / weight;
        score.metric[i] = output->finish[i] != NULL ? output->finish[i](mean) : mean;
    }
    return score;
}

dl_status dl_evaluate(const dl_evaluation *e, dl_score *score) {
    *score = (dl_score){0};
    if (e->stopped != NULL) {
        *e->stopped = 0;
    }
    if (e->session->split[e->split].n == 0) {
        return DL_OK;
    }
    dl_batches *batches = NULL;
    results r = {.stop = 0};
    DL_RETURN_IF_ERROR(dl_session_refresh(e->session));
    DL_RETURN_IF_ERROR(dl_batches_start_pass(e->session, e->split, &batches));
    const dl_status status = evaluate_all(e, batches, &r);
    dl_batches_stop(&batches);
    if (status != DL_OK) {
        return dl_error_add_frame(status, __FILE__, __LINE__, __func__, "evaluating split %s",
                                  dl_split_name(e->split));
    }
    if (e->stopped != NULL) {
        *e->stopped = r.stop;
    }
    if (r.stop == 0) {
        *score = dl_score_of(e->session->model, r.sums);
    }
    return DL_OK;
}
