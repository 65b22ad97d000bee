#include "train/trainer_state.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static json_t *number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *sums_json(const dl_trainer_state *state) {
    json_t *list = json_array();
    for (int i = 0; i < DL_N_TOTALS && list != NULL; i++) {
        (void)json_array_append_new(list, number(state->epoch_sums[i]));
    }
    return list;
}

static json_t *best_json(const dl_best_state *best) {
    return json_pack("{s:I, s:I, s:o, s:s}", "epoch", (json_int_t)best->epoch, "without",
                     (json_int_t)best->without, "value", number(best->value), "figure", best->figure);
}

dl_best_state dl_best_state_of(const dl_best *best) {
    dl_best_state state = {.epoch = best->epoch, .without = best->without, .value = best->value};
    (void)snprintf(state.figure, sizeof state.figure, "%s", best->name != NULL ? best->name : "");
    return state;
}

void dl_best_take_up(dl_best *best, const dl_best_state *from) {
    const bool other = from->figure[0] != '\0' && best->name != NULL && strcmp(from->figure, best->name) != 0;
    best->epoch = other ? 0 : from->epoch;
    best->without = other ? 0 : from->without;
    best->value = other ? 0 : from->value;
}

json_t *dl_trainer_state_json(const dl_trainer_state *state) {
    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:I, s:I, s:b, s:b, s:o, s:o}", "step",
                     (json_int_t)state->step, "samples", (json_int_t)state->samples, "epoch_samples",
                     (json_int_t)state->epoch_samples, "epoch_sums", sums_json(state), "seconds",
                     number(state->seconds), "skipped", (json_int_t)state->skipped, "skipped_in_row",
                     (json_int_t)state->skipped_in_row, "early", (int)state->early, "open", (int)state->open,
                     "best", best_json(&state->best), "stopping", best_json(&state->stopping));
}

/* --- reading --- */

static dl_status whole(const json_t *object, const char *key, int64_t *out) {
    const json_t *value = json_object_get(object, key);
    DL_RETURN_ERROR_IF(!json_is_integer(value) || json_integer_value(value) < 0, DL_ERR_CORRUPT,
                       "the trainer's state has no number '%s'", key);
    *out = json_integer_value(value);
    return DL_OK;
}

/* What checkpoints from before it was counted do without is 0. */
static dl_status whole_or_none(const json_t *object, const char *key, int64_t *out) {
    return json_object_get(object, key) != NULL ? whole(object, key, out) : DL_OK;
}

/* null is what was not finite. */
static dl_status real(const json_t *value, const char *key, double *out) {
    DL_RETURN_ERROR_IF(!json_is_number(value) && !json_is_null(value), DL_ERR_CORRUPT,
                       "the trainer's state has no number '%s'", key);
    *out = json_is_null(value) ? (double)NAN : json_number_value(value);
    return DL_OK;
}

static dl_status parse_best(const json_t *object, const char *key, dl_best_state *out) {
    const json_t *best = json_object_get(object, key), *figure = json_object_get(best, "figure");
    DL_RETURN_ERROR_IF(!json_is_object(best), DL_ERR_CORRUPT, "the trainer's state has no '%s'", key);
    DL_RETURN_IF_ERROR(whole(best, "epoch", &out->epoch));
    DL_RETURN_IF_ERROR(whole(best, "without", &out->without));
    (void)snprintf(out->figure, sizeof out->figure, "%s",
                   json_is_string(figure) ? json_string_value(figure) : "");
    return real(json_object_get(best, "value"), "value", &out->value);
}

dl_status dl_trainer_state_parse(const json_t *object, dl_trainer_state *out) {
    dl_trainer_state state = {0};
    const json_t *sums = json_object_get(object, "epoch_sums");
    DL_RETURN_ERROR_IF(!json_is_object(object), DL_ERR_CORRUPT, "there is no state of the trainer");
    DL_RETURN_IF_ERROR(whole(object, "step", &state.step));
    DL_RETURN_IF_ERROR(whole(object, "samples", &state.samples));
    DL_RETURN_IF_ERROR(whole(object, "epoch_samples", &state.epoch_samples));
    DL_RETURN_ERROR_IF(!json_is_array(sums) || json_array_size(sums) != DL_N_TOTALS, DL_ERR_CORRUPT,
                       "the trainer's state has no %d epoch_sums", DL_N_TOTALS);
    for (int i = 0; i < DL_N_TOTALS; i++) {
        DL_RETURN_IF_ERROR(real(json_array_get(sums, (size_t)i), "epoch_sums", &state.epoch_sums[i]));
    }
    DL_RETURN_IF_ERROR(real(json_object_get(object, "seconds"), "seconds", &state.seconds));
    DL_RETURN_IF_ERROR(whole_or_none(object, "skipped", &state.skipped));
    DL_RETURN_IF_ERROR(whole_or_none(object, "skipped_in_row", &state.skipped_in_row));
    state.early = json_is_true(json_object_get(object, "early"));
    state.open = json_is_true(json_object_get(object, "open")); /* which earlier versions never were */
    DL_RETURN_IF_ERROR(parse_best(object, "best", &state.best));
    DL_RETURN_IF_ERROR(parse_best(object, "stopping", &state.stopping));
    *out = state;
    return DL_OK;
}
