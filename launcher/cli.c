#define _GNU_SOURCE
#include "launcher/cli.h"

#include "base/text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { NAME_BYTES = 64, MAX_COMMANDS = 64, MAX_NAME_WORDS = 3 };

/* One "--name" or "--name=VALUE" of the command line. */
typedef struct option_word {
    char name[NAME_BYTES];
    const char *value; /* after '=', NULL without one */
} option_word;

static bool is_option(const char *word) {
    return word[0] == '-' && word[1] != '\0';
}

static bool is_help(const char *word) {
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* False for something that cannot be a name. */
static bool split_option(const char *word, option_word *out) {
    const char *name = word[1] == '-' ? word + 2 : "";
    const size_t n = strcspn(name, "=");
    if (n == 0 || n >= sizeof out->name) {
        return false;
    }
    memcpy(out->name, name, n);
    out->name[n] = '\0';
    out->value = name[n] == '=' ? name + n + 1 : NULL;
    return true;
}

static int find_flag(const dl_command *command, const char *name) {
    const dl_flag *flags = dl_command_flags(command);
    for (int i = 0; flags != NULL && flags[i].name != NULL; i++) {
        if (strcmp(flags[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

/* Whether an option's value is the next word, before the command is known: a name means the same in all
 * commands. */
static bool takes_next_word(const char *word) {
    option_word option;
    if (!split_option(word, &option) || option.value != NULL) {
        return false;
    }
    for (const dl_command *const *c = dl_commands(); *c != NULL; c++) {
        const int i = find_flag(*c, option.name);
        if (i >= 0 && dl_command_flags(*c)[i].value_name != NULL) {
            return true;
        }
    }
    return false;
}

/* "train.epochs=3": a path of keys, then '='. */
static bool is_override(const char *word) {
    const char *equals = strchr(word, '=');
    if (equals == NULL || !(isalpha((unsigned char)word[0]) || word[0] == '_')) {
        return false;
    }
    for (const char *c = word; c < equals; c++) {
        if (!isalnum((unsigned char)*c) && strchr("_.-", *c) == NULL) {
            return false;
        }
    }
    return true;
}

static bool looks_like_config(const char *word) {
    struct stat info;
    return strpbrk(word, "./") != NULL || (stat(word, &info) == 0 && !S_ISDIR(info.st_mode));
}

/* Words of a command's name when words[0..n-1] begin with it, else 0. */
static int match_name(const char *name, const char *const *words, int n) {
    for (int i = 0; i < n; i++) {
        const size_t length = strlen(words[i]);
        if (strncmp(name, words[i], length) != 0) {
            return 0;
        }
        if (name[length] == '\0') {
            return i + 1;
        }
        if (name[length] != ' ') {
            return 0;
        }
        name += length + 1;
    }
    return 0;
}

const dl_command *dl_cli_find(const char *const *words, int n, int *n_words) {
    const dl_command *best = NULL;
    *n_words = 0;
    for (const dl_command *const *c = dl_commands(); *c != NULL; c++) {
        const int matched = match_name((*c)->name, words, n);
        if (matched > *n_words) {
            best = *c;
            *n_words = matched;
        }
    }
    return best;
}

/* Whether some command's name begins with this word and a blank; lists those commands. */
static bool list_family(const char *word, char *out, size_t n_bytes) {
    const size_t n = strlen(word);
    size_t used = 0;
    out[0] = '\0';
    for (const dl_command *const *c = dl_commands(); *c != NULL; c++) {
        if (strncmp((*c)->name, word, n) == 0 && (*c)->name[n] == ' ' && used < n_bytes) {
            used += (size_t)snprintf(out + used, n_bytes - used, "%s%s", used == 0 ? "" : ", ", (*c)->name);
        }
    }
    return used > 0;
}

dl_status dl_cli_unknown_command(const char *const *words, int n) {
    char typed[NAME_BYTES], family[512];
    const char *names[MAX_COMMANDS];
    size_t n_names = 0;
    for (const dl_command *const *c = dl_commands(); *c != NULL && n_names < MAX_COMMANDS; c++) {
        names[n_names++] = (*c)->name;
    }
    const bool is_family = list_family(words[0], family, sizeof family);
    DL_RETURN_ERROR_IF(is_family && n == 1, DL_ERR_USAGE, "%s is several commands: %s", words[0], family);
    const char *nearest = NULL;
    for (int used = n < MAX_NAME_WORDS ? n : MAX_NAME_WORDS; used > 0 && nearest == NULL; used--) {
        (void)snprintf(typed, sizeof typed, "%s%s%s%s%s", words[0], used > 1 ? " " : "",
                       used > 1 ? words[1] : "", used > 2 ? " " : "", used > 2 ? words[2] : "");
        nearest = dl_nearest_name(typed, names, n_names);
    }
    DL_RETURN_ERROR_IF(nearest != NULL && strcmp(nearest, typed) == 0, DL_ERR_USAGE,
                       "'%.60s' is a command, nothing is known of more words behind it", typed);
    DL_RETURN_ERROR_IF(nearest != NULL, DL_ERR_USAGE, "unknown command '%.60s'; did you mean '%s'?", typed,
                       nearest);
    DL_RETURN_ERROR_IF(is_family, DL_ERR_USAGE, "unknown command '%.30s %.30s'; known ones: %s", words[0],
                       words[1], family);
    DL_RETURN_ERROR(DL_ERR_USAGE,
                    "'%.200s' is neither a command nor a file; `dltrain --help` lists the commands",
                    words[0]);
}

/* The words that are no options, up to DL_MAX_ARGUMENTS; *end is where "--" stands, or argc. */
static int collect_words(int argc, const char *const *argv, const char **words, int *end) {
    int n = 0;
    int i = 1;
    for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (!is_option(argv[i])) {
            words[n < DL_MAX_ARGUMENTS ? n++ : n - 1] = argv[i];
        } else if (takes_next_word(argv[i])) {
            i++;
        }
    }
    *end = i < argc ? i : argc;
    return n;
}

/* The command asked for and how many of the words are its name. */
static dl_status choose_command(const char *const *words, int n, const dl_command **command, int *n_words) {
    static const char *const train[] = {"train"};
    *command = dl_cli_find(words, n, n_words);
    if (*command != NULL) {
        return DL_OK;
    }
    int ignored = 0;
    if (n == 0 || is_override(words[0]) || looks_like_config(words[0])) {
        *command = dl_cli_find(train, 1, &ignored);
    }
    return *command != NULL ? DL_OK : n == 0 ? DL_OK : dl_cli_unknown_command(words, n);
}

static dl_status unknown_option(const dl_command *command, const char *word) {
    const char *names[DL_MAX_FLAGS + 2] = {"help", "version"};
    size_t n = 2;
    const dl_flag *flags = dl_command_flags(command);
    for (int i = 0; flags != NULL && flags[i].name != NULL && i < DL_MAX_FLAGS; i++) {
        names[n++] = flags[i].name;
    }
    option_word option = {.name = ""};
    const char *nearest = split_option(word, &option) ? dl_nearest_name(option.name, names, n) : NULL;
    DL_RETURN_ERROR_IF(nearest != NULL, DL_ERR_USAGE, "%s has no option %.60s; did you mean --%s?",
                       command->name, word, nearest);
    DL_RETURN_ERROR(DL_ERR_USAGE, "%s has no option %.60s; see `dltrain help %s`", command->name, word,
                    command->name);
}

static dl_status repeat_option(const char *name, int flag, const char *value_name, const char *value,
                               dl_arguments *out) {
    const size_t n = value_name != NULL ? strlen(value_name) : 0;
    const bool several = n > 3 && strcmp(value_name + n - 3, "...") == 0;
    DL_RETURN_ERROR_IF(!several, DL_ERR_USAGE, "--%s is given twice", name);
    DL_RETURN_ERROR_IF(out->n_repeats == DL_MAX_REPEATS, DL_ERR_USAGE, "--%s is given too often", name);
    out->repeat[out->n_repeats].flag = flag;
    out->repeat[out->n_repeats++].value = value;
    return DL_OK;
}

/* Reads argv[*i] as an option; moves *i when its value is the next word. */
static dl_status read_option(int argc, const char *const *argv, int *i, dl_arguments *out) {
    const char *word = argv[*i];
    option_word option;
    const int flag = split_option(word, &option) ? find_flag(out->command, option.name) : -1;
    if (flag < 0) {
        return unknown_option(out->command, word);
    }
    const char *value_name = dl_command_flags(out->command)[flag].value_name;
    DL_RETURN_ERROR_IF(value_name == NULL && option.value != NULL, DL_ERR_USAGE, "--%s takes no value",
                       option.name);
    if (value_name != NULL && option.value == NULL) {
        const bool there = *i + 1 < argc && strncmp(argv[*i + 1], "--", 2) != 0;
        DL_RETURN_ERROR_IF(!there, DL_ERR_USAGE, "--%s needs a value: --%s %s", option.name, option.name,
                           value_name);
        option.value = argv[++*i];
    }
    if (out->flag_value[flag] != NULL) {
        return repeat_option(option.name, flag, value_name, option.value, out);
    }
    out->flag_value[flag] = option.value == NULL ? "" : option.value;
    return DL_OK;
}

static dl_status add_word(const char *word, bool may_override, dl_arguments *out) {
    DL_RETURN_ERROR_IF(out->n_overrides + out->n_positional >= DL_MAX_ARGUMENTS, DL_ERR_USAGE,
                       "more than %d words on the command line", DL_MAX_ARGUMENTS);
    if (may_override && out->command->takes_overrides && is_override(word)) {
        out->override[out->n_overrides++] = word;
    } else {
        out->positional[out->n_positional++] = word;
    }
    return DL_OK;
}

static dl_status read_words(int argc, const char *const *argv, int end, int n_name_words, dl_cli *out) {
    for (int i = 1; i < argc; i++) {
        if (i == end) {
            continue;
        }
        if (i < end && is_option(argv[i])) {
            if (!is_help(argv[i]) && strcmp(argv[i], "--version") != 0) {
                DL_RETURN_IF_ERROR(read_option(end, argv, &i, &out->arguments));
            }
        } else if (n_name_words > 0) {
            n_name_words--;
        } else {
            DL_RETURN_IF_ERROR(add_word(argv[i], i < end, &out->arguments));
        }
    }
    return DL_OK;
}

static dl_status check_count(const dl_arguments *arguments) {
    const dl_command *command = arguments->command;
    const int n = arguments->n_positional;
    DL_RETURN_ERROR_IF(n < command->min_positional, DL_ERR_USAGE,
                       "something is missing; usage: dltrain %s %s", command->name, command->usage);
    DL_RETURN_ERROR_IF(n > command->max_positional, DL_ERR_USAGE,
                       "'%.200s' is too much; usage: dltrain %s %s",
                       arguments->positional[command->max_positional], command->name, command->usage);
    return DL_OK;
}

dl_status dl_cli_parse(int argc, const char *const *argv, dl_cli *out) {
    *out = (dl_cli){0};
    const char *words[DL_MAX_ARGUMENTS];
    int end = argc, n_name_words = 0;
    const int n = collect_words(argc, argv, words, &end);
    for (int i = 1; i < end; i++) {
        out->wants_help = out->wants_help || is_help(argv[i]);
        out->wants_version = out->wants_version || strcmp(argv[i], "--version") == 0;
    }
    if (out->wants_version || (out->wants_help && n == 0)) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(choose_command(words, n, &out->arguments.command, &n_name_words));
    if (out->arguments.command == NULL) {
        out->wants_help = true;
    }
    if (out->wants_help) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(read_words(argc, argv, end, n_name_words, out));
    return check_count(&out->arguments);
}
