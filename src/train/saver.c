#define _GNU_SOURCE
#include "train/saver_parts.h"

#include "base/clock.h"
#include "base/log.h"
#include "train/rank_failure.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { POLL_NANOSECONDS = 2000000 }; /* while ranks wait for each other's threads */

/* What a save is taken to need before the first was measured: a slow shared file system. */
#define FIRST_SECONDS 0.5
#define SLOW_BYTES_PER_SECOND 100e6

/* --- failures --- */

/* All ranks hear of one reason; *told: whose, and which. */
static dl_status agree_on_failure(dl_saver *saver, dl_rank_failure *told) {
    const bool failed = atomic_load(&saver->word) == DL_SAVER_FAILED;
    return dl_rank_failure_agree(saver->world, failed ? &saver->error : NULL, told);
}

/* There is no checkpoint. */
static dl_status give_up(dl_saver *saver) {
    dl_rank_failure told;
    DL_RETURN_IF_ERROR(agree_on_failure(saver, &told));
    dl_checkpoint_abandon(saver->checkpoints, saver->about.step, saver->rank);
    saver->phase = DL_SAVER_NONE;
    /* A save of the same step may begin at once: nobody removes what belongs to that one. */
    DL_RETURN_IF_ERROR(dl_comm_agree(saver->world, DL_OK, NULL));
    if (told.code == DL_INTERRUPTED) {
        saver->gave_up = true;
        DL_WARN("the checkpoint of step %" PRId64 " is given up: a second signal asks for the end",
                saver->about.step);
        return DL_OK;
    }
    const bool stop = saver->options.session->config->checkpoint.on_error != 0;
    DL_RETURN_ERROR_IF(stop, told.code, "the checkpoint of step %" PRId64 " was not saved (rank %d): %s",
                       saver->about.step, told.rank, told.message);
    if (saver->rank == 0) {
        DL_WARN("the checkpoint of step %" PRId64 " was not saved (rank %d): %s; training goes on",
                saver->about.step, told.rank, told.message);
    }
    return DL_OK;
}

/* It is committed, and cannot be read again: whether it is whole after all is for who resumes to find out,
 * and the older ones stay for that. */
static dl_status keep_older(dl_saver *saver) {
    dl_rank_failure told;
    DL_RETURN_IF_ERROR(agree_on_failure(saver, &told));
    saver->gave_up = told.code == DL_INTERRUPTED;
    if (saver->rank == 0 && !saver->gave_up) {
        DL_WARN("older checkpoints are kept (rank %d): %s", told.rank, told.message);
    }
    return DL_OK;
}

/* --- from phase to phase --- */

/* Brings all descriptions to rank 0. */
static dl_status gather_parts(dl_saver *saver) {
    dl_comm *world = saver->world;
    const int64_t mine = (int64_t)saver->part.size + 1;
    int64_t *lengths = NULL, longest = 0;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)saver->n_ranks, sizeof *lengths, &lengths));
    dl_status status = world->functions->all_gather(world, &mine, sizeof mine, lengths);
    for (int i = 0; i < saver->n_ranks; i++) {
        longest = lengths[i] > longest ? lengths[i] : longest;
    }
    dl_free(&lengths);
    DL_RETURN_IF_ERROR(status);
    char *own = NULL;
    dl_free(&saver->gathered);
    DL_RETURN_IF_ERROR(dl_alloc((size_t)longest, 1, &own));
    memcpy(own, saver->part.data, saver->part.size);
    status = dl_alloc((size_t)saver->n_ranks, (size_t)longest, &saver->gathered);
    if (status == DL_OK) {
        status = world->functions->all_gather(world, own, (size_t)longest, saver->gathered);
    }
    dl_free(&own);
    for (int i = 0; i < saver->n_ranks; i++) {
        saver->parts[i] = saver->gathered + (size_t)i * (size_t)longest;
    }
    return status;
}

/* Of the save under way, as if it had hurried. */
static double seconds_so_far(const dl_saver *saver) {
    return dl_clock_seconds() - saver->began - dl_worker_rested(saver->worker);
}

/* Has this rank work in the phase? */
static bool works_in(const dl_saver *saver, dl_saver_phase phase) {
    return saver->rank == 0 || phase == DL_SAVER_PARTS || phase == DL_SAVER_READ_AGAIN;
}

static void enter(dl_saver *saver, dl_saver_phase phase) {
    saver->phase = phase;
    if (!works_in(saver, phase)) {
        atomic_store(&saver->word, DL_SAVER_DONE);
        return;
    }
    atomic_store(&saver->word, DL_SAVER_WORKING);
    atomic_store(&saver->stop, false);
    dl_worker_give(saver->worker, dl_saver_work, saver);
}

static dl_status finish(dl_saver *saver) {
    saver->phase = DL_SAVER_NONE;
    if (saver->options.console != NULL) {
        dl_console_note(saver->options.console, "saved   checkpoint of step %" PRId64 "  %.1f MB in %.1f s",
                        saver->about.step, 1e-6 * (double)saver->snapshot->n_bytes * saver->n_ranks,
                        dl_clock_seconds() - saver->began);
    }
    return DL_OK;
}

/* All ranks have written their parts. */
static dl_status begin_commit(dl_saver *saver) {
    DL_RETURN_IF_ERROR(gather_parts(saver));
    enter(saver, DL_SAVER_COMMIT);
    return DL_OK;
}

/* The checkpoint is there. */
static dl_status end_commit(dl_saver *saver, bool older_may_go) {
    saver->committed = saver->about.step;
    saver->cost = seconds_so_far(saver);
    if (older_may_go) {
        enter(saver, DL_SAVER_READ_AGAIN);
        return DL_OK;
    }
    return finish(saver);
}

static dl_status end_read_again(dl_saver *saver, bool failed) {
    if (failed) {
        DL_RETURN_IF_ERROR(keep_older(saver));
        return finish(saver);
    }
    enter(saver, DL_SAVER_PRUNE);
    return DL_OK;
}

/* All ranks are done with the phase, or one has failed. */
static dl_status advance(dl_saver *saver, int word) {
    const bool failed = word == DL_SAVER_FAILED;
    if (failed) {
        atomic_store(&saver->stop, true);
        dl_saver_hurry(saver);
    }
    dl_worker_wait(saver->worker);
    switch (saver->phase) {
    case DL_SAVER_PARTS:
        return failed ? give_up(saver) : begin_commit(saver);
    case DL_SAVER_COMMIT:
        return failed ? give_up(saver) : end_commit(saver, word == DL_SAVER_MORE);
    case DL_SAVER_READ_AGAIN:
        return end_read_again(saver, failed);
    case DL_SAVER_PRUNE:
    case DL_SAVER_NONE:
        break;
    }
    return finish(saver);
}

/* With its phase: where the host is steps ahead of the device, words of the phase before come in behind its
 * end. */
int dl_saver_word(dl_saver *saver) {
    return saver == NULL || saver->phase == DL_SAVER_NONE
               ? DL_SAVER_IDLE
               : (int)saver->phase * DL_SAVER_N_WORDS + atomic_load(&saver->word);
}

bool dl_saver_is_busy(const dl_saver *saver) {
    return saver->phase != DL_SAVER_NONE;
}

dl_status dl_saver_step(dl_saver *saver, int word) {
    const int told = word % DL_SAVER_N_WORDS;
    const bool over = told != DL_SAVER_IDLE && told != DL_SAVER_WORKING;
    const bool is_ours = saver->phase != DL_SAVER_NONE && word / DL_SAVER_N_WORDS == (int)saver->phase;
    return is_ours && over ? advance(saver, told) : DL_OK;
}

/* Whoever asks this rank to give up asks all: it fails, and the others hear of that. */
static void take_request(dl_saver *saver) {
    if (saver->options.stop != NULL && atomic_load(saver->options.stop)) {
        atomic_store(&saver->stop, true);
    }
}

/* The largest word of all ranks. */
static dl_status agree_on_word(dl_saver *saver, int *word) {
    const int mine = atomic_load(&saver->word);
    *word = DL_SAVER_IDLE;
    DL_RETURN_IF_ERROR(saver->world->functions->all_gather(saver->world, &mine, sizeof mine, saver->words));
    for (int i = 0; i < saver->n_ranks; i++) {
        *word = saver->words[i] > *word ? saver->words[i] : *word;
    }
    return DL_OK;
}

dl_status dl_saver_finish(dl_saver *saver) {
    dl_saver_hurry(saver);
    while (saver->phase != DL_SAVER_NONE) {
        int word = DL_SAVER_IDLE;
        take_request(saver);
        DL_RETURN_IF_ERROR(agree_on_word(saver, &word));
        if (word == DL_SAVER_WORKING) {
            (void)nanosleep(&(struct timespec){.tv_nsec = POLL_NANOSECONDS}, NULL);
        } else {
            DL_RETURN_IF_ERROR(advance(saver, word));
        }
    }
    return DL_OK;
}

dl_status dl_saver_begin(dl_saver *saver, const dl_saver_position *position) {
    DL_RETURN_ERROR_IF(saver->phase != DL_SAVER_NONE, DL_ERR_INTERNAL, "a save is under way already");
    saver->began = dl_clock_seconds();
    dl_worker_begin(saver->worker);
    DL_RETURN_IF_ERROR(dl_snapshot_take(saver->snapshot));
    json_decref(saver->trainer);
    saver->trainer = json_deep_copy(position->trainer);
    saver->about = (dl_checkpoint_about){.step = position->step,
                                         .epoch = position->epoch,
                                         .samples = position->samples,
                                         .ranks = saver->n_ranks,
                                         .config_digest = saver->config_digest,
                                         .data_digest = saver->options.session->train_info.digest,
                                         .versions = saver->versions,
                                         .state = saver->trainer};
    saver->best = position->best;
    saver->full_disk = saver->options.injections != NULL && dl_inject_full_disk(saver->options.injections);
    dl_text_free(&saver->part);
    enter(saver, DL_SAVER_PARTS);
    return DL_OK;
}

void dl_saver_hurry(dl_saver *saver) {
    dl_worker_hurry(saver->worker);
}

bool dl_saver_gave_up(const dl_saver *saver) {
    return saver->gave_up;
}

double dl_saver_cost(const dl_saver *saver) {
    const double guessed =
        FIRST_SECONDS + (double)saver->snapshot->n_bytes * saver->n_ranks / SLOW_BYTES_PER_SECOND;
    const double cost = saver->cost > 0 ? saver->cost : guessed;
    const double so_far = saver->phase != DL_SAVER_NONE ? seconds_so_far(saver) : 0;
    return so_far > cost ? so_far : cost;
}

int64_t dl_saver_committed(const dl_saver *saver) {
    return saver->committed;
}

void dl_saver_pin(dl_saver *saver, int64_t step) {
    saver->pinned = step;
}

void dl_saver_set_committed(dl_saver *saver, int64_t step) {
    saver->committed = step;
}

static dl_status fill(dl_saver *saver, const dl_saver_options *options) {
    const dl_session *session = options->session;
    char version[64] = "";
    saver->options = *options;
    saver->world = session->world;
    saver->rank = session->world->rank;
    saver->n_ranks = session->world->size;
    (void)snprintf(saver->checkpoints, sizeof saver->checkpoints, "%s", options->checkpoints);
    (void)snprintf(saver->config_digest, sizeof saver->config_digest, "%s", options->config_digest);
    session->device->backend->version(version, sizeof version);
    saver->versions =
        json_pack("{s:s, s:s}", "dltrain", DLTRAIN_VERSION, session->device->backend->name, version);
    DL_RETURN_ERROR_IF(saver->versions == NULL, DL_ERR_MEMORY, "no memory for a line of versions");
    DL_RETURN_IF_ERROR(dl_alloc((size_t)saver->n_ranks, sizeof *saver->parts, &saver->parts));
    DL_RETURN_IF_ERROR(dl_alloc((size_t)saver->n_ranks, sizeof *saver->words, &saver->words));
    DL_RETURN_IF_ERROR(dl_worker_create(&saver->worker));
    DL_RETURN_IF_ERROR(dl_snapshot_create(session, &saver->snapshot));
    return dl_checkpoint_layout_create(saver->rank, saver->snapshot->slice, saver->snapshot->n_slices,
                                       &saver->layout);
}

dl_status dl_saver_create(const dl_saver_options *options, dl_saver **out) {
    dl_saver *saver = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *saver, &saver));
    const dl_status status = fill(saver, options);
    if (status != DL_OK) {
        dl_saver_destroy(&saver);
        return status;
    }
    *out = saver;
    return DL_OK;
}

void dl_saver_destroy(dl_saver **saver) {
    if (*saver == NULL) {
        return;
    }
    dl_worker_destroy(&(*saver)->worker);
    dl_text_free(&(*saver)->part);
    dl_free(&(*saver)->gathered);
    dl_free(&(*saver)->parts);
    dl_free(&(*saver)->words);
    dl_checkpoint_layout_destroy(&(*saver)->layout);
    dl_snapshot_destroy(&(*saver)->snapshot);
    json_decref((*saver)->trainer);
    json_decref((*saver)->versions);
    dl_free(saver);
}
