#include "base/worker.h"

#include "base/mem.h"
#include "base/thread.h"

#include <pthread.h>

struct dl_worker {
    pthread_t thread;
    pthread_mutex_t lock; /* of the next three */
    pthread_cond_t changed;
    void (*work)(void *); /* NULL: nothing is under way */
    void *context;
    bool ends;
    dl_thread_pace pace;
};

static void *work_on(void *context) {
    dl_worker *worker = context;
    dl_thread_give_way(&worker->pace);
    (void)pthread_mutex_lock(&worker->lock);
    while (true) {
        while (worker->work == NULL && !worker->ends) {
            (void)pthread_cond_wait(&worker->changed, &worker->lock);
        }
        if (worker->work == NULL) {
            break;
        }
        (void)pthread_mutex_unlock(&worker->lock);
        dl_thread_rest();
        worker->work(worker->context);
        (void)pthread_mutex_lock(&worker->lock);
        worker->work = NULL;
        (void)pthread_cond_broadcast(&worker->changed);
    }
    (void)pthread_mutex_unlock(&worker->lock);
    return NULL;
}

static void release(dl_worker **worker) {
    (void)pthread_cond_destroy(&(*worker)->changed);
    (void)pthread_mutex_destroy(&(*worker)->lock);
    dl_free(worker);
}

dl_status dl_worker_create(dl_worker **out) {
    dl_worker *worker = NULL;
    DL_RETURN_IF_ERROR(dl_alloc(1, sizeof *worker, &worker));
    (void)pthread_mutex_init(&worker->lock, NULL);
    (void)pthread_cond_init(&worker->changed, NULL);
    const dl_status status = dl_thread_start(&worker->thread, work_on, worker);
    if (status != DL_OK) {
        release(&worker);
        return status;
    }
    *out = worker;
    return DL_OK;
}

void dl_worker_begin(dl_worker *worker) {
    dl_thread_begin(&worker->pace);
}

void dl_worker_give(dl_worker *worker, void (*work)(void *context), void *context) {
    (void)pthread_mutex_lock(&worker->lock);
    worker->work = work;
    worker->context = context;
    (void)pthread_cond_broadcast(&worker->changed);
    (void)pthread_mutex_unlock(&worker->lock);
}

void dl_worker_hurry(dl_worker *worker) {
    dl_thread_hurry(&worker->pace);
}

void dl_worker_wait(dl_worker *worker) {
    (void)pthread_mutex_lock(&worker->lock);
    while (worker->work != NULL) {
        (void)pthread_cond_wait(&worker->changed, &worker->lock);
    }
    (void)pthread_mutex_unlock(&worker->lock);
}

double dl_worker_rested(const dl_worker *worker) {
    return atomic_load(&worker->pace.rested);
}

void dl_worker_destroy(dl_worker **worker) {
    if (*worker == NULL) {
        return;
    }
    dl_worker_hurry(*worker);
    dl_worker_wait(*worker);
    (void)pthread_mutex_lock(&(*worker)->lock);
    (*worker)->ends = true;
    (void)pthread_cond_broadcast(&(*worker)->changed);
    (void)pthread_mutex_unlock(&(*worker)->lock);
    (void)pthread_join((*worker)->thread, NULL);
    release(worker);
}
