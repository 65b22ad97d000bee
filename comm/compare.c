/* Do all ranks have the same text? Digests tell; only when they differ do the texts travel. */
#include "base/digest.h"
#include "base/mem.h"
#include "base/text.h"
#include "comm/comm.h"

#include <stdio.h>
#include <string.h>

enum { MAX_TEXT_BYTES = 4 << 20, LINE_SHOWN = 160 };

typedef struct line {
    const char *text;
    int n_bytes, key_bytes; /* the key is what stands before the first ": " */
} line;

/* The line at *at, which moves on to the next one. False at the end. */
static bool next_line(const char **at, line *out) {
    if (**at == '\0') {
        return false;
    }
    const size_t n = strcspn(*at, "\n");
    out->text = *at;
    out->n_bytes = (int)n;
    out->key_bytes = (int)n;
    for (size_t i = 0; i < n; i++) {
        if ((*at)[i] == ':' && (i + 1 == n || (*at)[i + 1] == ' ')) {
            out->key_bytes = (int)i;
            break;
        }
    }
    *at += n + ((*at)[n] == '\n');
    return true;
}

static bool same(const char *a, int n, const char *b, int m) {
    return n == m && memcmp(a, b, (size_t)n) == 0;
}

static bool find_key(const char *text, const line *wanted, line *out) {
    while (next_line(&text, out)) {
        if (same(out->text, out->key_bytes, wanted->text, wanted->key_bytes)) {
            return true;
        }
    }
    return false;
}

static void show_value(char *out, size_t n_bytes, bool present, const line *from) {
    if (!present) {
        (void)snprintf(out, n_bytes, "absent");
        return;
    }
    const char *value = from->text + from->key_bytes;
    int n = from->n_bytes - from->key_bytes;
    for (int i = 0; i < 2 && n > 0 && (*value == ':' || *value == ' '); i++) {
        value++;
        n--;
    }
    (void)snprintf(out, n_bytes, "%.*s", n < LINE_SHOWN ? n : LINE_SHOWN, value);
}

/* Writes "KEY is A on rank 0 and B on rank R" for the first line of `first` (rank 0's text) that `other` does
 * not have, or the other way round. */
static void describe(const char *first, const char *other, int rank, char *out, size_t n_bytes) {
    const char *a = first, *b = other;
    line x = {0}, y = {0};
    bool has_x = false, has_y = false;
    do {
        has_x = next_line(&a, &x);
        has_y = next_line(&b, &y);
    } while (has_x && has_y && same(x.text, x.n_bytes, y.text, y.n_bytes));
    if (has_x && !(has_y && same(x.text, x.key_bytes, y.text, y.key_bytes))) {
        has_y = find_key(other, &x, &y); /* a line was added or left out: look for its key elsewhere */
        if (has_y && same(x.text, x.n_bytes, y.text, y.n_bytes)) {
            (void)snprintf(out, n_bytes, "the lines of rank 0 and rank %d are in another order, from %.*s on",
                           rank, x.n_bytes < LINE_SHOWN ? x.n_bytes : LINE_SHOWN, x.text);
            return;
        }
    }
    const line *key = has_x ? &x : &y;
    char value[2][LINE_SHOWN + 1];
    show_value(value[0], sizeof value[0], has_x, &x);
    show_value(value[1], sizeof value[1], has_y, &y);
    (void)snprintf(out, n_bytes, "%.*s is %s on rank 0 and %s on rank %d",
                   key->key_bytes < LINE_SHOWN ? key->key_bytes : LINE_SHOWN, key->text, value[0], value[1],
                   rank);
}

/* The first rank whose digest differs from rank 0's, or -1. */
static dl_status first_difference(dl_comm *comm, const char *text, int *out) {
    char mine[DL_DIGEST_TEXT_BYTES];
    dl_digest_of(text, strlen(text), mine);
    char *all = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)comm->size, sizeof mine, &all));
    const dl_status status = comm->functions->all_gather(comm, mine, sizeof mine, all);
    *out = -1;
    for (int rank = comm->size - 1; status == DL_OK && rank > 0; rank--) {
        if (memcmp(all + (size_t)rank * sizeof mine, all, sizeof mine) != 0) {
            *out = rank;
        }
    }
    dl_free(&all);
    return status;
}

/* Rank 0's text, cut to MAX_TEXT_BYTES, on every rank. */
static dl_status fetch_text(dl_comm *comm, const char *text, char **out) {
    int64_t n = (int64_t)strlen(text);
    n = n < MAX_TEXT_BYTES ? n : MAX_TEXT_BYTES;
    DL_RETURN_IF_ERROR(comm->functions->broadcast(comm, &n, sizeof n, 0));
    DL_RETURN_IF_ERROR(dl_alloc((size_t)n + 1, 1, out));
    if (comm->rank == 0) {
        memcpy(*out, text, (size_t)n);
    }
    return comm->functions->broadcast(comm, *out, (size_t)n, 0);
}

dl_status dl_comm_compare(dl_comm *comm, const char *what, const char *text) {
    if (comm->host != NULL) {
        const dl_status status = dl_comm_compare(comm->host, what, text);
        comm->failed = comm->host->failed;
        comm->failed_rank = comm->host->failed_rank;
        return status;
    }
    int rank = -1;
    DL_RETURN_IF_ERROR_DOING(first_difference(comm, text, &rank), "comparing %s over ranks", what);
    if (rank < 0) {
        return DL_OK;
    }
    char *first = NULL;
    const dl_status status = fetch_text(comm, text, &first);
    char difference[4 * LINE_SHOWN] = "";
    if (status == DL_OK && comm->rank == rank) {
        describe(first, text, rank, difference, sizeof difference);
    }
    dl_free(&first);
    DL_RETURN_IF_ERROR_DOING(status, "comparing %s over ranks", what);
    DL_RETURN_IF_ERROR_DOING(comm->functions->broadcast(comm, difference, sizeof difference, rank),
                             "comparing %s over ranks", what);
    comm->failed = true;
    comm->failed_rank = -1;
    DL_RETURN_ERROR(DL_ERR_USAGE, "ranks disagree (%s): %s", what, difference);
}
