/* Inside src/config: parsing a part of a source, and the builder that turns parser events into a tree. */
#ifndef DLTRAIN_CONFIG_PARSE_H
#define DLTRAIN_CONFIG_PARSE_H

#include "base/text.h"
#include "config/node.h"

enum {
    DL_TREE_MAX_BYTES = 1 << 20,
    DL_TREE_MAX_DEPTH = 64,
    DL_TREE_MAX_NODES = 100000,      /* of one text, so that nothing below grows without bound */
    DL_TREE_MAX_ALIAS_NODES = 10000, /* copied by aliases */
};

/* Parses the bytes of `source` from `first` on; the root may be of any kind. Places are those in the whole
 * source, which must outlive the pool's users. *root is NULL after a mistake of syntax, and for a text
 * without a value. */
DL_NODISCARD dl_status dl_tree_parse_part(const dl_source *source, size_t first, dl_pool *pool,
                                          dl_diagnostics *diagnostics, dl_node **root);

/* The default of an option, given as YAML text, as a node without a place. */
DL_NODISCARD dl_status dl_tree_parse_default(const char *text, dl_pool *pool, dl_node **out);

/* A new node in the pool. */
DL_NODISCARD dl_status dl_node_create(dl_pool *pool, dl_node_kind kind, dl_place place, dl_node **out);

/* Appends to a list or a map (then child->key is set). */
DL_NODISCARD dl_status dl_node_append(dl_pool *pool, dl_node *parent, dl_node *child);

/* A copy of a node with all below it. */
DL_NODISCARD dl_status dl_node_copy(dl_pool *pool, const dl_node *node, dl_node **out);

/* A copy of part of a text, terminated, owned by the pool. */
DL_NODISCARD dl_status dl_pool_copy(dl_pool *pool, const char *text, size_t n_bytes, const char **out);

/* Checks UTF-8, control characters, directives and very long tags from byte `first` on; a mistake goes to
 * `diagnostics` and *ok is false.
 */
DL_NODISCARD dl_status dl_source_check(const dl_source *source, size_t first, dl_diagnostics *diagnostics,
                                       bool *ok);

/* The line and column of a byte, and the byte of a line and column. */
dl_place dl_source_place(const dl_source *source, size_t byte);
size_t dl_source_byte(dl_place place);

typedef struct dl_tree_builder dl_tree_builder;

DL_NODISCARD dl_status dl_tree_builder_create(dl_pool *pool, dl_diagnostics *diagnostics,
                                              dl_tree_builder **out);

/* The events of a parser, in order. After a mistake that ends the parse dl_tree_builder_stopped() is true.
 * `anchor` is NULL or the name that aliases use; it must live in the pool. */
DL_NODISCARD dl_status dl_tree_builder_begin(dl_tree_builder *builder, dl_node_kind kind, dl_place place,
                                             const char *anchor);
DL_NODISCARD dl_status dl_tree_builder_end(dl_tree_builder *builder);
DL_NODISCARD dl_status dl_tree_builder_scalar(dl_tree_builder *builder, const char *text, bool quoted,
                                              dl_place place, const char *anchor);
DL_NODISCARD dl_status dl_tree_builder_alias(dl_tree_builder *builder, const char *anchor, dl_place place);

bool dl_tree_builder_stopped(const dl_tree_builder *builder);

/* Number of open lists and maps, and the place of one of them, the innermost being the last. */
int dl_tree_builder_depth(const dl_tree_builder *builder);
dl_place dl_tree_builder_open_place(const dl_tree_builder *builder, int level);

/* Where an empty value stands that the parser gives no place for: the key it belongs to. */
dl_place dl_tree_builder_last_place(const dl_tree_builder *builder);

/* The finished tree; NULL when there was no value. */
dl_node *dl_tree_builder_root(const dl_tree_builder *builder);

#endif
