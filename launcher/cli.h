/* The command line: which command, which options, which words. */
#ifndef DLTRAIN_LAUNCHER_CLI_H
#define DLTRAIN_LAUNCHER_CLI_H

#include "launcher/command.h"

/* What a command line asks for. */
typedef struct dl_cli {
    bool wants_help;    /* --help or -h: of arguments.command, or of the program when that is NULL */
    bool wants_version; /* --version */
    dl_arguments arguments;
} dl_cli;

/* Reads argv. Options may stand anywhere, "--" ends them; no command, or a word that looks like a
 * configuration, means train. DL_ERR_USAGE for unknown commands and options (with the nearest name) and for
 * missing or superfluous words. */
DL_NODISCARD dl_status dl_cli_parse(int argc, const char *const *argv, dl_cli *out);

/* The command whose name is the longest run of the first words, NULL when there is none; *n_words is its
 * length. */
const dl_command *dl_cli_find(const char *const *words, int n, int *n_words);

/* Fails with DL_ERR_USAGE, naming the nearest command. */
DL_NODISCARD dl_status dl_cli_unknown_command(const char *const *words, int n);

/* Prints the help of a command, or of the program (NULL), to stdout. */
DL_NODISCARD dl_status dl_help_print(const dl_command *command);

#endif
