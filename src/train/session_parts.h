/* Between the files of a session (session_*.c). */
#ifndef DLTRAIN_TRAIN_SESSION_PARTS_H
#define DLTRAIN_TRAIN_SESSION_PARTS_H

#include "train/session.h"

/* session->model, from the config and the data set's form (session_model.c). */
DL_NODISCARD dl_status dl_session_build_model(dl_session *session, dl_diagnostics *diagnostics);
/* The same for generating text: where a state carries all that came before, position by position. */
DL_NODISCARD dl_status dl_session_build_for_text(dl_session *session, dl_diagnostics *diagnostics);

/* The numbers of ranks along the axes as the config has them. */
void dl_session_axes(const dl_session *session, int sizes[DL_N_AXES]);

/* Whether the work can be divided as the config asks; sets session->data_ranks and session->reproducible. In
 * a dry session for options->n_ranks ranks, 0: as many as the config asks for. Not collective
 * (session_plan.c). */
DL_NODISCARD dl_status dl_session_check_division(dl_session *session, const dl_session_options *options);

/* session->plan with its programs; finished unless the session is dry (session_plan.c). Collective over all
 * ranks. */
DL_NODISCARD dl_status dl_session_make_plan(dl_session *session, const dl_session_options *options);

/* Room for the parameters on the host (session_parameters.c). */
DL_NODISCARD dl_status dl_session_take_host_arenas(dl_session *session);

/* How the ranks of the tensor axis share the model (session_shares.c). With one rank there is nothing to
 * share: session->shares stays NULL. */
DL_NODISCARD dl_status dl_shares_create(dl_session *session, int size, int index,
                                        dl_diagnostics *diagnostics);
void dl_shares_destroy(dl_shares **shares);
/* The model that this rank computes, and how it came out of the whole one (NULL: it is the whole one). */
const dl_partition *dl_shares_partition(const dl_session *session);
/* Room on the host for this rank's parameters. */
DL_NODISCARD dl_status dl_shares_take_host_arenas(dl_session *session);
size_t dl_shares_host_bytes(const dl_session *session);
/* This rank's part of an arena of the whole model, as the device has it. */
const float *dl_shares_cut(const dl_session *session, dl_arena arena, const float *whole);
/* Where the device's arena is to be put so that dl_shares_gather finds it. */
float *dl_shares_place(const dl_session *session, dl_arena arena, float *whole);
/* Puts the arenas of all ranks of the tensor axis together. Collective over it. */
DL_NODISCARD dl_status dl_shares_gather(const dl_session *session, dl_arena arena, float *whole);

#endif
