#include "launcher/command.h"

#include "base/text.h"

#include <inttypes.h>
#include <string.h>

#define DL_COMMAND(identifier) extern const dl_command dl_command_##identifier;
#include "launcher/commands.def"
#undef DL_COMMAND

const dl_command *const *dl_commands(void) {
    static const dl_command *const commands[] = {
#define DL_COMMAND(identifier) &dl_command_##identifier,
#include "launcher/commands.def"
#undef DL_COMMAND
        NULL};
    return commands;
}

const dl_flag *dl_command_flags(const dl_command *command) {
    return command->make_flags != NULL ? command->make_flags() : command->flags;
}

/* -1: there is no such flag. */
static int number_of(const dl_arguments *arguments, const char *name) {
    const dl_flag *flags = dl_command_flags(arguments->command);
    for (int i = 0; flags != NULL && flags[i].name != NULL; i++) {
        if (strcmp(flags[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

const char *dl_arguments_flag(const dl_arguments *arguments, const char *name) {
    const int flag = number_of(arguments, name);
    return flag >= 0 ? arguments->flag_value[flag] : NULL;
}

int dl_arguments_all(const dl_arguments *arguments, const char *name, const char **out) {
    const int flag = number_of(arguments, name);
    int n = 0;
    if (flag >= 0 && arguments->flag_value[flag] != NULL) {
        out[n++] = arguments->flag_value[flag];
    }
    for (int i = 0; i < arguments->n_repeats; i++) {
        if (arguments->repeat[i].flag == flag) {
            out[n++] = arguments->repeat[i].value;
        }
    }
    return n;
}

dl_status dl_arguments_int(const dl_arguments *arguments, const char *name, int64_t min, int64_t max,
                           int64_t fallback, int64_t *out) {
    const char *text = dl_arguments_flag(arguments, name);
    int64_t value = fallback;
    DL_RETURN_ERROR_IF(text != NULL && (!dl_parse_int64(text, &value) || value < min || value > max),
                       DL_ERR_USAGE,
                       "--%s must be a whole number from %" PRId64 " to %" PRId64 ", but it is '%.60s'", name,
                       min, max, text);
    *out = value;
    return DL_OK;
}
