/* The YAML file as a tree of places: what the checker reads and points at. The only user of libfyaml is
 * tree.c.
 *
 * Limits: 1 MiB of text, depth 64, aliases expanded to at most 10,000 nodes, no tags, UTF-8, no duplicate
 * keys. Everything in a tree is owned by the pool it was loaded into. */
#ifndef DLTRAIN_CONFIG_NODE_H
#define DLTRAIN_CONFIG_NODE_H

#include "base/mem.h"
#include "base/text.h"

/* A text that mistakes are shown in: a file, or one override of the command line. */
typedef struct dl_source {
    const char *name; /* as in messages: "configs/a.yaml", "command line" */
    const char *text;
    size_t n_bytes;
} dl_source;

typedef struct dl_place {
    const dl_source *source; /* NULL: nowhere (a default) */
    int line, column;        /* from 1 */
} dl_place;

typedef enum dl_node_kind { DL_NODE_SCALAR, DL_NODE_LIST, DL_NODE_MAP } dl_node_kind;

typedef struct dl_node {
    dl_node_kind kind;
    const char *text; /* scalars; "" for an empty value */
    bool quoted;      /* a quoted scalar is text, never a number or a truth value */
    dl_place place;   /* of the value */
    const char *key;  /* in a map: the key and its place; NULL otherwise */
    dl_place key_place;
    int64_t n_children, capacity;
    struct dl_node **child;
} dl_node;

enum { DL_MAX_SEEN = 128 };

/* Mistakes found so far: printed to stderr when added (unless quiet), counted. The same text at the same
 * place counts once. */
typedef struct dl_diagnostics {
    int n_errors;
    int n_calls;                /* of dl_diagnose, repetitions included */
    bool quiet;                 /* ranks other than 0 count, and do not print */
    dl_text *out;               /* collects instead of printing, for tests; may be NULL */
    uint64_t seen[DL_MAX_SEEN]; /* hashes of the last mistakes */
} dl_diagnostics;

/* Adds a mistake at a place: "FILE:LINE:COL: error: TEXT", the source line, a caret. */
DL_NODISCARD dl_status dl_diagnose(dl_diagnostics *diagnostics, dl_place place, const char *format, ...)
    DL_PRINTF(3, 4);

/* DL_OK when there are no mistakes; otherwise DL_ERR_USAGE, already reported. */
DL_NODISCARD dl_status dl_diagnostics_finish(const dl_diagnostics *diagnostics);

/* Parses a file into *root (a map). Mistakes go to `diagnostics` and the status is DL_OK: ask
 * dl_diagnostics_finish. After one of syntax *root is NULL; after duplicate keys or tags it is the tree
 * without them, so that everything else can be checked in the same go. DL_ERR_USAGE when the file cannot be
 * read. */
DL_NODISCARD dl_status dl_tree_load(const char *path, dl_pool *pool, dl_diagnostics *diagnostics,
                                    dl_node **root);

/* The same from memory; `name` is shown in messages. */
DL_NODISCARD dl_status dl_tree_parse(const char *name, const char *text, size_t n_bytes, dl_pool *pool,
                                     dl_diagnostics *diagnostics, dl_node **root);

/* Applies one "a.b.2.c=VALUE" to the tree: VALUE is YAML; missing maps on the way are made, a scalar on the
 * way becomes a map; a number steps into a list, from 0. Mistakes name the place in the override itself. */
DL_NODISCARD dl_status dl_tree_override(dl_node *root, const char *override, dl_pool *pool,
                                        dl_diagnostics *diagnostics);

/* The child of a map with this key, or NULL. */
dl_node *dl_node_get(const dl_node *map, const char *key);

#endif
