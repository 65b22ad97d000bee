/* The program: reads the command line, runs the command, returns its status as the exit code. */
#define _GNU_SOURCE
#include "base/log.h"
#include "launcher/bootstrap.h"
#include "launcher/cli.h"
#include "launcher/waiting.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Started without stdin, stdout or stderr, the first files opened would be in their place, and hold what is
 * meant for them. What takes it here can be read where one writes and the other way round: that fails, as
 * with a stream that is closed. */
static dl_status keep_streams(void) {
    static const int modes[] = {O_WRONLY, O_RDONLY, O_RDONLY};
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        DL_RETURN_ERROR_IF(fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) < 0, DL_ERR_IO,
                           "cannot open /dev/null: %s", strerror(errno));
    }
    return DL_OK;
}

/* What goes to stdout without starting MPI comes from one rank. */
static dl_status print_once(const dl_cli *cli) {
    if (dl_comm_mpi_launched_rank() > 0) {
        return DL_OK;
    }
    if (cli->wants_version) {
        DL_RETURN_ERROR_IF(puts("dltrain " DLTRAIN_VERSION) < 0, DL_ERR_IO, "cannot write to stdout");
        return DL_OK;
    }
    return dl_help_print(cli->arguments.command);
}

static dl_status run(int argc, const char *const *argv) {
    dl_cli cli;
    DL_RETURN_IF_ERROR(keep_streams());
    DL_RETURN_IF_ERROR(dl_log_init());
    DL_RETURN_IF_ERROR(dl_cli_parse(argc, argv, &cli));
    if (cli.wants_version || cli.wants_help) {
        return print_once(&cli);
    }
    const dl_command *command = cli.arguments.command;
    DL_RETURN_ERROR_IF(!command->uses_ranks && dl_comm_mpi_launched_size() > 1, DL_ERR_USAGE,
                       "%s runs in one process; start it without mpirun", command->name);
    return command->run(&cli.arguments);
}

int main(int argc, char **argv) {
    dl_waiting_policy_apply(argv);
    dl_status status = run(argc, (const char *const *)argv);
    if (fflush(stdout) != 0 && status == DL_OK) {
        status = dl_error_raise(DL_ERR_IO, __FILE__, __LINE__, __func__, "cannot write to stdout: %s",
                                strerror(errno));
    }
    return dl_runtime_end(status);
}
