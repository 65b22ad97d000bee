#include "train/autosave.h"

#include "base/clock.h"

dl_autosave dl_autosave_start(const dl_session *session, dl_saver *saver, bool soon) {
    return (dl_autosave){.session = session, .saver = saver, .soon = soon, .begun_at = dl_clock_seconds()};
}

void dl_autosave_ask(const dl_autosave *autosave, dl_step_block *block) {
    const double minutes = autosave->session->config->checkpoint.every_minutes;
    const bool late = minutes > 0 && dl_clock_seconds() - autosave->begun_at >= 60 * minutes;
    block->control[DL_CONTROL_SAVE] = autosave->session->world->rank == 0 && (late || autosave->soon);
    block->control[DL_CONTROL_PART] = dl_saver_word(autosave->saver);
}

/* Has the best epoch so far ended with this step? */
static bool is_best(const dl_autosave *autosave, const dl_trainer_state *state) {
    const int64_t per_epoch = autosave->session->steps_per_epoch;
    return state->best.epoch > 0 && state->step == state->best.epoch * per_epoch;
}

static dl_status begin(dl_autosave *autosave, const dl_trainer_state *state) {
    json_t *object = json_pack("{s:o, s:s*}", "trainer", dl_trainer_state_json(state), "choices",
                               dl_plan_choices(autosave->session->plan));
    DL_RETURN_ERROR_IF(object == NULL, DL_ERR_MEMORY, "no memory for the state of the trainer");
    const dl_saver_position position = {.step = state->step,
                                        .epoch = (state->step - 1) / autosave->session->steps_per_epoch + 1,
                                        .samples = state->samples,
                                        .trainer = object,
                                        .best = is_best(autosave, state)};
    const dl_status status = dl_saver_begin(autosave->saver, &position);
    json_decref(object);
    autosave->wanted = autosave->soon = false;
    autosave->begun_at = dl_clock_seconds();
    return status;
}

static bool is_due(const dl_autosave *autosave, int64_t step) {
    const dl_checkpoint_config *when = &autosave->session->config->checkpoint;
    const int64_t per_epoch = autosave->session->steps_per_epoch;
    return (when->every_steps > 0 && step % when->every_steps == 0) ||
           (when->every_epochs > 0 && step % (per_epoch * when->every_epochs) == 0);
}

bool dl_autosave_comes_behind(const dl_autosave *autosave, int64_t step) {
    return autosave->saver != NULL && (is_due(autosave, step) || autosave->waits_for_steps);
}

dl_status dl_autosave_step(dl_autosave *autosave, const dl_trainer_state *state,
                           const int32_t control[DL_N_CONTROLS], bool settled) {
    if (autosave->saver == NULL) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_saver_step(autosave->saver, control[DL_CONTROL_PART]));
    const bool best = is_best(autosave, state);
    if (best) { /* later it would not be that epoch's any more */
        DL_RETURN_IF_ERROR(dl_saver_finish(autosave->saver));
    }
    autosave->wanted =
        autosave->wanted || best || control[DL_CONTROL_SAVE] != 0 || is_due(autosave, state->step);
    if (autosave->wanted && dl_saver_is_busy(autosave->saver)) {
        dl_saver_hurry(autosave->saver);
        return DL_OK;
    }
    autosave->waits_for_steps = autosave->wanted && !settled;
    return autosave->wanted && settled ? begin(autosave, state) : DL_OK;
}

double dl_autosave_cost(const dl_autosave *autosave) {
    const dl_saver *saver = autosave->saver;
    return saver == NULL ? 0 : dl_saver_cost(saver) * (dl_saver_is_busy(saver) ? 2 : 1);
}

dl_status dl_autosave_end(dl_autosave *autosave, const dl_trainer_state *state, bool last, bool *saved) {
    dl_saver *saver = autosave->saver;
    *saved = false;
    if (saver == NULL || state->step == 0) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_saver_finish(saver));
    if (last && !dl_saver_gave_up(saver) && dl_saver_committed(saver) != state->step) {
        DL_RETURN_IF_ERROR(begin(autosave, state));
        DL_RETURN_IF_ERROR(dl_saver_finish(saver));
    }
    *saved = dl_saver_committed(saver) == state->step;
    return DL_OK;
}
