#include "program/choose.h"

#include "program/compile.h"

struct dl_choices {
    int n;
};

dl_status dl_choose_layouts(dl_compile *c) {
    (void)c;
    return DL_OK;
}

void dl_choices_destroy(dl_choices **choices) {
    if (*choices != NULL) {
        dl_free(choices);
    }
}
