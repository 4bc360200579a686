/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a result says of itself: the image, its frames, calibration, provenance, warnings. */
#include "cli/inputs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/progress.h"
#include "io/reader.h"

/* "3,5-9": the frames used, each once and in order, whatever way they were asked for. */
static char *frames_text(const struct cli_frames *f, size_t frames)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) return NULL;
    const char *comma = "";
    for (size_t i = 0; i < frames; i++) {
        if (!cli_frames_has(f, i)) continue;
        size_t last = i;
        while (last + 1 < frames && cli_frames_has(f, last + 1)) last++;
        fprintf(out, last > i ? "%s%zu-%zu" : "%s%zu", comma, i, last);
        comma = ",";
        i = last;
    }
    const bool bad = ferror(out) != 0;
    if (fclose(out) == 0 && !bad) return text;
    free(text);
    return NULL;
}

/* A result of several frames says which, and how they were joined. */
static enum mro_code record_frames(const struct cli_common *c, const struct cli_item *item, struct cli_head *h,
                                   struct mro_error *e)
{
    const size_t frames = item->info->frames;
    int bad = 0;
    if (!item->frame_given && frames > 1 && c->frames.n > 0) {
        char *text = frames_text(&c->frames, frames);
        json_t *entry = text ? json_pack("{s:s}", "value", text) : NULL;
        bad = entry == NULL || json_object_set_new(h->head.options, "frames", entry);
        free(text);
    }
    json_t *reduce = c->reduce == CLI_REDUCE_ALIGNED ? json_object_get(h->head.options, "reduce") : NULL;
    if (!bad && reduce) bad = json_object_set_new(reduce, "algorithm", json_string(MRO_ALIGN_ALGORITHM));
    if (!bad) return MRO_OK;
    cli_head_release(h);
    return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for its result", item->name);
}

/* Takes up a warning, unless the same was said before: the measurement may say what the reading said. False: no memory.
 */
static bool take(struct cli_head *h, const char *warning)
{
    char *own = strdup(warning);
    if (own == NULL) return false;
    cli_in_options(own);
    size_t k = 0;
    while (k < h->head.n_warnings && strcmp(h->warnings[k], own) != 0) k++;
    if (k < h->head.n_warnings)
        free(own);
    else
        h->warnings[h->head.n_warnings++] = own;
    return true;
}

enum mro_code cli_head(const struct cli_job *job, struct cli_item *item, const char *const *warnings, size_t n_warnings,
                       struct cli_head *h, struct mro_error *e)
{
    size_t n_file = 0;
    memset(h, 0, sizeof *h);
    if (*item->hash) {
        struct mro_hash_job *hash = *item->hash;
        *item->hash = NULL;
        const double from = cli_now();
        MRO_TRY(mro_hash_finish(hash, item->path, item->sha256, e));
        if (item->awaited) {
            item->awaited[0] = from;
            item->awaited[1] = cli_now();
        }
    }
    if (item->file) MRO_TRY(mro_file_check_unchanged(item->file, e));
    while (n_file < item->n_file && mro_file_warning(item->file, n_file)) n_file++;
    h->warnings = calloc(n_file + item->n_extra + n_warnings + 1, sizeof *h->warnings);
    bool whole = h->warnings && (h->head.options = cli_options_json(job->usage)) != NULL;
    for (size_t i = 0; whole && i < n_file; i++) whole = take(h, mro_file_warning(item->file, i));
    for (size_t i = 0; whole && i < item->n_extra; i++) whole = take(h, item->extra[i]);
    for (size_t i = 0; whole && i < n_warnings; i++) whole = take(h, warnings[i]);
    if (!whole) {
        cli_head_release(h);
        return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory left for its result", item->name);
    }
    MRO_TRY(record_frames(job->common, item, h, e));
    memcpy(h->provenance.input_sha256, item->sha256, sizeof h->provenance.input_sha256);
    h->provenance.sha256_of_parts = item->sha256_of_parts;
    h->provenance.calibration = item->calibration;
    h->head.verb = job->usage->verb;
    h->head.file = item->path;
    h->head.image = item->image;
    h->head.has_frame = item->frame_given;
    h->head.frame = item->frame;
    h->head.info = item->info;
    for (int i = 0; i < 2; i++) {
        const struct mro_axis *a = &item->pixels.axis[i];
        h->head.pixel_nm[i] = a->step > 0 && a->unit == MRO_UNIT_NM ? a->step : NAN;
    }
    h->head.warnings = (const char *const *)h->warnings;
    h->head.provenance = &h->provenance;
    return MRO_OK;
}

void cli_head_release(struct cli_head *h)
{
    json_decref(h->head.options);
    for (size_t i = 0; i < h->head.n_warnings; i++) free(h->warnings[i]);
    free(h->warnings);
    memset(h, 0, sizeof *h);
}
