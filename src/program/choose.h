/* Layouts and algorithms: chosen once, on the full training program, followed by the others. */
#ifndef DLTRAIN_PROGRAM_CHOOSE_H
#define DLTRAIN_PROGRAM_CHOOSE_H

#include "program/program.h"

void dl_choices_destroy(dl_choices **choices);

#endif
