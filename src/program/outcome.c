/* What a run leaves for the host: fetched when it is asked for or, on streams, behind every run, so that the
 * device may be some runs ahead. */
#include "program/compile.h"
#include "program/streams.h"

static dl_status fetch(const dl_plan *plan, dl_outcome *to, dl_stream *stream) {
    dl_device *device = plan->options.device;
    const char *control = plan->memory[DL_STORE_CONTROL], *state = plan->memory[DL_STORE_STATE];
    DL_RETURN_IF_ERROR(
        device->backend->download(device, to->totals, control + DL_TOTALS_OFFSET, sizeof to->totals, stream));
    DL_RETURN_IF_ERROR(device->backend->download(device, to->control, control + DL_CONTROL_OFFSET,
                                                 sizeof to->control, stream));
    if (dl_plan_trains(plan) && plan->options.clip_norm > 0) {
        DL_RETURN_IF_ERROR(
            device->backend->download(device, to->norm, control + DL_NORM_OFFSET, sizeof to->norm, stream));
    }
    return dl_plan_trains(plan) && dl_plan_scales(plan)
               ? device->backend->download(device, to->scale, state + dl_loss_scale_offset(plan),
                                           sizeof to->scale, stream)
               : DL_OK;
}

dl_status dl_streams_send_outcome(dl_plan *plan, int number) {
    return fetch(plan, &plan->outcome[number], plan->stream[DL_LANE_COMPUTE]);
}

dl_status dl_plan_outcome(const dl_plan *plan, int64_t run, dl_outcome *out) {
    const int n_kept = plan->options.device->backend->steps_in_flight + 1;
    DL_RETURN_ERROR_IF(run < 0 || run >= plan->n_runs || run < plan->n_runs - n_kept, DL_ERR_INTERNAL,
                       "the outcome of run %lld of %lld is not kept", (long long)run,
                       (long long)plan->n_runs);
    if (plan->outcome == NULL) {
        *out = (dl_outcome){0};
        return fetch(plan, out, NULL);
    }
    DL_RETURN_IF_ERROR(dl_streams_wait_for_end(plan, (int)(run % n_kept)));
    *out = plan->outcome[run % n_kept];
    return DL_OK;
}
