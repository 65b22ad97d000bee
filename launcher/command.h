/* A command of the program: one file cmd_NAME.c with a `const dl_command dl_command_NAME`, one row in
 * commands.def. The row makes it known to the parser, to --help and to the tests. */
#ifndef DLTRAIN_LAUNCHER_COMMAND_H
#define DLTRAIN_LAUNCHER_COMMAND_H

#include "base/status.h"

#include <stdint.h>

/* An option "--name". value_name NULL: it takes no value; otherwise "--name VALUE" or "--name=VALUE". One
 * whose value_name ends in "..." may be given several times (dl_arguments_all). */
typedef struct dl_flag {
    const char *name; /* without the dashes */
    const char *value_name;
    const char *doc;
} dl_flag;

enum { DL_MAX_FLAGS = 16, DL_MAX_ARGUMENTS = 256, DL_MAX_REPEATS = 32 };

typedef struct dl_command dl_command;

/* The checked command line of one command. Strings point into argv. */
typedef struct dl_arguments {
    const dl_command *command;
    int n_positional;
    const char *positional[DL_MAX_ARGUMENTS];
    int n_overrides; /* KEY.PATH=VALUE */
    const char *override[DL_MAX_ARGUMENTS];
    const char *flag_value[DL_MAX_FLAGS]; /* by the command's flag number; NULL: not given, "" for flags
                                             without value; the first of several */
    int n_repeats;                        /* further values of flags given several times */
    struct {
        int flag;
        const char *value;
    } repeat[DL_MAX_REPEATS];
} dl_arguments;

struct dl_command {
    const char *name;     /* one or more words: "train", "data import" */
    const char *usage;    /* what follows the name: "CONFIG [KEY=VALUE ...] [--np N]" */
    const char *doc;      /* one line */
    const char *help;     /* further paragraphs of `dltrain help NAME`; may be NULL */
    const dl_flag *flags; /* ended by {NULL, NULL, NULL} */
    /* Instead of `flags` where some of them come from tables: the same array at every call. May be NULL. */
    const dl_flag *(*make_flags)(void);
    bool takes_overrides;
    int min_positional, max_positional;
    bool uses_ranks; /* MPI is started when launched by mpirun; other commands refuse to run on several ranks
                      */
    /* Runs it. The status becomes the exit code; messages not yet reported are printed by main. */
    dl_status (*run)(const dl_arguments *arguments);
};

/* The flags of a command, ended by {NULL, NULL, NULL}; NULL: none. */
const dl_flag *dl_command_flags(const dl_command *command);

/* Value of a flag of this command by name: NULL when not given. */
const char *dl_arguments_flag(const dl_arguments *arguments, const char *name);

/* All values of a flag that may be given several times, in order, into out[DL_MAX_REPEATS + 1]; returns how
 * many. */
int dl_arguments_all(const dl_arguments *arguments, const char *name, const char **out);

/* Integer value of a flag, or `fallback` when not given. DL_ERR_USAGE names flag, value and range. */
DL_NODISCARD dl_status dl_arguments_int(const dl_arguments *arguments, const char *name, int64_t min,
                                        int64_t max, int64_t fallback, int64_t *out);

/* All commands, NULL-terminated, in the order of commands.def. */
const dl_command *const *dl_commands(void);

#endif
