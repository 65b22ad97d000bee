#include "model/augment.h"

#include "base/rng.h"
#include "model/layer.h"

#define DL_AUGMENTATION(name) extern const dl_augmentation dl_augmentation_##name;
#include "model/augmentations.def"
#undef DL_AUGMENTATION

static const dl_augmentation *const kinds[] = {
#define DL_AUGMENTATION(name) &dl_augmentation_##name,
#include "model/augmentations.def"
#undef DL_AUGMENTATION
    NULL};

const dl_variant_kind *const *dl_augmentation_variants(void) {
    static const dl_variant_kind *const variants[] = {
#define DL_AUGMENTATION(name) &dl_augmentation_##name.variant,
#include "model/augmentations.def"
#undef DL_AUGMENTATION
        NULL};
    return variants;
}

static const dl_augmentation *kind_of(const dl_variant_kind *variant) {
    for (int i = 0; kinds[i] != NULL; i++) {
        if (&kinds[i]->variant == variant) {
            return kinds[i];
        }
    }
    return NULL;
}

/* One augmentation, number `number` of the list: *x goes in, its output comes out. */
static dl_status append(dl_model *model, const dl_augmentation *kind, const void *options, uint64_t seed,
                        int number, int *x) {
    dl_op_attr attr = {.u.augment = {.seed = seed, .purpose = DL_RNG_AUGMENT + ((uint32_t)number << 8)}};
    dl_layer_build build = {.model = model, .layer = -1};
    dl_value value = model->value[*x];
    dl_model_op *op = NULL;
    int y = -1;
    kind->describe(options, &attr.u.augment);
    value.kind = DL_VALUE_COMPUTED;
    value.name = kind->variant.name;
    DL_RETURN_IF_ERROR(dl_model_add_value(model, &value, &y));
    const int slots[] = {*x, model->ids, model->step, y};
    DL_RETURN_IF_ERROR(dl_layer_op(&build, kind->kind, &attr, slots, 4, &op));
    op->identity_of = *x;
    *x = y;
    return DL_OK;
}

dl_status dl_model_augment(dl_model *model, const dl_node *augment, uint64_t seed,
                           dl_diagnostics *diagnostics, int *x) {
    for (int64_t i = 0; augment != NULL && augment->kind == DL_NODE_LIST && i < augment->n_children; i++) {
        dl_variant variant = {0};
        DL_RETURN_IF_ERROR(dl_variant_read(dl_augmentation_variants(), "augmentation", augment->child[i],
                                           &variant, model->pool, diagnostics));
        const dl_augmentation *kind = kind_of(variant.kind);
        if (kind == NULL) {
            continue;
        }
        if (model->value[*x].shape.n_dims != 3) {
            char text[DL_SHAPE_TEXT_BYTES];
            DL_RETURN_IF_ERROR(
                dl_diagnose(diagnostics, variant.place,
                            "%s changes images [height, width, channels], but the samples are %s",
                            variant.kind->name, dl_shape_text(&model->value[*x].shape, text)));
            continue;
        }
        DL_RETURN_IF_ERROR(append(model, kind, variant.values, seed, (int)i, x));
    }
    return DL_OK;
}
