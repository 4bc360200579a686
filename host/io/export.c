/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/export.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "io/write.h"

/* A buffer that grows; one failure spoils it. */
struct bytes {
    unsigned char *p;
    size_t n, room;
    bool failed;
};

static void add(struct bytes *b, const void *p, size_t n)
{
    if (b->failed) return;
    if (b->n + n > b->room) {
        const size_t room = 2 * (b->n + n) + 1024;
        unsigned char *grown = realloc(b->p, room);
        if (grown == NULL) {
            b->failed = true;
            return;
        }
        b->p = grown;
        b->room = room;
    }
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

static void pad(struct bytes *b, size_t to)
{
    static const unsigned char zeros[16];
    while (b->n % to && !b->failed) add(b, zeros, 1);
}

__attribute__((format(printf, 2, 3))) static void say(struct bytes *b, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    add(b, line, n < (int)sizeof line ? (size_t)n : sizeof line - 1);
}

/* ---------------------------------------------------------------- texts */

/* A value on one line. */
static void say_text(struct bytes *b, const char *key, const char *value)
{
    if (value[0]) say(b, "%s=%s\n", key, value);
}

static void say_number(struct bytes *b, const char *key, double v)
{
    if (v > 0) say(b, "%s=%.17g\n", key, v);
}

/* What is known of the image beside its scale; keys name their unit. */
static void say_known(struct bytes *b, const struct mro_export *x)
{
    const struct mro_image_info *i = x->info;
    say_text(b, "title", i->title);
    if (i->kind != MRO_KIND_IMAGE) say_text(b, "kind", mro_kind_name(i->kind));
    say_number(b, "beam_kv", i->beam_kv);
    say_number(b, "magnification", i->magnification);
    say_number(b, "camera_length_mm", i->camera_length_mm);
    say_number(b, "binning_y", i->binning[0]);
    say_number(b, "binning_x", i->binning[1]);
    if (isfinite(i->stage_tilt_deg[0])) say(b, "stage_alpha_deg=%.17g\n", i->stage_tilt_deg[0]);
    if (isfinite(i->stage_tilt_deg[1])) say(b, "stage_beta_deg=%.17g\n", i->stage_tilt_deg[1]);
    say_text(b, "instrument", i->instrument);
    say_text(b, "detector", i->detector);
    say_text(b, "date", i->date);
    if (i->value_scale != 0) {
        say(b, "value_scale=%.17g\nvalue_offset=%.17g\n", i->value_scale, i->value_offset);
        say_text(b, "value_unit", i->value_unit);
    }
    if (x->notes) add(b, x->notes, strlen(x->notes));
}

static const char *unit_of(const struct mro_axis *a)
{
    if (!(a->step > 0)) return "pixel";
    return a->unit == MRO_UNIT_OTHER ? a->unit_text : mro_unit_name(a->unit);
}

/* Next code point of valid or invalid UTF-8; a byte that is none stands for itself. */
static uint32_t next_code(const unsigned char **p)
{
    const unsigned char *s = *p;
    const int more = *s >= 0xc2 && *s < 0xe0 ? 1 : *s >= 0xe0 && *s < 0xf0 ? 2 : *s >= 0xf0 && *s < 0xf5 ? 3 : 0;
    uint32_t code = more == 0 ? *s : *s & (0x3fu >> more);
    for (int i = 1; i <= more; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            *p = s + 1;
            return *s;
        }
        code = code << 6 | (s[i] & 0x3f);
    }
    *p = s + 1 + more;
    return code;
}

/* ImageJ writes what is not ASCII with Java's escapes. */
static void say_escaped(struct bytes *b, const char *key, const char *value)
{
    say(b, "%s=", key);
    for (const unsigned char *p = (const unsigned char *)value; *p;) {
        const uint32_t code = next_code(&p);
        if (code >= 0x20 && code < 0x7f)
            say(b, "%c", (char)code);
        else if (code > 0x7f && code <= 0xffff)
            say(b, "\\u%04X", code);
        else
            say(b, "?");
    }
    say(b, "\n");
}

static bool both_calibrated(const struct mro_axis *a) { return a[0].step > 0 && a[1].step > 0; }

/* The axes before y and x: frames (time), slices, channels, as ImageJ counts them, slowest first. */
static void say_stack(struct bytes *b, const struct mro_export *x)
{
    const struct mro_image_info *i = x->info;
    const size_t leading = i->axes > 2 ? i->axes - 2 : 0;
    if (x->frames < 2) return;
    if (leading > 3 || leading == 0) {
        say(b, "slices=%zu\n", x->frames);
        return;
    }
    const struct mro_axis *time = NULL, *slice = NULL, *channel = NULL;
    if (leading == 1) {
        if (i->axis[0].unit == MRO_UNIT_S)
            time = &i->axis[0];
        else
            slice = &i->axis[0];
    } else {
        time = &i->axis[0];
        slice = &i->axis[1];
        channel = leading == 3 ? &i->axis[2] : NULL;
    }
    if (channel) say(b, "channels=%zu\n", channel->size);
    if (slice) say(b, "slices=%zu\n", slice->size);
    if (time) say(b, "frames=%zu\n", time->size);
    if (leading > 1) say(b, "hyperstack=true\nmode=grayscale\n");
    if (time && time->unit == MRO_UNIT_S && time->step > 0) say(b, "finterval=%.17g\n", time->step);
    if (slice && slice->step > 0) {
        say(b, "spacing=%.17g\n", slice->step);
        say_escaped(b, "zunit", unit_of(slice));
    }
}

static void describe(struct bytes *b, const struct mro_export *x, const struct mro_axis *yx)
{
    const struct mro_axis *ay = &yx[0], *ax = &yx[1];
    say(b, "ImageJ=1.53t\nimages=%zu\n", x->frames);
    say_stack(b, x);
    if (ax->step > 0 || ay->step > 0) say_escaped(b, "unit", unit_of(ax));
    if (strcmp(unit_of(ax), unit_of(ay)) != 0) say_escaped(b, "yunit", unit_of(ay));
    /* The origin counts pixels to where the coordinate is 0. */
    if (ax->step > 0 && ax->offset != 0) say(b, "xorigin=%.17g\n", -ax->offset / ax->step);
    if (ay->step > 0 && ay->offset != 0) say(b, "yorigin=%.17g\n", -ay->offset / ay->step);
    say(b, "loop=false\n");
    if (x->shown[0] < x->shown[1]) say(b, "min=%.9g\nmax=%.9g\n", x->shown[0], x->shown[1]);
    say_known(b, x);
    add(b, "", 1);
}

/* ImageJ's info text: UTF-16 in the order of the file. */
static void inform(struct bytes *b, const struct mro_export *x)
{
    struct bytes text = { 0 };
    say_known(&text, x);
    add(&text, "", 1);
    if (text.failed) b->failed = true;
    for (const unsigned char *p = text.p; !b->failed && *p;) {
        const uint32_t code = next_code(&p);
        const uint16_t pair[2] = { (uint16_t)(0xd800 + ((code - 0x10000) >> 10)), (uint16_t)(0xdc00 + (code & 0x3ff)) };
        const uint16_t one = (uint16_t)code;
        if (code >= 0x10000)
            add(b, pair, sizeof pair);
        else
            add(b, &one, sizeof one);
    }
    free(text.p);
}

/* ---------------------------------------------------------------- TIFF */

enum { BYTE = 1, ASCII, SHORT, LONG, RATIONAL, DOUBLE = 12, LONG8 = 16 };

struct entry {
    uint16_t tag, type;
    uint64_t count;
    const void *values; /* in the machine's order */
    uint64_t at;        /* in the file, when they do not fit into the entry */
};

static size_t type_size(uint16_t type)
{
    switch (type) {
    case SHORT: return 2;
    case LONG: return 4;
    case RATIONAL:
    case DOUBLE:
    case LONG8: return 8;
    default: return 1;
    }
}

static size_t inside(bool big) { return big ? 8 : 4; }

/* Puts values that do not fit into their entries into `b`, which begins at byte `base` of the file. */
static void place(struct entry *entries, size_t n, bool big, uint64_t base, struct bytes *b)
{
    for (size_t i = 0; i < n; i++) {
        const size_t size = type_size(entries[i].type) * entries[i].count;
        if (size <= inside(big)) continue;
        pad(b, 8);
        entries[i].at = base + b->n;
        add(b, entries[i].values, size);
    }
    pad(b, 16);
}

static void directory(const struct entry *entries, size_t n, bool big, uint64_t next, struct bytes *b)
{
    const uint64_t n64 = n;
    const uint16_t n16 = (uint16_t)n;
    add(b, big ? (const void *)&n64 : &n16, big ? 8 : 2);
    for (size_t i = 0; i < n; i++) {
        const struct entry *t = &entries[i];
        const size_t size = type_size(t->type) * t->count;
        const uint32_t count = (uint32_t)t->count, at = (uint32_t)t->at;
        unsigned char value[8] = { 0 };
        if (size <= inside(big))
            memcpy(value, t->values, size);
        else if (big)
            memcpy(value, &t->at, 8);
        else
            memcpy(value, &at, 4);
        add(b, &t->tag, 2);
        add(b, &t->type, 2);
        add(b, big ? (const void *)&t->count : &count, inside(big));
        add(b, value, inside(big));
    }
    const uint32_t next32 = (uint32_t)next;
    add(b, big ? (const void *)&next : &next32, inside(big));
}

static size_t directory_bytes(size_t n, bool big) { return big ? 8 + 20 * n + 8 : 2 + 12 * n + 4; }

struct samples {
    uint16_t each, bits[4], format[4], photometric;
};

static struct samples samples_of(enum mro_dtype dtype)
{
    struct samples s = { .each = 1, .photometric = 1 };
    uint16_t format = 1;
    size_t bytes = mro_dtype_size(dtype);
    switch (dtype) {
    case MRO_I8:
    case MRO_I16:
    case MRO_I32:
    case MRO_I64: format = 2; break;
    case MRO_F16:
    case MRO_F32:
    case MRO_F64: format = 3; break;
    case MRO_C64:
    case MRO_C128: format = 6; break;
    case MRO_RGB8:
    case MRO_RGB16: s.each = 3; break;
    case MRO_RGBA8:
    case MRO_RGBA16: s.each = 4; break;
    default: break;
    }
    if (s.each > 1) s.photometric = 2;
    for (int i = 0; i < 4; i++) {
        s.bits[i] = (uint16_t)(8 * bytes / s.each);
        s.format[i] = format;
    }
    return s;
}

/* "2015-07-30T07:17:25" as TIFF writes it; "" when it is not of that form. */
static void tiff_date(const char *date, char out[20])
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd";
    out[0] = '\0';
    for (size_t i = 0; form[i]; i++) {
        const char c = date[i];
        if (form[i] == 'd' ? !(c >= '0' && c <= '9') : form[i] == 'T' ? c != 'T' && c != ' ' : c != form[i]) return;
    }
    memcpy(out, date, 19);
    out[4] = out[7] = ':';
    out[10] = ' ';
    out[19] = '\0';
}

static bool is_ascii(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s >= 0x80) return false;
    return true;
}

struct layout {
    size_t ny, nx, frame_bytes;
    struct mro_axis yx[2];
};

static enum mro_code lay_out(const char *path, const struct mro_export *x, struct layout *l, struct mro_error *e)
{
    const struct mro_image_info *i = x->info;
    l->nx = i->axis[i->axes - 1].size;
    l->ny = i->axes > 1 ? i->axis[i->axes - 2].size : 1;
    l->yx[1] = i->axis[i->axes - 1];
    l->yx[0] = i->axes > 1 ? i->axis[i->axes - 2] : (struct mro_axis){ .size = 1 };
    if (l->nx == 0 || l->ny == 0 || x->frames == 0)
        return MRO_FAIL(e, MRO_EARG, "there are no pixels to write to '%s'", path);
    if (l->nx > UINT32_MAX || l->ny > UINT32_MAX ||
        __builtin_mul_overflow(l->nx * mro_dtype_size(i->dtype), l->ny, &l->frame_bytes))
        return MRO_FAIL(e, MRO_EARG, "frames of %zu x %zu pixels are too large to write to '%s'", l->nx, l->ny, path);
    return MRO_OK;
}

static enum mro_code put_frames(struct mro_write *w, const struct mro_export *x, const struct layout *l,
                                struct mro_error *e)
{
    const void *pixels;
    for (size_t i = 0; i < x->frames; i++) {
        MRO_TRY(x->next(x->context, &pixels, e));
        MRO_TRY(mro_write_put(w, pixels, l->frame_bytes, e));
    }
    return MRO_OK;
}

enum mro_code mro_export_tiff(const char *path, const struct mro_export *x, struct mro_error *e)
{
    const bool machine_big = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
    struct layout l;
    struct mro_write w = { 0 };
    struct bytes text = { 0 }, info = { 0 }, head = { 0 }, pages = { 0 };
    enum mro_code rc = lay_out(path, x, &l, e);
    if (rc) return rc;
    describe(&text, x, l.yx);
    /* The block of ImageJ's metadata: its mark, one entry of type info, the text. */
    const uint32_t mark[3] = { 0x494a494a, 0x696e666f, 1 };
    add(&info, mark, sizeof mark);
    inform(&info, x);
    uint64_t all;
    if (text.failed || info.failed || __builtin_mul_overflow((uint64_t)l.frame_bytes, (uint64_t)x->frames, &all)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "no memory to write '%s'", path);
        goto done;
    }
    /* Pages take some 250 bytes each at the end. */
    const bool big =
        all > UINT32_MAX - text.n - 2 * info.n - 4096 || x->frames > (UINT32_MAX - all - text.n - info.n - 4096) / 512;

    const struct samples s = samples_of(x->info->dtype);
    const uint32_t nx = (uint32_t)l.nx, ny = (uint32_t)l.ny, subfile = 0;
    const uint16_t one = 1, unassociated = 2;
    uint64_t strip_bytes = l.frame_bytes, strip_at = 0;
    uint32_t strip_bytes32 = (uint32_t)strip_bytes, strip_at32 = 0;
    uint32_t resolution[4];
    for (int i = 0; i < 2; i++) {
        const struct mro_axis *a = &l.yx[1 - i];
        mro_write_rational(a->step > 0 ? 1 / a->step : 1, &resolution[2 * i], &resolution[2 * i + 1]);
    }
    const char program[] = "mroscope";
    char date[20];
    tiff_date(x->info->date, date);
    const uint32_t counts[2] = { 12, (uint32_t)(info.n - 12) };
    const double *offset[2] = { &l.yx[1].offset, &l.yx[0].offset }, *step[2] = { &l.yx[1].step, &l.yx[0].step };
    const char *unit[2] = { unit_of(&l.yx[1]), unit_of(&l.yx[0]) };
    const bool dm = both_calibrated(l.yx) && is_ascii(unit[0]) && is_ascii(unit[1]);

    struct entry t[32];
    size_t n = 0;
    const uint16_t strip_type = big ? LONG8 : LONG;
    t[n++] = (struct entry){ 254, LONG, 1, &subfile, 0 };
    t[n++] = (struct entry){ 256, LONG, 1, &nx, 0 };
    t[n++] = (struct entry){ 257, LONG, 1, &ny, 0 };
    t[n++] = (struct entry){ 258, SHORT, s.each, s.bits, 0 };
    t[n++] = (struct entry){ 259, SHORT, 1, &one, 0 };
    t[n++] = (struct entry){ 262, SHORT, 1, &s.photometric, 0 };
    t[n++] = (struct entry){ 273, strip_type, 1, big ? (const void *)&strip_at : &strip_at32, 0 };
    t[n++] = (struct entry){ 277, SHORT, 1, &s.each, 0 };
    t[n++] = (struct entry){ 278, LONG, 1, &ny, 0 };
    t[n++] = (struct entry){ 279, strip_type, 1, big ? (const void *)&strip_bytes : &strip_bytes32, 0 };
    t[n++] = (struct entry){ 282, RATIONAL, 1, &resolution[0], 0 };
    t[n++] = (struct entry){ 283, RATIONAL, 1, &resolution[2], 0 };
    t[n++] = (struct entry){ 284, SHORT, 1, &one, 0 };
    t[n++] = (struct entry){ 296, SHORT, 1, &one, 0 }; /* no unit: the description has it */
    if (s.each == 4) t[n++] = (struct entry){ 338, SHORT, 1, &unassociated, 0 };
    t[n++] = (struct entry){ 339, SHORT, s.each, s.format, 0 };
    /* The first page has these as well, in the order of their tags. */
    struct entry f[48];
    size_t m = 0, k = 0;
    while (k < n && t[k].tag < 270) f[m++] = t[k++];
    f[m++] = (struct entry){ 270, ASCII, text.n, text.p, 0 };
    while (k < n && t[k].tag < 305) f[m++] = t[k++];
    f[m++] = (struct entry){ 305, ASCII, sizeof program, program, 0 };
    if (date[0]) f[m++] = (struct entry){ 306, ASCII, 20, date, 0 };
    while (k < n) f[m++] = t[k++];
    if (info.n > 12) {
        f[m++] = (struct entry){ 50838, LONG, 2, counts, 0 };
        f[m++] = (struct entry){ 50839, BYTE, info.n, info.p, 0 };
    }
    for (uint16_t i = 0; dm && i < 2; i++)
        f[m++] = (struct entry){ (uint16_t)(65003 + i), ASCII, strlen(unit[i]) + 1, unit[i], 0 };
    for (uint16_t i = 0; dm && i < 2; i++) f[m++] = (struct entry){ (uint16_t)(65006 + i), DOUBLE, 1, offset[i], 0 };
    for (uint16_t i = 0; dm && i < 2; i++) f[m++] = (struct entry){ (uint16_t)(65009 + i), DOUBLE, 1, step[i], 0 };

    /* Header, values, pixels, directories; those after the first share its values. */
    const uint16_t magic = big ? 43 : 42, offsets[2] = { 8, 0 };
    add(&head, machine_big ? "MM" : "II", 2);
    add(&head, &magic, 2);
    if (big) add(&head, offsets, 4);
    const size_t link_at = head.n;
    add(&head, "\0\0\0\0\0\0\0", inside(big));
    place(f, m, big, 0, &head);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m; j++)
            if (t[i].tag == f[j].tag) t[i].at = f[j].at;
    const uint64_t pixels_at = head.n, first = (pixels_at + all + 15) / 16 * 16;
    const uint32_t first32 = (uint32_t)first;
    if (head.failed) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "no memory to write '%s'", path);
        goto done;
    }
    memcpy(head.p + link_at, big ? (const void *)&first : &first32, inside(big));

    rc = mro_write_begin(&w, path, e);
    if (rc) goto done;
    if ((rc = mro_write_put(&w, head.p, head.n, e)) != MRO_OK || (rc = put_frames(&w, x, &l, e)) != MRO_OK ||
        (rc = mro_write_put(&w, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", (size_t)(first - pixels_at - all), e)) != MRO_OK)
        goto done;
    uint64_t at = first;
    for (size_t i = 0; i < x->frames; i++) {
        const size_t size = (directory_bytes(i ? n : m, big) + 15) / 16 * 16;
        strip_at = pixels_at + i * strip_bytes;
        strip_at32 = (uint32_t)strip_at;
        at += size;
        pages.n = 0;
        directory(i ? t : f, i ? n : m, big, i + 1 < x->frames ? at : 0, &pages);
        pad(&pages, 16);
        if (pages.failed) {
            rc = MRO_FAIL(e, MRO_EMEMORY, "no memory to write '%s'", path);
            goto done;
        }
        if ((rc = mro_write_put(&w, pages.p, pages.n, e)) != MRO_OK) goto done;
    }
    rc = mro_write_commit(&w, e);
done:
    mro_write_abort(&w);
    free(text.p);
    free(info.p);
    free(head.p);
    free(pages.p);
    return rc;
}

static enum mro_code only_frame(void *context, const void **pixels, struct mro_error *e)
{
    (void)e;
    *pixels = ((const struct mro_image *)context)->px;
    return MRO_OK;
}

enum mro_code mro_write_tiff(const char *path, const struct mro_image *im, struct mro_error *e)
{
    struct mro_image copy = *im;
    struct mro_image_info info = { .dtype = MRO_F32, .axes = 2, .stage_tilt_deg = { NAN, NAN } };
    struct mro_export x = {
        .info = &info, .frames = 1, .shown = { INFINITY, -INFINITY }, .next = only_frame, .context = &copy
    };
    memcpy(info.axis, im->axis, sizeof im->axis);
    info.axis[0].size = im->px ? im->ny : 0;
    info.axis[1].size = im->nx;
    float least = INFINITY, most = -INFINITY;
    const size_t n = im->px ? im->nx * im->ny : 0;
#pragma omp simd reduction(min : least) reduction(max : most)
    for (size_t i = 0; i < n; i++) {
        const float v = im->px[i];
        least = fabsf(v) < INFINITY && v < least ? v : least; /* never a NaN */
        most = fabsf(v) < INFINITY && v > most ? v : most;
    }
    x.shown[0] = (double)least;
    x.shown[1] = (double)most;
    return mro_export_tiff(path, &x, e);
}

/* ---------------------------------------------------------------- MRC */

static bool mrc_mode(enum mro_dtype dtype, int32_t *mode)
{
    switch (dtype) {
    case MRO_I8:
    case MRO_U8: *mode = 0; return true;
    case MRO_I16: *mode = 1; return true;
    case MRO_F32: *mode = 2; return true;
    case MRO_C64: *mode = 4; return true;
    case MRO_U16: *mode = 6; return true;
    case MRO_F16: *mode = 12; return true;
    default: return false;
    }
}

static bool is_length(const struct mro_axis *a) { return a->step > 0 && a->unit == MRO_UNIT_NM; }

bool mro_export_mrc_holds_scale(const struct mro_image_info *info)
{
    const struct mro_axis *x = &info->axis[info->axes - 1];
    if (info->axes < 2) return !(x->step > 0);
    return (is_length(x) && is_length(x - 1)) || (!(x->step > 0) && !(x[-1].step > 0));
}

enum mro_code mro_export_mrc(const char *path, const struct mro_export *x, struct mro_error *e)
{
    enum { HEADER = 1024 };
    const struct mro_image_info *info = x->info;
    const bool big = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
    unsigned char head[HEADER] = { 0 };
    struct mro_write w = { 0 };
    struct layout l;
    int32_t mode;
    enum mro_code rc = lay_out(path, x, &l, e);
    if (rc) return rc;
    if (!mrc_mode(info->dtype, &mode))
        return MRO_FAIL(e, MRO_EARG, "MRC has no mode for %s pixels, so '%s' cannot be written; use `to=tiff`",
                        mro_dtype_name(info->dtype), path);
    if (l.nx > INT32_MAX || l.ny > INT32_MAX || x->frames > INT32_MAX)
        return MRO_FAIL(e, MRO_EARG, "%zu frames of %zu x %zu pixels are too many for the MRC file '%s'", x->frames,
                        l.nx, l.ny, path);
    /* Words are counted from 1 in the format's definition. Images of a stack are no volume: MZ is 1. */
    const int32_t shape[4] = { (int32_t)l.nx, (int32_t)l.ny, (int32_t)x->frames, mode };
    const int32_t sampling[3] = { (int32_t)l.nx, (int32_t)l.ny, 1 };
    const bool scaled = is_length(&l.yx[0]) && is_length(&l.yx[1]);
    const float cell[6] = { scaled ? (float)(10 * l.yx[1].step * (double)l.nx) : 0,
                            scaled ? (float)(10 * l.yx[0].step * (double)l.ny) : 0,
                            scaled ? (float)(10 * l.yx[1].step) : 0,
                            90,
                            90,
                            90 };
    const int32_t axes[3] = { 1, 2, 3 }, version = 20140, labels = 1, stamp = 1146047817,
                  signed_bytes = info->dtype == MRO_I8;
    const float unknown[3] = { 0, -1, -2 }, no_rms = -1; /* in this order they say that they were not determined */
    memcpy(head, shape, 16);
    memcpy(head + 28, sampling, 12);
    memcpy(head + 40, cell, 24);
    memcpy(head + 64, axes, 12);
    memcpy(head + 76, unknown, 12);
    memcpy(head + 108, &version, 4);
    if (mode == 0) {
        memcpy(head + 152, &stamp, 4);
        memcpy(head + 156, &signed_bytes, 4);
    }
    memcpy(head + 208, "MAP ", 4);
    memcpy(head + 212, big ? "\x11\x11" : "\x44\x44", 2);
    memcpy(head + 216, &no_rms, 4);
    memcpy(head + 220, &labels, 4);
    memset(head + 224, ' ', 80);
    memcpy(head + 224, "mroscope convert", 16);
    rc = mro_write_begin(&w, path, e);
    if (rc) goto done;
    if ((rc = mro_write_put(&w, head, HEADER, e)) != MRO_OK || (rc = put_frames(&w, x, &l, e)) != MRO_OK) goto done;
    rc = mro_write_commit(&w, e);
done:
    mro_write_abort(&w);
    return rc;
}
