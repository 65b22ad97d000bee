/* Inside src/config: what a type of option is called, and how numbers are written. */
#ifndef DLTRAIN_CONFIG_OPTION_TYPE_H
#define DLTRAIN_CONFIG_OPTION_TYPE_H

#include "config/option.h"

enum { DL_NUMBER_BYTES = 40, DL_VALUE_TEXT_BYTES = 100 };

/* Appends what the option takes, as in "must be ...": "a whole number from 1 to 16, or auto". */
DL_NODISCARD dl_status dl_option_type_text(const dl_option *option, dl_text *out);

/* The shortest text that reads back as the same number; returns out (DL_NUMBER_BYTES). */
const char *dl_double_text(double number, char *out);

/* Number of entries of a NULL-terminated table. */
int dl_count_words(const char *const *words);
int dl_count_variants(const dl_variant_kind *const *kinds);

/* Appends "a, b or c". */
DL_NODISCARD dl_status dl_append_words(const char *const *words, const char *last, dl_text *out);

/* The index of a word in a table, -1 when it is not there. */
int dl_find_word(const char *const *words, const char *word);

/* The nearest of the names, or one that begins like the word; NULL when there is none. */
const char *dl_suggest(const char *word, const char *const *names);

/* The names of a variant table as words, in the pool. */
DL_NODISCARD dl_status dl_variant_names(const dl_variant_kind *const *kinds, dl_pool *pool,
                                        const char *const **out);

/* What reading a value needs. */
struct dl_option_reader {
    const dl_option *option;
    dl_pool *pool;
    dl_diagnostics *diagnostics;
};

/* Reads a value of the option's type into the field, or reports why it does not fit. */
DL_NODISCARD dl_status dl_option_read_value(const struct dl_option_reader *reader, dl_node *node,
                                            void *field);

/* "key:" without a value, null, or ~. */
bool dl_node_is_nothing(const dl_node *node);

/* The value as it is called in messages: "'ten'", "a list", "nothing"; `out` has DL_VALUE_TEXT_BYTES. */
const char *dl_node_value_text(const dl_node *node, char *out);

#endif
