/* Writing one JSON object as one line of text. Into a dl_text that is reused, so that writing lines allocates
 * nothing once the longest was written.
 *
 * Calls after a failure do nothing; dl_json_end returns the first one. Keys are plain words of the program.
 */
#ifndef DLTRAIN_BASE_JSON_H
#define DLTRAIN_BASE_JSON_H

#include "base/text.h"

typedef struct dl_json {
    dl_text *text; /* borrowed */
    bool empty;    /* no key yet */
    dl_status status;
} dl_json;

enum { DL_NUMBER_BYTES = 32 };

/* Empties `text` and starts an object in it. */
dl_json dl_json_begin(dl_text *text);

/* A string: quotes, backslashes and control characters escaped, bytes that are not UTF-8 replaced by U+FFFD.
 */
void dl_json_string(dl_json *json, const char *key, const char *value);
void dl_json_bool(dl_json *json, const char *key, bool value);
void dl_json_int(dl_json *json, const char *key, int64_t value);
/* A number that reads back as exactly this double, with as few digits as that takes; null when not finite. */
void dl_json_double(dl_json *json, const char *key, double value);
/* A number rounded to this many decimals, for measurements; null when not finite. */
void dl_json_fixed(dl_json *json, const char *key, double value, int decimals);
void dl_json_ints(dl_json *json, const char *key, const int64_t *values, int64_t n);

/* Ends the object and the line. */
DL_NODISCARD dl_status dl_json_end(dl_json *json);

/* Appends a value as dl_json_string writes it, quotes and all: for lists and objects within others. */
DL_NODISCARD dl_status dl_json_append_string(dl_text *text, const char *value);

/* The shortest decimal text that reads back as exactly `value` ("nan", "inf" when it is not finite); returns
 * out. */
const char *dl_number_text(double value, char out[DL_NUMBER_BYTES]);

#endif
