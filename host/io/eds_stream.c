/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Decoding of spectrum streams. A stream is a column of 16-bit words: 65535 ends a pixel, any other word is one count
 * in the channel of that number; pixels follow each other row by row, frames without a mark between them. */
#include "io/eds_stream.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 1 << 20 /* words unpacked at a time: many chunks, for all threads */ };
#define MAX_ROW_INDEX ((size_t)64 << 20) /* bytes */
#define MAX_ROWS ((size_t)64 << 20)      /* bytes of dense spectra at a time */

struct mro_eds_stream *mro_eds_stream_of(struct mro_file *f) { return f->reader->stream ? f->reader->stream(f) : NULL; }

/* Reads words [from, from + n) of a part. */
static enum mro_code read_words(const struct mro_eds_stream *s, size_t part, uint64_t from, size_t n, uint16_t *to,
                                struct mro_error *e)
{
    const struct mro_h5_box box = { .from = { from }, .n = { n, 1 }, .order = { 0, 1 } };
    return mro_h5_read(s->h5, s->part[part], &box, to, s->f->memory_bytes / 4, e);
}

static void forget(struct mro_eds_stream *s)
{
    free(s->total);
    free(s->spectrum);
    free(s->row);
    s->total = s->spectrum = NULL;
    s->row = NULL;
    s->row_room = 0;
}

/* Notes where a row begins. An index that grows too large is given up: rows then cost a pass each. */
static void note_row(struct mro_eds_stream *s, bool *keep, size_t *rows, uint64_t word)
{
    if (!*keep) return;
    if (*rows == s->row_room) {
        const size_t room = s->row_room ? 2 * s->row_room : 1024;
        uint64_t *grown = room <= MAX_ROW_INDEX / sizeof *grown ? realloc(s->row, room * sizeof *grown) : NULL;
        if (grown == NULL) {
            *keep = false;
            return;
        }
        s->row = grown;
        s->row_room = room;
    }
    s->row[(*rows)++] = word;
}

/* The first pass: total counts, sum spectrum, index of rows, and whether the stream is what its file says. */
static enum mro_code decode(struct mro_eds_stream *s, struct mro_error *e)
{
    const size_t pixels = s->info.ny * s->info.nx, channels = s->info.channels;
    enum mro_code rc = MRO_OK;
    size_t rows = 0;
    uint64_t strange = 0, counts = 0, shortest = UINT64_MAX;
    bool keep = true;
    char path[200];
    if (s->decoded) return MRO_OK;
    uint16_t *words = malloc(BATCH * sizeof *words);
    s->total = calloc(pixels, sizeof *s->total);
    s->spectrum = calloc(channels, sizeof *s->spectrum);
    if (words == NULL || s->total == NULL || s->spectrum == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "no memory for the spectrum stream of '%s'", s->f->name);
        goto done;
    }
    for (size_t k = 0; k < s->parts; k++) {
        uint64_t ended = 0; /* pixels */
        size_t pixel = 0, column = 0;
        const uint64_t most = s->info.frames ? (uint64_t)s->info.frames * pixels : UINT64_MAX;
        s->row_first[k] = rows;
        note_row(s, &keep, &rows, 0);
        for (uint64_t from = 0; from < s->words[k]; from += BATCH) {
            const size_t n = s->words[k] - from < BATCH ? (size_t)(s->words[k] - from) : BATCH;
            rc = read_words(s, k, from, n, words, e);
            if (rc != MRO_OK) goto done;
            for (size_t i = 0; i < n; i++) {
                const uint16_t w = words[i];
                if (w == MRO_EDS_NEXT_PIXEL) {
                    ended++;
                    if (++pixel == pixels) pixel = 0;
                    if (++column == s->info.nx) {
                        column = 0;
                        note_row(s, &keep, &rows, from + i + 1);
                    }
                } else if (w < channels && ended < most) {
                    s->spectrum[w] += s->spectrum[w] < UINT32_MAX;
                    s->total[pixel] += s->total[pixel] < UINT32_MAX;
                    counts++;
                } else {
                    strange++;
                }
            }
            if (ended > most) {
                mro_h5_path(s->h5, s->part[k], path, sizeof path);
                rc = MRO_FAIL(e, MRO_EFORMAT,
                              "'%s': the spectrum stream '%s' holds more pixels than %zu frames of %zu x %zu",
                              s->f->name, path, s->info.frames, s->info.nx, s->info.ny);
                goto done;
            }
        }
        if (s->info.frames > 0 && ended < shortest) shortest = ended;
    }
    s->row_first[s->parts] = rows;
    if (strange > (counts + strange) / 100) {
        rc = MRO_FAIL(e, MRO_EFORMAT,
                      "'%s': %llu words of its spectrum stream belong to no pixel or to none of its %zu channels",
                      s->f->name, (unsigned long long)strange, channels);
        goto done;
    }
    if (strange > 0)
        mro_file_warn(
            s->f,
            "%llu words of the spectrum stream belong to no pixel or to none of its %zu channels and are left out",
            (unsigned long long)strange, channels);
    if (s->info.frames > 0 && shortest + 1 < (uint64_t)s->info.frames * pixels)
        mro_file_warn(s->f, "the spectrum stream ends after %llu of the %llu pixels of its %zu frames",
                      (unsigned long long)shortest, (unsigned long long)((uint64_t)s->info.frames * pixels),
                      s->info.frames);
    if (!keep) {
        free(s->row);
        s->row = NULL;
    }
    s->decoded = true;
done:
    free(words);
    if (rc != MRO_OK) forget(s);
    return rc;
}

enum mro_code mro_eds_read_total(struct mro_eds_stream *s, uint32_t *out, struct mro_error *e)
{
    MRO_TRY(decode(s, e));
    memcpy(out, s->total, s->info.ny * s->info.nx * sizeof *out);
    return MRO_OK;
}

enum mro_code mro_eds_read_spectrum(struct mro_eds_stream *s, uint32_t *out, struct mro_error *e)
{
    MRO_TRY(decode(s, e));
    memcpy(out, s->spectrum, s->info.channels * sizeof *out);
    return MRO_OK;
}

/* Adds the words from `from` to `to` of a part, which begin at pixel `pixel` of the rows in s->rows. */
static enum mro_code add_words(struct mro_eds_stream *s, size_t part, uint64_t from, uint64_t to, uint16_t *words,
                               bool *full, struct mro_error *e)
{
    const size_t channels = s->info.channels, end = s->rows.n * s->info.nx;
    size_t pixel = 0;
    while (from < to && pixel < end) {
        const size_t n = to - from < BATCH ? (size_t)(to - from) : BATCH;
        MRO_TRY(read_words(s, part, from, n, words, e));
        for (size_t i = 0; i < n && pixel < end; i++) {
            if (words[i] == MRO_EDS_NEXT_PIXEL) {
                pixel++;
            } else if (words[i] < channels) {
                uint16_t *count = &s->rows.counts[pixel * channels + words[i]];
                *full = *full || *count == UINT16_MAX;
                *count = (uint16_t)(*count + (*count < UINT16_MAX));
            }
        }
        from += n;
    }
    return MRO_OK;
}

/* Without an index: walks a whole part and takes out what lies in the rows. */
static enum mro_code add_rows_of(struct mro_eds_stream *s, size_t part, uint16_t *words, bool *full,
                                 struct mro_error *e)
{
    const size_t channels = s->info.channels, pixels = s->info.ny * s->info.nx;
    const size_t begin = s->rows.first * s->info.nx, end = begin + s->rows.n * s->info.nx;
    size_t pixel = 0;
    for (uint64_t from = 0; from < s->words[part]; from += BATCH) {
        const size_t n = s->words[part] - from < BATCH ? (size_t)(s->words[part] - from) : BATCH;
        MRO_TRY(read_words(s, part, from, n, words, e));
        for (size_t i = 0; i < n; i++) {
            if (words[i] == MRO_EDS_NEXT_PIXEL) {
                if (++pixel == pixels) pixel = 0;
            } else if (words[i] < channels && pixel >= begin && pixel < end) {
                uint16_t *count = &s->rows.counts[(pixel - begin) * channels + words[i]];
                *full = *full || *count == UINT16_MAX;
                *count = (uint16_t)(*count + (*count < UINT16_MAX));
            }
        }
    }
    return MRO_OK;
}

/* Takes rows [y, y + as many as fit) of the spectrum image out of the streams. */
static enum mro_code gather_rows(struct mro_eds_stream *s, size_t y, struct mro_error *e)
{
    const size_t ny = s->info.ny, row_bytes = s->info.nx * s->info.channels * sizeof(uint16_t);
    const size_t room = (s->f->memory_bytes / 4 < MAX_ROWS ? s->f->memory_bytes / 4 : MAX_ROWS) / row_bytes;
    size_t most = room < 1 ? 1 : room < ny ? room : ny;
    enum mro_code rc = MRO_OK;
    bool full = false;
    uint16_t *words = malloc(BATCH * sizeof *words);
    if (s->rows.counts == NULL) s->rows.counts = malloc(most * row_bytes);
    if (words == NULL || s->rows.counts == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "no memory for a row of the spectrum image of '%s'", s->f->name);
        goto done;
    }
    s->rows.first = y;
    s->rows.n = ny - y < most ? ny - y : most;
    memset(s->rows.counts, 0, s->rows.n * row_bytes);
    for (size_t k = 0; k < s->parts && rc == MRO_OK; k++) {
        if (s->row == NULL) {
            rc = add_rows_of(s, k, words, &full, e);
            continue;
        }
        const size_t rows = s->row_first[k + 1] - s->row_first[k];
        const uint64_t *row = s->row + s->row_first[k];
        for (size_t i = y; i < rows && rc == MRO_OK; i += ny) /* one step a frame */
            rc = add_words(s, k, row[i], i + s->rows.n < rows ? row[i + s->rows.n] : s->words[k], words, &full, e);
    }
    if (full)
        mro_file_warn(s->f, "some counts of the spectrum image of '%s' are larger than 65535 and stay there",
                      s->f->name);
done:
    if (rc != MRO_OK) s->rows.n = 0;
    free(words);
    return rc;
}

enum mro_code mro_eds_read_row(struct mro_eds_stream *s, size_t y, uint16_t *out, struct mro_error *e)
{
    const size_t row = s->info.nx * s->info.channels;
    MRO_TRY(decode(s, e));
    if (s->rows.n == 0 || y < s->rows.first || y - s->rows.first >= s->rows.n) MRO_TRY(gather_rows(s, y, e));
    memcpy(out, s->rows.counts + (y - s->rows.first) * row, row * sizeof *out);
    return MRO_OK;
}

void mro_eds_stream_release(struct mro_eds_stream *s)
{
    if (s == NULL) return;
    forget(s);
    free(s->rows.counts);
    free(s);
}

/* ---- maps of elements ---- */

enum mro_code mro_eds_stream_info(struct mro_file *f, struct mro_eds_stream_info *info, struct mro_error *e)
{
    const struct mro_eds_stream *s = mro_eds_stream_of(f);
    memset(info, 0, sizeof *info);
    if (s == NULL) return MRO_FAIL(e, MRO_EDATA, "'%s' holds no spectrum stream", f->name);
    *info = s->info;
    return MRO_OK;
}

/* Channels [from, to) of an energy window; none gives from == to. */
static void channels_of(const struct mro_eds_stream_info *info, const double ev[2], size_t channel[2])
{
    for (int i = 0; i < 2; i++) {
        const double c = ceil((ev[i] - info->offset_ev) / info->step_ev);
        channel[i] = !(c > 0) ? 0 : c < (double)info->channels ? (size_t)c : info->channels;
    }
    if (channel[1] < channel[0]) channel[1] = channel[0];
}

/* What one window counts: peak, below, above. */
struct counting {
    size_t channel[3][2];
    double weight[3]; /* of the counts of each in the net counts: 1, and minus the shares of the background */
};

static enum mro_code set_up_window(const struct mro_eds_stream *s, const struct mro_eds_window *w, struct counting *c,
                                   struct mro_error *e)
{
    const double *const windows[3] = { w->peak, w->below, w->above };
    double centre[3], width[3];
    for (int i = 0; i < 3; i++) {
        channels_of(&s->info, windows[i], c->channel[i]);
        width[i] = (double)(c->channel[i][1] - c->channel[i][0]);
        centre[i] = 0.5 * (double)(c->channel[i][0] + c->channel[i][1]);
    }
    if (width[0] == 0)
        return MRO_FAIL(e, MRO_EARG, "the window from %g to %g eV holds no channel of '%s' (%g to %g eV)", w->peak[0],
                        w->peak[1], s->f->name, s->info.offset_ev,
                        s->info.offset_ev + s->info.step_ev * (double)s->info.channels);
    c->weight[0] = 1;
    c->weight[1] = c->weight[2] = 0;
    if (width[1] > 0 && width[2] > 0 && centre[2] != centre[1]) {
        const double t = (centre[0] - centre[1]) / (centre[2] - centre[1]);
        c->weight[1] = -(1 - t) * width[0] / width[1];
        c->weight[2] = -t * width[0] / width[2];
    } else if (width[1] > 0) {
        c->weight[1] = -width[0] / width[1];
    } else if (width[2] > 0) {
        c->weight[2] = -width[0] / width[2];
    }
    return MRO_OK;
}

/* Channels to counters: which of 3 * n counters a word adds to. Windows may overlap, so it is a list for each. */
struct routes {
    uint32_t *first; /* channels + 1 */
    uint16_t *to;    /* window * 3 + part */
};

static bool make_routes(const struct counting *c, size_t n, size_t channels, struct routes *r)
{
    size_t all = 0;
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < 3; k++) all += c[i].channel[k][1] - c[i].channel[k][0];
    r->first = calloc(channels + 2, sizeof *r->first);
    r->to = malloc((all + 1) * sizeof *r->to);
    if (r->first == NULL || r->to == NULL || all > UINT32_MAX) return false;
    uint32_t *count = r->first + 1;
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < 3; k++)
            for (size_t ch = c[i].channel[k][0]; ch < c[i].channel[k][1]; ch++) count[ch + 1]++;
    for (size_t ch = 1; ch <= channels; ch++) count[ch] += count[ch - 1];
    for (size_t i = 0; i < n; i++) /* count[ch] walks from the begin of ch to its end, which is what first[] wants */
        for (int k = 0; k < 3; k++)
            for (size_t ch = c[i].channel[k][0]; ch < c[i].channel[k][1]; ch++)
                r->to[count[ch]++] = (uint16_t)(3 * i + (size_t)k);
    return true;
}

/* Adds up count[pixel][each of `counters`]. */
static enum mro_code count_windows(struct mro_eds_stream *s, const struct routes *r, uint32_t *count, size_t counters,
                                   struct mro_error *e)
{
    const size_t pixels = s->info.ny * s->info.nx;
    enum mro_code rc = MRO_OK;
    uint16_t *words = malloc(BATCH * sizeof *words);
    if (words == NULL) return MRO_FAIL(e, MRO_EMEMORY, "no memory for the spectrum stream of '%s'", s->f->name);
    for (size_t k = 0; k < s->parts && rc == MRO_OK; k++) {
        size_t pixel = 0;
        uint64_t ended = 0;
        const uint64_t most = s->info.frames ? (uint64_t)s->info.frames * pixels : UINT64_MAX;
        for (uint64_t from = 0; from < s->words[k]; from += BATCH) {
            const size_t n = s->words[k] - from < BATCH ? (size_t)(s->words[k] - from) : BATCH;
            if ((rc = read_words(s, k, from, n, words, e)) != MRO_OK) break;
            for (size_t i = 0; i < n; i++) {
                const uint16_t w = words[i];
                if (w == MRO_EDS_NEXT_PIXEL) {
                    ended++;
                    if (++pixel == pixels) pixel = 0;
                } else if (w < s->info.channels && ended < most) {
                    for (uint32_t j = r->first[w]; j < r->first[w + 1]; j++) count[pixel * counters + r->to[j]]++;
                }
            }
        }
        if (rc == MRO_OK && ended > most)
            rc = MRO_FAIL(e, MRO_EFORMAT, "'%s': a spectrum stream holds more pixels than %zu frames of %zu x %zu",
                          s->f->name, s->info.frames, s->info.nx, s->info.ny);
    }
    free(words);
    return rc;
}

enum mro_code mro_eds_maps(struct mro_file *f, const struct mro_eds_window *windows, size_t n, struct mro_eds_map *maps,
                           struct mro_error *e)
{
    struct mro_eds_stream *s = mro_eds_stream_of(f);
    struct routes routes = { NULL, NULL };
    struct counting *c = NULL;
    uint32_t *count = NULL;
    enum mro_code rc = MRO_OK;
    memset(maps, 0, n * sizeof *maps);
    if (s == NULL) return MRO_FAIL(e, MRO_EDATA, "'%s' holds no spectrum stream", f->name);
    if (!(s->info.step_ev > 0))
        return MRO_FAIL(e, MRO_EARG, "the energy scale of the spectrum stream of '%s' is unknown", f->name);
    if (n == 0 || n > 1024) return MRO_FAIL(e, MRO_EARG, "%zu energy windows cannot be counted; give 1 to 1024", n);
    const size_t pixels = s->info.ny * s->info.nx;
    if (pixels > f->memory_bytes / (20 * n))
        return MRO_FAIL(e, MRO_EMEMORY,
                        "%zu maps of %zu x %zu pixels need %.0f MiB, the memory budget is %.0f MiB; give a larger "
                        "`memory` or fewer elements",
                        n, s->info.nx, s->info.ny, 20.0 * (double)n * (double)pixels / 1048576,
                        (double)f->memory_bytes / 1048576);
    bool room = (c = calloc(n, sizeof *c)) != NULL && (count = calloc(3 * n * pixels, sizeof *count)) != NULL;
    for (size_t i = 0; i < n && rc == MRO_OK && room; i++) {
        rc = set_up_window(s, &windows[i], &c[i], e);
        maps[i].ny = s->info.ny;
        maps[i].nx = s->info.nx;
        maps[i].net = malloc(pixels * sizeof *maps[i].net);
        maps[i].variance = malloc(pixels * sizeof *maps[i].variance);
        room = maps[i].net != NULL && maps[i].variance != NULL;
    }
    room = room && (rc != MRO_OK || make_routes(c, n, s->info.channels, &routes));
    if (rc == MRO_OK && !room) rc = MRO_FAIL(e, MRO_EMEMORY, "no memory for %zu maps of elements of '%s'", n, f->name);
    if (rc == MRO_OK) rc = count_windows(s, &routes, count, 3 * n, e);
    for (size_t i = 0; i < n && rc == MRO_OK; i++) {
        for (size_t p = 0; p < pixels; p++) {
            double net = 0, variance = 0;
            for (size_t k = 0; k < 3; k++) {
                const double counts = count[3 * (n * p + i) + k];
                net += c[i].weight[k] * counts;
                variance += c[i].weight[k] * c[i].weight[k] * counts;
            }
            maps[i].net[p] = (float)net;
            maps[i].variance[p] = (float)variance;
            maps[i].net_sum += net;
            maps[i].variance_sum += variance;
        }
    }
    for (size_t i = 0; i < n && rc != MRO_OK; i++) mro_eds_map_release(&maps[i]);
    free(c);
    free(count);
    free(routes.first);
    free(routes.to);
    return rc;
}

void mro_eds_map_release(struct mro_eds_map *m)
{
    if (m == NULL) return;
    free(m->net);
    free(m->variance);
    memset(m, 0, sizeof *m);
}
