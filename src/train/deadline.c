#include "train/deadline.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

/* A long step is forgotten by and by: the first one is not like the others. */
#define FORGET 0.9

/* For what is not measured: the last figures, the end of MPI, the launcher. */
#define MARGIN_SECONDS 1.0

#define MAX_SECONDS 1e9

/* "90", "90s", "1.5h" */
static bool parse_unit(const char *text, double *out) {
    static const struct {
        char letter;
        double seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    char number[32];
    const size_t n = strlen(text);
    double factor = 1;
    if (n == 0 || n >= sizeof number) {
        return false;
    }
    memcpy(number, text, n + 1);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (text[n - 1] == units[i].letter) {
            factor = units[i].seconds;
            number[n - 1] = '\0';
        }
    }
    const bool parsed = dl_parse_double(number, out);
    *out *= factor;
    return parsed;
}

/* "1:30:00" */
static bool parse_clock(const char *text, double *out) {
    unsigned hours = 0, minutes = 0, seconds = 0;
    int n = 0;
    if (strspn(text, "0123456789:") != strlen(text) || strlen(text) > 16 ||
        sscanf(text, "%8u:%2u:%2u%n", &hours, &minutes, &seconds, &n) != 3) {
        return false;
    }
    *out = 3600.0 * hours + 60.0 * minutes + seconds;
    return text[n] == '\0' && minutes < 60 && seconds < 60;
}

static void take(dl_deadline *deadline, double at, const char *what, const char *value) {
    if (deadline->known && deadline->at <= at) {
        return;
    }
    deadline->known = true;
    deadline->at = at;
    (void)snprintf(deadline->text, sizeof deadline->text, "%s %.40s is near", what, value);
}

dl_status dl_deadline_set(const char *limit, double began, const char *job_end, dl_deadline *out) {
    *out = (dl_deadline){0};
    if (limit != NULL) {
        double seconds = 0;
        const bool parsed = parse_unit(limit, &seconds) || parse_clock(limit, &seconds);
        DL_RETURN_ERROR_IF(
            !parsed || !(seconds > 0 && seconds <= MAX_SECONDS), DL_ERR_USAGE,
            "--time-limit %.60s is not a time; 90s, 30m, 1.5h, 1d and 1:30:00 are (a number alone "
            "is seconds)",
            limit);
        take(out, began + seconds, "the time limit", limit);
    }
    if (job_end != NULL && job_end[0] != '\0') {
        double end = 0;
        const double left = dl_parse_double(job_end, &end) ? end - dl_clock_unix() : -1;
        if (left <= 0) {
            DL_WARN("SLURM_JOB_END_TIME is '%.40s', which is no time to come; it is ignored", job_end);
            return DL_OK;
        }
        take(out, dl_clock_seconds() + left, "the job's end SLURM_JOB_END_TIME", job_end);
    }
    return DL_OK;
}

void dl_deadline_note_step(dl_deadline *deadline, double seconds) {
    deadline->step *= FORGET;
    if (seconds > deadline->step) {
        deadline->step = seconds;
    }
}

bool dl_deadline_is_near(const dl_deadline *deadline, double now, double save, bool evaluates) {
    const double guessed = (double)deadline->evaluation_steps * deadline->step;
    const double evaluation = deadline->evaluation > 0 ? deadline->evaluation : guessed;
    /* This step and the next; the checkpoint, and half as much for weights.h5 and what disks do. */
    const double need = 2 * deadline->step + (evaluates ? evaluation : 0) + 1.5 * save;
    return deadline->known && now + need + MARGIN_SECONDS >= deadline->at;
}
