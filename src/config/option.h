/* Option tables: one row per key gives type, range, default, one line of documentation. A table reads a map
 * of the YAML tree into a struct (reporting every mistake), prints a struct back as YAML, and prints the
 * reference. Layers, optimizers, schedules bring tables of their own. */
#ifndef DLTRAIN_CONFIG_OPTION_H
#define DLTRAIN_CONFIG_OPTION_H

#include "config/node.h"

#include <stddef.h>

typedef enum dl_option_type {
    DL_TYPE_BOOL,    /* bool: true, false */
    DL_TYPE_INT,     /* int64_t, or a word of `words` stored as DL_WORD(i) */
    DL_TYPE_FLOAT,   /* double */
    DL_TYPE_TEXT,    /* const char *, "" when empty */
    DL_TYPE_CHOICE,  /* int: index into `words` */
    DL_TYPE_INTS,    /* dl_int_list: a list, or one number standing for a list of one, or a word */
    DL_TYPE_FLOATS,  /* dl_float_list */
    DL_TYPE_WORDS,   /* dl_int_list of indices into `words`: a list of words */
    DL_TYPE_GROUP,   /* a struct at `offset` with its own table `group` */
    DL_TYPE_VARIANT, /* dl_variant: {name: {options}} or just name, from `variants` */
    DL_TYPE_NODE,    /* const dl_node *: read by somebody else (the model's layers). NULL for a default of "".
                      * With    `variants` it is a list of tagged values, whose mistakes are reported here
                      * already
                      */
} dl_option_type;

enum { DL_MAX_LIST = 16 };

/* How a DL_TYPE_INT holds the i-th word of `words` ("auto"): a number no range allows. */
#define DL_WORD(i) (INT64_MIN + (i))

typedef struct dl_int_list {
    int n;
    int64_t value[DL_MAX_LIST];
    int word; /* index of the word given instead of numbers, -1: none */
} dl_int_list;

typedef struct dl_float_list {
    int n;
    double value[DL_MAX_LIST];
} dl_float_list;

typedef struct dl_option {
    const char *name;
    dl_option_type type;
    size_t offset; /* of the field in the struct that the table fills */
    const char
        *fallback; /* default, as YAML text; NULL: required. Of a group: NULL or "", which is all defaults */
    const char *doc;               /* one line */
    double min, max;               /* of numbers (each of a list), inclusive; both 0: no range */
    int min_items, max_items;      /* of lists; 0, 0: any number up to DL_MAX_LIST */
    const char *const *words;      /* NULL-terminated */
    const char *const *item_words; /* DL_TYPE_INTS: words that the first item may be, stored as DL_WORD(i) */
    const struct dl_option *group; /* DL_TYPE_GROUP */
    const struct dl_variant_kind *const *variants; /* DL_TYPE_VARIANT, DL_TYPE_NODE; NULL-terminated */
    const char *entry; /* DL_TYPE_NODE: what one of the variants is called in messages: "layer" */
} dl_option;

/* Ends a table. */
#define DL_OPTION_END                                                                                        \
    { .name = NULL }

/* One name of a tagged choice: a layer kind, an optimizer, a schedule. */
typedef struct dl_variant_kind {
    const char *name;
    const char *doc;          /* one line for the reference */
    const dl_option *options; /* ended by DL_OPTION_END */
    size_t n_bytes;           /* of the struct the options fill */
} dl_variant_kind;

typedef struct dl_variant {
    const dl_variant_kind *kind;
    void *values; /* kind->n_bytes, owned by the pool */
    dl_place place;
} dl_variant;

/* Fills `out` from `map` (NULL: all defaults). Unknown keys, wrong types, values out of range, missing
 * required keys are added to `diagnostics`; `out` is filled as far as possible. Text and variants live in
 * `pool`. `place` is where a missing required key is reported when the map has no place. */
DL_NODISCARD dl_status dl_options_read(const dl_option *table, const dl_node *map, dl_place place, void *out,
                                       dl_pool *pool, dl_diagnostics *diagnostics);

/* Reads one tagged value: a map with exactly one key out of `kinds`, or a bare name. After a mistake, in its
 * options too, out->kind is NULL. */
DL_NODISCARD dl_status dl_variant_read(const dl_variant_kind *const *kinds, const char *what,
                                       const dl_node *node, dl_variant *out, dl_pool *pool,
                                       dl_diagnostics *diagnostics);

/* Appends the struct as YAML, `indent` blanks deep, one key a line; numbers are printed so that they read
 * back equal. DL_TYPE_NODE entries are printed from their node. */
DL_NODISCARD dl_status dl_options_print(const dl_option *table, const void *values, int indent, dl_text *out);

/* Appends a reference: name, type, range, default, documentation; nested tables indented. */
DL_NODISCARD dl_status dl_options_reference(const dl_option *table, int indent, dl_text *out);

#endif
