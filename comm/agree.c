/* Agreement on outcomes, on top of the table's control plane. */
#include "base/digest.h"
#include "base/mem.h"
#include "comm/comm.h"

#include <string.h>

/* What every rank tells first: enough to see whether all failed alike. */
typedef struct outcome {
    int32_t code;
    char digest[DL_DIGEST_TEXT_BYTES]; /* of the message */
} outcome;

/* The lowest failing rank, or -1; *alike: all ranks failed, with the same code and message. */
static int lowest_failure(const outcome *outcomes, int size, bool *alike) {
    int lowest = -1;
    *alike = true;
    for (int rank = size - 1; rank >= 0; rank--) {
        if (outcomes[rank].code != DL_OK) {
            lowest = rank;
        }
        if (outcomes[rank].code != outcomes[0].code ||
            strcmp(outcomes[rank].digest, outcomes[0].digest) != 0) {
            *alike = false;
        }
    }
    return lowest;
}

/* Makes the record of rank `rank` everybody's. Frames hold addresses of that process's texts: they stay
 * there. Returns the agreed code, or the code of a failing broadcast. */
static dl_status share_record(dl_comm *comm, int rank) {
    dl_error error;
    dl_error_take(&error);
    struct {
        int32_t code, reported;
        char message[DL_ERROR_MESSAGE_BYTES];
    } record = {.code = (int32_t)error.code, .reported = error.reported};
    memcpy(record.message, error.message, sizeof record.message);
    DL_RETURN_IF_ERROR(comm->functions->broadcast(comm, &record, sizeof record, rank));
    if (comm->rank != rank) {
        error = (dl_error){.code = (dl_code)record.code, .reported = record.reported != 0};
        memcpy(error.message, record.message, sizeof error.message);
        error.message[sizeof error.message - 1] = '\0';
    }
    comm->failed = true;
    return dl_error_restore(&error);
}

/* A failure whose record is missing or of another code would be told wrongly. */
static void complete_record(dl_status status) {
    if (status != DL_OK && dl_error_last()->code != status) {
        (void)dl_error_raise(status, __FILE__, __LINE__, __func__, "%s", dl_code_text(status));
    }
}

/* What the host communicator has agreed on holds for the device's, too. */
static dl_status note(dl_comm *comm, dl_status status) {
    comm->failed = comm->host->failed;
    comm->failed_rank = comm->host->failed_rank;
    return status;
}

dl_status dl_comm_agree(dl_comm *comm, dl_status status, int *failed_rank) {
    if (comm->host != NULL) {
        return note(comm, dl_comm_agree(comm->host, status, failed_rank));
    }
    complete_record(status);
    outcome mine = {.code = (int32_t)status};
    if (status != DL_OK) {
        const char *message = dl_error_last()->message;
        dl_digest_of(message, strlen(message), mine.digest);
    }
    dl_error kept; /* gathering may fail, and then its own record is the one to tell */
    dl_error_take(&kept);
    outcome *outcomes = NULL;
    DL_RETURN_IF_ERROR(dl_alloc((size_t)comm->size, sizeof *outcomes, &outcomes));
    const dl_status gathered = comm->functions->all_gather(comm, &mine, sizeof mine, outcomes);
    bool alike = false;
    const int lowest = gathered == DL_OK ? lowest_failure(outcomes, comm->size, &alike) : -1;
    dl_free(&outcomes);
    DL_RETURN_IF_ERROR_DOING(gathered, "agreeing on the outcome");
    if (lowest < 0) {
        return DL_OK;
    }
    (void)dl_error_restore(&kept);
    comm->failed_rank = alike ? -1 : lowest;
    if (failed_rank != NULL) {
        *failed_rank = comm->failed_rank;
    }
    return share_record(comm, lowest);
}
