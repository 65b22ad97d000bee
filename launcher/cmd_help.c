/* dltrain help, and what --help prints. */
#include "base/text.h"
#include "launcher/cli.h"
#include "launcher/setup.h"

#include <stdio.h>
#include <string.h>

static dl_status write_out(dl_text *text, dl_status status) {
    if (status == DL_OK && text->size > 0 && fwrite(text->data, 1, text->size, stdout) != text->size) {
        status = dl_error_raise(DL_ERR_IO, __FILE__, __LINE__, __func__, "cannot write to stdout");
    }
    dl_text_free(text);
    return status;
}

static dl_status append_commands(dl_text *out) {
    DL_RETURN_IF_ERROR(dl_text_append(out, "\ncommands\n"));
    for (const dl_command *const *c = dl_commands(); *c != NULL; c++) {
        DL_RETURN_IF_ERROR(dl_text_append(out, "  %-14s  %s\n", (*c)->name, (*c)->doc));
    }
    return DL_OK;
}

static dl_status append_program(dl_text *out) {
    DL_RETURN_IF_ERROR(
        dl_text_append(out, "usage: dltrain [COMMAND] [CONFIG] [KEY.PATH=VALUE ...] [--OPTION ...]\n\n"
                            "Trains neural networks on many processors: one process each, started by "
                            "mpirun.\n"));
    DL_RETURN_IF_ERROR(append_commands(out));
    return dl_text_append(
        out,
        "\n"
        "Without a command it is train; without CONFIG, ./dltrain.yaml or else a built-in example.\n"
        "\n"
        "options of every command; they may stand anywhere, -- ends them\n"
        "  -h, --help      this, or the help of a command\n"
        "  --version       the program's version\n"
        "\n"
        "environment\n"
        "  DLTRAIN_THREADS     threads of each rank; default: its share of the processor cores\n"
        "  DLTRAIN_PLUGIN_DIR  the folder of dltrain_cuda.so; default: beside the program, its libdir\n"
        "  DLTRAIN_LOG         what is told on stderr: error, warn, info or debug; default warn\n"
        "  NO_COLOR            when set and not empty: no colours on a terminal\n"
        "\n"
        "examples\n"
        "  dltrain configs/mnist_cnn.yaml                                train on this machine\n"
        "  mpirun -np 2 dltrain configs/mnist_cnn.yaml train.epochs=1    on two ranks, one key changed\n"
        "  dltrain check configs/mnist_cnn.yaml                          layers and memory, without training\n"
        "\n"
        "more: dltrain help COMMAND | config (all keys of a configuration) | exit (exit codes)\n");
}

static dl_status append_flags(const dl_flag *flags, dl_text *out) {
    if (flags == NULL || flags[0].name == NULL) {
        return DL_OK;
    }
    DL_RETURN_IF_ERROR(dl_text_append(out, "\noptions\n"));
    for (; flags->name != NULL; flags++) {
        char left[64];
        (void)snprintf(left, sizeof left, "--%s%s%s", flags->name, flags->value_name == NULL ? "" : " ",
                       flags->value_name == NULL ? "" : flags->value_name);
        DL_RETURN_IF_ERROR(dl_text_append(out, "  %-20s  %s\n", left, flags->doc));
    }
    return DL_OK;
}

static dl_status append_command(const dl_command *command, dl_text *out) {
    DL_RETURN_IF_ERROR(
        dl_text_append(out, "usage: dltrain %s %s\n\n%s\n", command->name, command->usage, command->doc));
    if (command->help != NULL) {
        DL_RETURN_IF_ERROR(dl_text_append(out, "\n%s\n", command->help));
    }
    DL_RETURN_IF_ERROR(append_flags(dl_command_flags(command), out));
    if (command->takes_overrides) {
        DL_RETURN_IF_ERROR(dl_text_append(out, "\nKEY=VALUE changes a key of the configuration, as in "
                                               "train.epochs=1; see `dltrain help config`.\n"));
    }
    return command->uses_ranks ? dl_text_append(out, "\nRuns on one rank, or on several started by mpirun.\n")
                               : DL_OK;
}

dl_status dl_help_print(const dl_command *command) {
    dl_text text = {0};
    const dl_status status = command == NULL ? append_program(&text) : append_command(command, &text);
    return write_out(&text, status);
}

static dl_status append_config(dl_pool *pool, dl_text *out) {
    const dl_config_kinds kinds = dl_setup_kinds();
    const dl_option *table = NULL;
    DL_RETURN_IF_ERROR(dl_config_table(&kinds, pool, &table));
    DL_RETURN_IF_ERROR(dl_text_append(
        out, "A configuration is a YAML file of these keys. Each can be given on the command line too:\n"
             "train.epochs=3, model.layers.0.conv2d.filters=16 (entries of lists count from 0),\n"
             "train.optimizer='{sgd: {learning_rate: 0.1}}'. Unknown keys are errors.\n\n"));
    return dl_options_reference(table, 0, out);
}

static dl_status print_config(void) {
    dl_text text = {0};
    dl_pool *pool = NULL;
    dl_status status = dl_pool_create(&pool);
    if (status == DL_OK) {
        status = append_config(pool, &text);
        dl_pool_destroy(&pool);
    }
    return write_out(&text, status);
}

static dl_status print_exit_codes(void) {
    static const dl_code codes[] = {
#define DL_STATUS_CODE(name, number, text) name,
        DL_STATUS_LIST(DL_STATUS_CODE)
#undef DL_STATUS_CODE
    };
    dl_text text = {0};
    dl_status status = dl_text_append(&text, "exit codes\n");
    for (size_t i = 0; i < sizeof codes / sizeof codes[0] && status == DL_OK; i++) {
        status = dl_text_append(&text, "  %2d  %s\n", (int)codes[i], dl_code_text(codes[i]));
    }
    if (status == DL_OK) {
        status =
            dl_text_append(&text, "mpirun turns some into its own; RUN/status.json has the program's.\n");
    }
    return write_out(&text, status);
}

static dl_status run(const dl_arguments *arguments) {
    const int n = arguments->n_positional;
    if (n == 0) {
        return dl_help_print(NULL);
    }
    if (n == 1 && strcmp(arguments->positional[0], "config") == 0) {
        return print_config();
    }
    if (n == 1 && strcmp(arguments->positional[0], "exit") == 0) {
        return print_exit_codes();
    }
    int n_words = 0;
    const dl_command *command = dl_cli_find(arguments->positional, n, &n_words);
    if (command != NULL && n_words == n) {
        return dl_help_print(command);
    }
    return dl_cli_unknown_command(arguments->positional, n);
}

const dl_command dl_command_help = {
    .name = "help",
    .usage = "[COMMAND | config | exit]",
    .doc = "explain a command, the keys of a configuration, the exit codes",
    .max_positional = 4,
    .run = run,
};
