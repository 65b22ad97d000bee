/* The tables of makers and importers, made from their .def files. */
#include "datasets/dataset.h"

#include <string.h>

#define DL_MAKER(name) extern const dl_maker dl_maker_##name;
#include "datasets/makers.def"
#undef DL_MAKER

#define DL_IMPORTER(name) extern const dl_importer dl_importer_##name;
#include "datasets/importers.def"
#undef DL_IMPORTER

const dl_maker *const *dl_makers(void) {
    static const dl_maker *const all[] = {
#define DL_MAKER(name) &dl_maker_##name,
#include "datasets/makers.def"
#undef DL_MAKER
        NULL};
    return all;
}

const dl_maker *dl_maker_find(const char *name) {
    const dl_maker *const *each = dl_makers();
    while (*each != NULL && strcmp((*each)->name, name) != 0) {
        each++;
    }
    return *each;
}

const dl_importer *const *dl_importers(void) {
    static const dl_importer *const all[] = {
#define DL_IMPORTER(name) &dl_importer_##name,
#include "datasets/importers.def"
#undef DL_IMPORTER
        NULL};
    return all;
}

const dl_importer *dl_importer_find(const char *name) {
    const dl_importer *const *each = dl_importers();
    while (*each != NULL && strcmp((*each)->name, name) != 0) {
        each++;
    }
    return *each;
}
