/* SPDX-License-Identifier: GPL-3.0-or-later */
/* EMI files of TIA (FEI's TEM Imaging and Analysis): the document whose pictures lie in SER files beside it.
 *
 * The container is undocumented, but before each series' description, a block of XML between <ObjectInfo> tags, stands
 * the path that its SER file had on the microscope: that is how a description finds its series. Counting the blocks, as
 * other readers do, gives a line scan the description of the survey image that was stored before it. The folder in that
 * path is never used; only the number at its end.
 */
#define _GNU_SOURCE /* memmem */
#include "io/emi.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "io/xml.h"

/* Blocks in real files have 300 to 10 000 bytes. */
#define MAX_XML ((size_t)1 << 20)
enum { PATH_REACH = 64 };

/* ---- finding the blocks ---- */

struct block {
    const char *xml;
    size_t size;
    unsigned number; /* N of the SER file it describes; 0 = none */
};

static const unsigned char *find(const unsigned char *from, const unsigned char *end, const char *text)
{
    return from < end ? memmem(from, (size_t)(end - from), text, strlen(text)) : NULL;
}

/* The number before ".ser" in the bytes from `from` to `to`; 0 when there is none. The last one counts. */
static unsigned series_number(const unsigned char *from, const unsigned char *to)
{
    for (const unsigned char *p = to; p - from >= 4;) {
        p--;
        if (to - p < 4 || *p != '.' || strncasecmp((const char *)p, ".ser", 4) != 0) continue;
        unsigned number = 0, digit = 1;
        const unsigned char *q = p;
        while (q > from && isdigit(q[-1]) && digit < 100000) {
            q--;
            number += (unsigned)(*q - '0') * digit;
            digit *= 10;
        }
        return q > from && q[-1] == '_' ? number : 0;
    }
    return 0;
}

/* Moves *pos behind the next block; false when there is none. */
static bool next_block(struct mro_bytes b, size_t *pos, struct block *o)
{
    static const char close[] = "</ObjectInfo>";
    const unsigned char *end = b.p + b.size, *before = b.p + *pos, *start = find(before, end, "<ObjectInfo>");
    const unsigned char *stop = start ? find(start, end, close) : NULL;
    if (stop == NULL) return false;
    stop += sizeof close - 1;
    o->xml = (const char *)start;
    o->size = (size_t)(stop - start);
    o->number = series_number(start - before > PATH_REACH ? start - PATH_REACH : before, start);
    *pos = (size_t)(stop - b.p);
    return true;
}

bool mro_emi_probe(struct mro_bytes b) { return b.size >= 4 && memcmp(b.p, "JK\0\2", 4) == 0; }

size_t mro_emi_numbers(struct mro_bytes b, unsigned *numbers, size_t room)
{
    struct block o;
    size_t n = 0;
    for (size_t pos = 0; n < room && next_block(b, &pos, &o);) {
        bool known = o.number == 0;
        for (size_t i = 0; i < n; i++) known = known || numbers[i] == o.number;
        if (!known) numbers[n++] = o.number;
    }
    return n;
}

bool mro_emi_split_path(const char *path, size_t *stem, unsigned *number)
{
    const size_t n = strlen(path);
    size_t digits = n;
    if (n < 6 || strcasecmp(path + n - 4, ".ser") != 0) return false;
    digits = n - 4;
    *number = series_number((const unsigned char *)path, (const unsigned char *)path + n);
    while (digits > 0 && isdigit((unsigned char)path[digits - 1])) digits--;
    if (digits == n - 4 || digits < 2 || path[digits - 1] != '_' || path[digits - 2] == '/') return false;
    *stem = digits - 1;
    return *number > 0;
}

/* ---- reading one ---- */

struct parse {
    struct mro_emi_object *o;
    char label[48], value[64], unit[16];
};

/* Copies as much of `text` as fits; what is cut between the bytes of a character is cleaned with the other texts. */
static void keep(char *out, size_t room, const char *text)
{
    const size_t n = strnlen(text, room - 1);
    memmove(out, text, n);
    out[n] = '\0';
}

/* TIA writes numbers in the language of its computer: a decimal comma counts as a point. 0 when it is no number. */
static double number_of(const char *text)
{
    char copy[64];
    char *end;
    keep(copy, sizeof copy, text);
    for (char *c = copy; *c; c++)
        if (*c == ',') *c = '.';
    const double v = strtod(copy, &end);
    return end != copy && isfinite(v) ? v : 0;
}

/* TIA writes 0 or 1 where there is none, as in diffraction. */
static double magnification(double v) { return v > 1 ? v : 0; }

/* "Tue Oct 18 18:18:46 2011" as ISO 8601; another form is kept as it is. */
static void set_date(const char *text, char *out, size_t room)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char month[4];
    int day, hour, minute, second, year;
    if (sscanf(text, "%*3s %3s %2d %2d:%2d:%2d %4d", month, &day, &hour, &minute, &second, &year) == 6 &&
        strlen(month) == 3 && day >= 1 && day <= 31 && hour >= 0 && hour < 24 && minute >= 0 && minute < 60 &&
        second >= 0 && second <= 60 && year >= 1980 && year <= 9999) {
        for (int m = 0; m < 12; m++)
            if (strncmp(months + 3 * m, month, 3) == 0) {
                snprintf(out, room, "%04d-%02d-%02dT%02d:%02d:%02d", year, m + 1, day, hour, minute, second);
                return;
            }
    }
    snprintf(out, room, "%.31s", text);
}

/* One row of ExperimentalDescription. */
static void set_row(struct parse *p)
{
    struct mro_emi_object *o = p->o;
    const double v = number_of(p->value);
    if (strcmp(p->label, "Mode") == 0)
        snprintf(o->mode, sizeof o->mode, "%s", p->value);
    else if (strcmp(p->label, "Microscope") == 0)
        snprintf(o->instrument, sizeof o->instrument, "%s",
                 p->value + (strncmp(p->value, "Microscope ", 11) == 0 ? 11 : 0));
    else if (strcmp(p->label, "High tension") == 0 && strcmp(p->unit, "kV") == 0)
        o->beam_kv = mro_positive(v);
    else if (strcmp(p->label, "Magnification") == 0)
        o->magnification = magnification(v * (strcasecmp(p->unit, "kx") == 0 ? 1000 : 1));
    else if (strcmp(p->label, "Camera length") == 0 && (strcmp(p->unit, "m") == 0 || strcmp(p->unit, "mm") == 0))
        o->camera_length_mm = mro_positive(v) * (strcmp(p->unit, "m") == 0 ? 1000 : 1);
    else if (strcmp(p->label, "Stage A") == 0 && strcmp(p->unit, "deg") == 0 && p->value[0])
        o->tilt_deg[0] = v + 0.0; /* TIA writes -0.00 */
    else if (strcmp(p->label, "Stage B") == 0 && strcmp(p->unit, "deg") == 0 && p->value[0])
        o->tilt_deg[1] = v + 0.0;
}

static const char *leaf(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void on_begin(void *context, const char *path, const char *const *attributes)
{
    struct parse *p = context;
    (void)attributes;
    if (strcmp(leaf(path), "Data") == 0) p->label[0] = p->value[0] = p->unit[0] = '\0';
}

static void on_end(void *context, const char *path, const char *text)
{
    struct parse *p = context;
    struct mro_emi_object *o = p->o;
    const char *name = leaf(path);
    if (strcmp(name, "Label") == 0)
        keep(p->label, sizeof p->label, text);
    else if (strcmp(name, "Value") == 0)
        keep(p->value, sizeof p->value, text);
    else if (strcmp(name, "Unit") == 0)
        keep(p->unit, sizeof p->unit, text);
    else if (strcmp(name, "Data") == 0)
        set_row(p);
    else if (strcmp(name, "AcceleratingVoltage") == 0 && o->beam_kv == 0)
        o->beam_kv = mro_positive(number_of(text)) / 1000;
    else if (strcmp(name, "Magnification") == 0 && o->magnification == 0)
        o->magnification = magnification(number_of(text)); /* "114999 X" */
    else if (strcmp(name, "AcquireDate") == 0)
        set_date(text, o->date, sizeof o->date);
    else if (strcmp(name, "CameraNamePath") == 0 && *text) {
        o->camera = true;
        keep(o->detector, sizeof o->detector, text);
    } else if (strcmp(name, "Binning") == 0)
        o->binning = mro_positive(number_of(text));
}

static bool parse_block(const struct block *b, struct mro_emi_object *o)
{
    static const struct mro_xml_hooks hooks = { on_begin, on_end };
    struct parse p = { .o = o };
    *o = (struct mro_emi_object){ .tilt_deg = { NAN, NAN } };
    return b->size <= MAX_XML && mro_xml_walk(b->xml, b->size, &hooks, &p, NULL, 0);
}

bool mro_emi_describe(struct mro_bytes b, unsigned number, struct mro_emi_object *o)
{
    struct block block, found = { 0 };
    bool named = false; /* a block names its file */
    unsigned order = 0;
    for (size_t pos = 0; found.xml == NULL && next_block(b, &pos, &block);) {
        named = named || block.number > 0;
        if (block.number == number) found = block;
    }
    /* Where no block has the path of its series, their order is all there is. */
    for (size_t pos = 0; found.xml == NULL && !named && next_block(b, &pos, &block);)
        if (++order == number) found = block;
    if (found.xml == NULL) return false;
    return parse_block(&found, o);
}
