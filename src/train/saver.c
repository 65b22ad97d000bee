#define _GNU_SOURCE
#include "train/saver.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/worker.h"
#include "train/save_failure.h"
#include "train/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The word of a rank: the largest of all decides. */
enum { WORD_IDLE, WORD_DONE, WORD_WORKING, WORD_FAILED, N_WORDS };

enum { POLL_NANOSECONDS = 2000000 }; /* while ranks wait for each other's threads */

/* What a save is taken to need before the first was measured: a slow shared file system. */
#define FIRST_SECONDS 0.5
#define SLOW_BYTES_PER_SECOND 100e6

/* What is under way, the same on all ranks. */
typedef enum phase { PHASE_NONE, PHASE_PARTS, PHASE_COMMIT } phase;

struct dl_saver {
    dl_saver_options options;
    char checkpoints[4096], config_digest[64];
    int rank, n_ranks;
    dl_comm *world;
    dl_snapshot *snapshot;
    dl_checkpoint_layout *layout; /* of the snapshot's slices */
    phase phase;
    dl_checkpoint_about about;
    json_t *trainer; /* the position's, owned */
    json_t *versions;
    dl_text part; /* this rank's description */
    char **parts; /* rank 0: everybody's, for the commit */
    int *words;   /* of all ranks, while they wait for each other */
    char *gathered;
    int64_t committed;
    bool gave_up;   /* by options.stop */
    bool full_disk; /* the save under way is to find the disk full (inject.h) */
    bool best;      /* the save under way is of the best epoch so far */
    int64_t pinned; /* rank 0: step of the best epoch's checkpoint, 0: none */
    double began;
    double cost;       /* seconds that the last one took without its threads' rests, 0: there was none */
    dl_worker *worker; /* of the phases; hurried while the main thread waits for it, or another save does */
    bool hurries;      /* the save under way is to be over soon */
    double rested;     /* seconds that its phases before this one have rested */
    atomic_int word;
    atomic_bool stop; /* the worker is to give up: another rank has failed, or options.stop */
    dl_error error;
};

/* --- in the thread --- */

static void write_part(void *context) {
    dl_saver *saver = context;
    dl_status status = dl_snapshot_check_finite(saver->snapshot);
    if (status == DL_OK && saver->full_disk) {
        status = dl_error_raise(DL_ERR_IO, __FILE__, __LINE__, __func__,
                                "cannot write to %s: %s (by --inject)", saver->checkpoints, strerror(ENOSPC));
    }
    if (status == DL_OK) {
        status = dl_checkpoint_write_part(saver->checkpoints, saver->about.step, saver->layout, &saver->stop,
                                          &saver->part);
    }
    if (status != DL_OK) {
        dl_error_take(&saver->error);
    }
    atomic_store(&saver->word, status == DL_OK ? WORD_DONE : WORD_FAILED);
}

/* Rank 0: the checkpoint is there when the manifest is; then older ones may go. */
static void commit(void *context) {
    dl_saver *saver = context;
    if (saver->options.metrics >= 0) {
        (void)fdatasync(saver->options.metrics); /* its lines up to this step; one that failed was told */
    }
    dl_status status =
        dl_checkpoint_commit(saver->checkpoints, &saver->about, (const char *const *)saver->parts);
    if (status != DL_OK) {
        dl_error_take(&saver->error);
        atomic_store(&saver->word, WORD_FAILED);
        return;
    }
    saver->pinned = saver->best ? saver->about.step : saver->pinned;
    int n_deleted = 0;
    const int keep = (int)saver->options.session->config->checkpoint.keep;
    status =
        dl_checkpoint_prune(saver->checkpoints, keep, &saver->pinned, saver->pinned > 0, NULL, &n_deleted);
    if (status != DL_OK) { /* the new one is there all the same */
        DL_WARN("older checkpoints are kept: %s", dl_error_last()->message);
    }
    atomic_store(&saver->word, WORD_DONE);
}

static void start(dl_saver *saver, void (*work)(void *)) {
    atomic_store(&saver->word, WORD_WORKING);
    atomic_store(&saver->stop, false);
    dl_worker_give(saver->worker, work, saver);
    if (saver->hurries) {
        dl_worker_hurry(saver->worker);
    }
}

/* --- a failed save --- */

static dl_status give_up(dl_saver *saver) {
    const bool failed = atomic_load(&saver->word) == WORD_FAILED;
    dl_save_failure told;
    DL_RETURN_IF_ERROR(dl_save_failure_agree(saver->world, failed ? &saver->error : NULL, &told));
    dl_checkpoint_abandon(saver->checkpoints, saver->about.step, saver->rank);
    saver->phase = PHASE_NONE;
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
    return dl_clock_seconds() - saver->began - saver->rested - dl_worker_rested(saver->worker);
}

static dl_status finish_commit(dl_saver *saver) {
    saver->phase = PHASE_NONE;
    saver->committed = saver->about.step;
    saver->cost = seconds_so_far(saver);
    if (saver->options.console != NULL) {
        dl_console_note(saver->options.console, "saved   checkpoint of step %" PRId64 "  %.1f MB in %.1f s",
                        saver->about.step, 1e-6 * (double)saver->snapshot->n_bytes * saver->n_ranks,
                        dl_clock_seconds() - saver->began);
    }
    return DL_OK;
}

/* All ranks are done with the phase, or one has failed. */
static dl_status advance(dl_saver *saver, int word) {
    if (word == WORD_FAILED) {
        atomic_store(&saver->stop, true);
        dl_saver_hurry(saver);
    }
    dl_worker_wait(saver->worker);
    if (word == WORD_FAILED) {
        return give_up(saver);
    }
    if (saver->phase == PHASE_COMMIT) {
        return finish_commit(saver);
    }
    DL_RETURN_IF_ERROR(gather_parts(saver));
    saver->phase = PHASE_COMMIT;
    if (saver->rank == 0) {
        saver->rested = dl_worker_rested(saver->worker);
        start(saver, commit);
        return DL_OK;
    }
    atomic_store(&saver->word, WORD_DONE);
    return DL_OK;
}

/* With its phase: where the host is steps ahead of the device, words of the phase before come in behind its
 * end. */
int dl_saver_word(dl_saver *saver) {
    return saver == NULL || saver->phase == PHASE_NONE
               ? WORD_IDLE
               : (int)saver->phase * N_WORDS + atomic_load(&saver->word);
}

bool dl_saver_is_busy(const dl_saver *saver) {
    return saver->phase != PHASE_NONE;
}

dl_status dl_saver_step(dl_saver *saver, int word) {
    const int told = word % N_WORDS;
    const bool over = told == WORD_DONE || told == WORD_FAILED;
    const bool is_ours = saver->phase != PHASE_NONE && word / N_WORDS == (int)saver->phase;
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
    *word = WORD_IDLE;
    DL_RETURN_IF_ERROR(saver->world->functions->all_gather(saver->world, &mine, sizeof mine, saver->words));
    for (int i = 0; i < saver->n_ranks; i++) {
        *word = saver->words[i] > *word ? saver->words[i] : *word;
    }
    return DL_OK;
}

dl_status dl_saver_finish(dl_saver *saver) {
    dl_saver_hurry(saver);
    while (saver->phase != PHASE_NONE) {
        int word = WORD_IDLE;
        take_request(saver);
        DL_RETURN_IF_ERROR(agree_on_word(saver, &word));
        if (word == WORD_WORKING) {
            (void)nanosleep(&(struct timespec){.tv_nsec = POLL_NANOSECONDS}, NULL);
        } else {
            DL_RETURN_IF_ERROR(advance(saver, word));
        }
    }
    return DL_OK;
}

dl_status dl_saver_begin(dl_saver *saver, const dl_saver_position *position) {
    DL_RETURN_ERROR_IF(saver->phase != PHASE_NONE, DL_ERR_INTERNAL, "a save is under way already");
    saver->began = dl_clock_seconds();
    saver->hurries = false;
    saver->rested = 0;
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
    saver->phase = PHASE_PARTS;
    start(saver, write_part);
    return DL_OK;
}

void dl_saver_hurry(dl_saver *saver) {
    saver->hurries = true;
    dl_worker_hurry(saver->worker);
}

bool dl_saver_gave_up(const dl_saver *saver) {
    return saver->gave_up;
}

double dl_saver_cost(const dl_saver *saver) {
    const double guessed =
        FIRST_SECONDS + (double)saver->snapshot->n_bytes * saver->n_ranks / SLOW_BYTES_PER_SECOND;
    const double cost = saver->cost > 0 ? saver->cost : guessed;
    const double so_far = saver->phase != PHASE_NONE ? seconds_so_far(saver) : 0;
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
