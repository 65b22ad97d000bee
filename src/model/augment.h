/* Augmentation: random changes of training images, as instructions before they are normalized. What chance
 * does to a sample is a pure function of (seed, place in the list, step, sample): no generator has a state,
 * and the number of ranks does not matter. Evaluation leaves images as they are. */
#ifndef DLTRAIN_MODEL_AUGMENT_H
#define DLTRAIN_MODEL_AUGMENT_H

#include "config/option.h"
#include "model/model.h"

typedef struct dl_augmentation {
    dl_variant_kind variant; /* name, doc, options, bytes of the option struct */
    dl_op_kind kind;         /* slots x, ids, step, y */
    void (*describe)(const void *options, dl_augment_attr *attr);
} dl_augmentation;

/* All kinds, for the option table; NULL-terminated. */
const dl_variant_kind *const *dl_augmentation_variants(void);

/* Appends the augmentations of the list `augment` (may be NULL) behind the image value *x, which becomes the
 * last one's output. Mistakes go to `diagnostics`. */
DL_NODISCARD dl_status dl_model_augment(dl_model *model, const dl_node *augment, uint64_t seed,
                                        dl_diagnostics *diagnostics, int *x);

#endif
