/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/write.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mroscope/file.h"

/* ---------------------------------------------------------------- whole or not at all */

/* Names of the files under way, for mro_write_remove_unfinished. Who takes a name out of its slot owns it, so that a
 * signal never looks at memory that was freed. More files at a time than there are slots are not noted. */
static _Atomic(char *) unfinished[64];
#define SLOTS (sizeof unfinished / sizeof *unfinished)

static void note(char *temporary)
{
    for (size_t i = 0; i < SLOTS; i++) {
        char *none = NULL;
        if (atomic_compare_exchange_strong(&unfinished[i], &none, temporary)) return;
    }
}

/* Frees a name, unless a signal has just taken it. */
static void drop(char *temporary)
{
    for (size_t i = 0; temporary != NULL && i < SLOTS; i++) {
        char *mine = temporary;
        if (atomic_load(&unfinished[i]) != temporary) continue;
        if (atomic_compare_exchange_strong(&unfinished[i], &mine, NULL)) break;
        return;
    }
    free(temporary);
}

void mro_write_remove_unfinished(void)
{
    for (size_t i = 0; i < SLOTS; i++) {
        const char *temporary = atomic_exchange(&unfinished[i], NULL);
        if (temporary != NULL) unlink(temporary);
    }
}

static void forget(struct mro_write *w)
{
    free(w->path);
    drop(w->temporary);
    memset(w, 0, sizeof *w);
}

void mro_write_abort(struct mro_write *w)
{
    if (w == NULL) return;
    if (w->out) fclose(w->out);
    if (w->temporary) unlink(w->temporary);
    forget(w);
}

enum mro_code mro_write_begin(struct mro_write *w, const char *path, struct mro_error *e)
{
    static atomic_uint serial;
    enum mro_code rc = MRO_OK;
    struct stat st;
    int fd = -1;
    memset(w, 0, sizeof *w);
    /* rename would fail only at the end of the work. */
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return MRO_FAIL(e, MRO_EIO, "cannot write '%s': it is a directory", path);
    const char *slash = strrchr(path, '/');
    const size_t folder = slash ? (size_t)(slash - path) + 1 : 0, room = folder + 64;
    char *temporary = malloc(room);
    w->path = strdup(path);
    if (temporary == NULL || w->path == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "no memory to write '%s'", path);
        goto done;
    }
    /* The permissions are those of any new file, which mkstemp would not give. A name of its own for every
     * file and process; one left by a killed run is stepped over. */
    memcpy(temporary, path, folder);
    for (int tries = 0; tries < 1000 && fd < 0; tries++) {
        snprintf(temporary + folder, room - folder, ".mroscope-%ld-%u.tmp", (long)getpid(),
                 atomic_fetch_add(&serial, 1));
        fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST) break;
    }
    if (fd < 0) {
        rc = MRO_FAIL(e, MRO_EIO, "cannot write '%s': %s", path, strerror(errno));
        goto done;
    }
    w->temporary = temporary;
    temporary = NULL;
    note(w->temporary);
    w->out = fdopen(fd, "wb");
    if (w->out == NULL) {
        rc = MRO_FAIL(e, MRO_EIO, "cannot write '%s': %s", path, strerror(errno));
        close(fd);
    }
done:
    free(temporary);
    if (rc) mro_write_abort(w);
    return rc;
}

enum mro_code mro_write_commit(struct mro_write *w, struct mro_error *e)
{
    enum mro_code rc = MRO_OK;
    errno = 0;
    /* ferror knows of writes that failed earlier; their errno is gone unless this flush fails as well. */
    const bool failed = ferror(w->out) != 0, flushed = fflush(w->out) == 0;
    int reason = errno;
    if (fclose(w->out) != 0 && reason == 0) reason = errno;
    w->out = NULL;
    if (failed || !flushed || reason)
        rc = MRO_FAIL(e, MRO_EIO, "cannot write '%s': %s", w->path, reason ? strerror(reason) : "the disk may be full");
    else if (rename(w->temporary, w->path) != 0)
        rc = MRO_FAIL(e, MRO_EIO, "cannot write '%s': %s", w->path, strerror(errno));
    if (rc) {
        mro_write_abort(w);
        return rc;
    }
    forget(w);
    return MRO_OK;
}

/* Writes and, when that fails, says why while errno still knows. */
static enum mro_code put(struct mro_write *w, const void *bytes, size_t size, struct mro_error *e)
{
    if (size == 0 || fwrite(bytes, 1, size, w->out) == size) return MRO_OK;
    return MRO_FAIL(e, MRO_EIO, "cannot write '%s': %s", w->path, strerror(errno));
}

enum mro_code mro_write_buffer(const char *path, const void *bytes, size_t size, struct mro_error *e)
{
    struct mro_write w;
    MRO_TRY(mro_write_begin(&w, path, e));
    const enum mro_code rc = put(&w, bytes, size, e);
    if (rc) {
        mro_write_abort(&w);
        return rc;
    }
    return mro_write_commit(&w, e);
}

/* ---------------------------------------------------------------- float TIFF for ImageJ */

/* By continued fractions. */
void mro_write_rational(double x, uint32_t *num, uint32_t *den)
{
    uint64_t p0 = 0, q0 = 1, p1 = 1, q1 = 0;
    double rest = x;
    for (int i = 0; i < 40; i++) {
        const double whole = floor(rest);
        if (!(whole < 4294967296.0)) break;
        const uint64_t a = (uint64_t)whole, p2 = a * p1 + p0, q2 = a * q1 + q0;
        if (p2 > UINT32_MAX || q2 > UINT32_MAX) break;
        p0 = p1, q0 = q1, p1 = p2, q1 = q2;
        if (rest - whole < 1e-12 || (double)p1 / (double)q1 == x) break;
        rest = 1 / (rest - whole);
    }
    if (q1 == 0 || p1 == 0) { /* beyond what a fraction of 32-bit numbers can say */
        p1 = x > 1 ? UINT32_MAX : 1;
        q1 = x > 1 ? 1 : UINT32_MAX;
    }
    *num = (uint32_t)p1;
    *den = (uint32_t)q1;
}

/* ImageJ keeps units in its description with Java's escapes for what is not ASCII. */
static void append_unit(char *text, size_t room, const char *key, const struct mro_axis *a)
{
    size_t n = strlen(text);
    const char *unit = a->step > 0 ? mro_unit_name(a->unit) : "pixel";
    if (a->step > 0 && a->unit == MRO_UNIT_OTHER) unit = a->unit_text;
    n += (size_t)snprintf(text + n, room - n, "%s=", key);
    for (const unsigned char *u = (const unsigned char *)unit; *u && n + 8 < room; u++) {
        if (*u >= 0xc2 && *u < 0xe0 && (u[1] & 0xc0) == 0x80) {
            n += (size_t)snprintf(text + n, room - n, "\\u%04X", (*u & 0x1fu) << 6 | (u[1] & 0x3fu));
            u++;
        } else if (*u >= 0xe0 && *u < 0xf0 && (u[1] & 0xc0) == 0x80 && (u[2] & 0xc0) == 0x80) {
            n += (size_t)snprintf(text + n, room - n, "\\u%04X",
                                  (*u & 0x0fu) << 12 | (u[1] & 0x3fu) << 6 | (u[2] & 0x3fu));
            u += 2;
        } else {
            text[n++] = *u >= 0x20 && *u < 0x7f ? (char)*u : '?';
        }
    }
    snprintf(text + n, room - n, "\n");
}

static void describe(const struct mro_image *im, char *text, size_t room)
{
    const struct mro_axis *y = &im->axis[0], *x = &im->axis[1];
    float low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < im->nx * im->ny; i++) {
        if (im->px[i] < low) low = im->px[i];
        if (im->px[i] > high) high = im->px[i];
    }
    snprintf(text, room, "ImageJ=1.53t\nimages=1\n");
    if (x->step > 0 || y->step > 0) append_unit(text, room, "unit", x);
    if ((x->step > 0) != (y->step > 0) ||
        ((x->step > 0) && (x->unit != y->unit || strcmp(x->unit_text, y->unit_text) != 0)))
        append_unit(text, room, "yunit", y);
    size_t n = strlen(text);
    /* The origin counts pixels to where the coordinate is 0. */
    if (x->step > 0 && x->offset != 0)
        n += (size_t)snprintf(text + n, room - n, "xorigin=%.17g\n", -x->offset / x->step);
    if (y->step > 0 && y->offset != 0)
        n += (size_t)snprintf(text + n, room - n, "yorigin=%.17g\n", -y->offset / y->step);
    if (low <= high && isfinite(low) && isfinite(high))
        snprintf(text + n, room - n, "loop=false\nmin=%.9g\nmax=%.9g\n", low, high);
    else
        snprintf(text + n, room - n, "loop=false\n");
}

/* One directory entry; values of up to 4 bytes sit in it, left-justified. */
static unsigned char *entry(unsigned char *p, uint16_t tag, uint16_t type, uint32_t count, uint32_t value)
{
    memcpy(p, &tag, 2);
    memcpy(p + 2, &type, 2);
    memcpy(p + 4, &count, 4);
    if (type == 3) {
        const uint16_t v = (uint16_t)value;
        memset(p + 8, 0, 4);
        memcpy(p + 8, &v, 2);
    } else {
        memcpy(p + 8, &value, 4);
    }
    return p + 12;
}

enum mro_code mro_write_tiff(const char *path, const struct mro_image *im, struct mro_error *e)
{
    enum { SHORT = 3, LONG = 4, ASCII = 2, RATIONAL = 5, ENTRIES = 14, IFD = 8 };
    const bool big = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
    char text[512];
    struct mro_write w = { 0 };
    if (im->px == NULL || im->nx == 0 || im->ny == 0)
        return MRO_FAIL(e, MRO_EARG, "there are no pixels to write to '%s'", path);
    /* ImageJ and most programs read only classic TIFF, whose offsets have 32 bits. */
    if (im->nx > (UINT32_MAX - 4096) / sizeof(float) / im->ny)
        return MRO_FAIL(e, MRO_EARG, "an image of %zu x %zu pixels is too large for the TIFF file '%s' (4 GiB)", im->nx,
                        im->ny, path);
    describe(im, text, sizeof text);

    /* Header, directory, two rationals, description, pixels on a boundary of 16 bytes. */
    const uint32_t text_bytes = (uint32_t)strlen(text) + 1, rationals = IFD + 2 + ENTRIES * 12 + 4;
    const uint32_t text_at = rationals + 16, pixels_at = (text_at + text_bytes + 15) / 16 * 16;
    const uint32_t bytes = (uint32_t)(im->nx * im->ny * sizeof(float));
    unsigned char head[1024] = { 0 };
    const uint16_t magic = 42, n_entries = ENTRIES;
    const uint32_t ifd = IFD;
    uint32_t r[4];
    for (int i = 0; i < 2; i++) {
        const struct mro_axis *a = &im->axis[1 - i];
        mro_write_rational(a->step > 0 ? 1 / a->step : 1, &r[2 * i], &r[2 * i + 1]);
    }
    memcpy(head, big ? "MM" : "II", 2);
    memcpy(head + 2, &magic, 2);
    memcpy(head + 4, &ifd, 4);
    memcpy(head + IFD, &n_entries, 2);
    unsigned char *p = head + IFD + 2;
    p = entry(p, 256, LONG, 1, (uint32_t)im->nx);  /* ImageWidth */
    p = entry(p, 257, LONG, 1, (uint32_t)im->ny);  /* ImageLength */
    p = entry(p, 258, SHORT, 1, 32);               /* BitsPerSample */
    p = entry(p, 259, SHORT, 1, 1);                /* Compression: none */
    p = entry(p, 262, SHORT, 1, 1);                /* PhotometricInterpretation: 0 is black */
    p = entry(p, 270, ASCII, text_bytes, text_at); /* ImageDescription */
    p = entry(p, 273, LONG, 1, pixels_at);         /* StripOffsets */
    p = entry(p, 277, SHORT, 1, 1);                /* SamplesPerPixel */
    p = entry(p, 278, LONG, 1, (uint32_t)im->ny);  /* RowsPerStrip */
    p = entry(p, 279, LONG, 1, bytes);             /* StripByteCounts */
    p = entry(p, 282, RATIONAL, 1, rationals);     /* XResolution: pixels per unit */
    p = entry(p, 283, RATIONAL, 1, rationals + 8); /* YResolution */
    p = entry(p, 296, SHORT, 1, 1);                /* ResolutionUnit: none, the description has it */
    entry(p, 339, SHORT, 1, 3);                    /* SampleFormat: IEEE float */
    memcpy(head + rationals, r, sizeof r);
    memcpy(head + text_at, text, text_bytes);

    enum mro_code rc = mro_write_begin(&w, path, e);
    if (rc) goto done;
    if ((rc = put(&w, head, pixels_at, e)) != MRO_OK || (rc = put(&w, im->px, bytes, e)) != MRO_OK) goto done;
    rc = mro_write_commit(&w, e);
done:
    mro_write_abort(&w);
    return rc;
}
