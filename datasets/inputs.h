/* Samples without labels, from files of several formats: what a trained model is applied to.
 *
 *   HDF5   a shard (FORMAT.md): /x, its other fields are not looked at; or /tokens, in windows
 *   IDX    uint8, plain or gzip'd: [N, H, W] or [N, H, W, C], [N, F]
 *   text   of a model for tokens: each line is a sample. Of one for sequences: a line is a step, numbers
 * between blanks, a blank line ends a sample (sequences.h). Otherwise CSV: a line is a sample, numbers
 * between commas, semicolons, tabs or blanks, in the order of the sample's elements; a first line without a
 *          number names the columns; blank lines are no samples
 *
 * HDF5 and IDX are known by content, everything else is text. Files stay open or in memory until they are
 * closed; nothing here knows ranks. DL_ERR_USAGE: a file that is not there, samples of another shape or type
 * than the model's; DL_ERR_DATA: a damaged file, a line that is no sample: FILE:LINE:COLUMN. */
#ifndef DLTRAIN_DATASETS_INPUTS_H
#define DLTRAIN_DATASETS_INPUTS_H

#include "datasets/dataset.h"

typedef struct dl_inputs dl_inputs;

/* What the text files are. */
typedef enum dl_inputs_text { DL_TEXT_CSV, DL_TEXT_SEQUENCES, DL_TEXT_LINES } dl_inputs_text;

/* Opens the files. `window`: tokens of a window of /tokens; 0: a text in HDF5 is refused. *out in any case is
 * released with dl_inputs_close. */
DL_NODISCARD dl_status dl_inputs_open(const char *const *paths, int n, dl_inputs_text text, int64_t window,
                                      dl_inputs **out);
void dl_inputs_close(dl_inputs **inputs);

int64_t dl_inputs_count(const dl_inputs *inputs);

/* The most steps that a sample of sequences has, as far as files say: 1 for dense samples. */
int64_t dl_inputs_longest(const dl_inputs *inputs);

/* Checks every sample against the field that the model reads, and brings those of text files into its form:
 * numbers of a model trained on pixels (uint8) must be whole, 0 to 255. Dimensions of 1 at the end of a shape
 * may be missing. Not for lines and tokens. */
DL_NODISCARD dl_status dl_inputs_fit(dl_inputs *inputs, const dl_field *field);

/* The file that sample `index` is from, and its number there, from 0. */
const char *dl_inputs_place(const dl_inputs *inputs, int64_t index, int64_t *number);

/* After dl_inputs_fit. Steps of a sample of sequences (1: dense); its elements into `out`: the field's
 * sample_bytes, times the steps. */
int64_t dl_inputs_length(const dl_inputs *inputs, int64_t index);
DL_NODISCARD dl_status dl_inputs_read(const dl_inputs *inputs, int64_t index, void *out);

/* Sample `index` of text for a model of tokens: a line (not terminated, without its end), and the number of
 * the line in its file, from 1; or *n tokens of a window, which stay the inputs'. *token is NULL for a line.
 */
typedef struct dl_input_text {
    const char *line;
    size_t n_bytes;
    int64_t line_number;
    const int32_t *token;
    int64_t n_tokens;
} dl_input_text;
dl_input_text dl_inputs_text_at(const dl_inputs *inputs, int64_t index);

/* Largest token of the windows, -1: there are none. */
int64_t dl_inputs_largest_token(const dl_inputs *inputs);

/* Bytes of memory that the samples take; mapped files take none. */
size_t dl_inputs_bytes(const dl_inputs *inputs);

#endif
