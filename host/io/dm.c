/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Gatan DigitalMicrograph files, DM3 and DM4.
 *
 * A file is a version, a length, a byte-order flag and one group of tags. A tag is a byte (20 group, 21 data), a name
 * and, in DM4, its length; a group is two flag bytes and a count; data is "%%%%", a type description and the value.
 * Sizes and descriptions are big-endian always, values in the order of the flag. DM4 is DM3 with 64-bit counts. Layout
 * after the description of C. Boothroyd (DM3/DM4 file format, ER-C Juelich) and of G. Jefferis (ImageJ, DM3Format).
 *
 * The tags are walked once, without recursion, into a flat list of small nodes that point back into the file: no count
 * is believed before the bytes for it have been seen, and pixel arrays are never copied. The list is dropped after
 * opening.
 */
#include "io/dm.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/text.h"

/* Real files nest about ten deep and hold some hundred to some ten thousand tags. */
#define MAX_DEPTH 64
#define MAX_NODES ((size_t)1 << 20)
#define MAX_IMAGES 4096

enum { TAG_GROUP = 20, TAG_DATA = 21 };
enum {
    T_GROUP = 0, /* our own mark */
    T_I16 = 2,
    T_I32,
    T_U16,
    T_U32,
    T_F32,
    T_F64,
    T_BOOL,
    T_CHAR,
    T_OCTET,
    T_I64,
    T_U64,
    T_STRUCT = 15,
    T_STRING = 18,
    T_ARRAY = 20
};
static const unsigned char simple_bytes[] = { 0, 0, 2, 4, 2, 4, 4, 8, 1, 1, 1, 8, 8 };

static bool is_simple(uint64_t type) { return type >= T_I16 && type <= T_U64; }

/* One tag. Links are indices into the list; 0 (the root) stands for none. */
struct node {
    uint32_t parent, first, last, next;
    const unsigned char *name; /* in the file, not terminated */
    size_t offset;             /* of the value in the file */
    size_t bytes;              /* of the value */
    uint16_t name_bytes;
    uint8_t type;    /* T_...; of the outermost level */
    uint8_t element; /* type of the elements of an array */
};

struct tree {
    struct mro_file *f;
    struct mro_bytes b;
    size_t pos;
    bool dm4, big; /* big: values are big-endian */
    struct node *node;
    size_t nodes, room;
};

/* ---- messages ---- */

/* Writes the path of a tag ("ImageList/1/ImageData/Data"); tags without a name are shown by their place. */
static void node_path(const struct tree *t, size_t i, char *out, size_t size)
{
    uint32_t chain[MAX_DEPTH + 1];
    size_t depth = 0, used = 0;
    for (; i != 0 && depth < MAX_DEPTH + 1; i = t->node[i].parent) chain[depth++] = (uint32_t)i;
    out[0] = '\0';
    while (depth-- > 0 && used + 1 < size) {
        /* cppcheck-suppress uninitvar ; depth counts what the loop above has set */
        const struct node *n = &t->node[chain[depth]];
        if (used > 0) out[used++] = '/';
        if (n->name_bytes == 0) {
            size_t place = 0;
            for (uint32_t s = t->node[n->parent].first; s != 0 && s != chain[depth]; s = t->node[s].next) place++;
            const int w = snprintf(out + used, size - used, "%zu", place);
            used += w > 0 ? (size_t)w : 0;
            if (used >= size) used = size - 1;
        } else {
            for (size_t k = 0; k < n->name_bytes && used + 1 < size; k++)
                out[used++] = n->name[k] >= 0x20 && n->name[k] < 0x7f ? (char)n->name[k] : '?';
        }
        out[used] = '\0';
    }
}

/* "'file': DM3 tag 'path' <what>". */
__attribute__((format(printf, 4, 5))) static enum mro_code broken(const struct tree *t, size_t node,
                                                                  struct mro_error *e, const char *format, ...)
{
    char what[256], path[160];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    const char *version = t->dm4 ? "DM4" : "DM3";
    if (node == 0) return MRO_FAIL(e, MRO_EFORMAT, "'%s': the %s root group %s", t->f->name, version, what);
    node_path(t, node, path, sizeof path);
    return MRO_FAIL(e, MRO_EFORMAT, "'%s': %s tag '%s' %s", t->f->name, version, path, what);
}

/* ---- walking the tags ---- */

static size_t left(const struct tree *t) { return t->b.size - t->pos; }

/* A count or type word of the descriptions: 4 bytes in DM3, 8 in DM4, big-endian. DM3 words are widened with their
 * sign, so that a negative count is negative in both. */
static int64_t word_at(const struct tree *t, size_t pos)
{
    if (t->dm4) return (int64_t)mro_get_u64(t->b.p + pos, true);
    return (int32_t)mro_get_u32(t->b.p + pos, true);
}

static size_t word_bytes(const struct tree *t) { return t->dm4 ? 8 : 4; }

static enum mro_code add_node(struct tree *t, size_t parent, size_t *index, struct mro_error *e)
{
    if (t->nodes >= MAX_NODES) return MRO_FAIL(e, MRO_EFORMAT, "'%s': holds more than %zu tags", t->f->name, MAX_NODES);
    if (t->nodes == t->room) {
        const size_t room = t->room ? 2 * t->room : 1024;
        struct node *grown = realloc(t->node, room * sizeof *grown);
        if (grown == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory for %zu tags", t->f->name, room);
        t->node = grown;
        t->room = room;
    }
    const size_t i = t->nodes++;
    memset(&t->node[i], 0, sizeof t->node[i]);
    t->node[i].parent = (uint32_t)parent;
    if (i > 0) {
        struct node *p = &t->node[parent];
        if (p->first == 0)
            p->first = (uint32_t)i;
        else
            t->node[p->last].next = (uint32_t)i;
        p->last = (uint32_t)i;
    }
    *index = i;
    return MRO_OK;
}

/* Reads a group header: its flags and the number of its tags. */
static enum mro_code read_group(struct tree *t, size_t node, uint64_t *tags, struct mro_error *e)
{
    const size_t head = 2 + word_bytes(t);
    if (left(t) < head)
        return broken(t, node, e, "is cut: its header of %zu bytes begins at byte %zu of %zu", head, t->pos, t->b.size);
    const int64_t n = word_at(t, t->pos + 2);
    t->pos += head;
    t->node[node].type = T_GROUP;
    if (n < 0) return broken(t, node, e, "says it holds %lld tags", (long long)n);
    /* The smallest tag is a kind, an empty name and (DM4) a length. */
    const size_t smallest = t->dm4 ? 11 : 3;
    if ((uint64_t)n > left(t) / smallest)
        return broken(t, node, e, "says it holds %lld tags, but only %zu bytes follow", (long long)n, left(t));
    *tags = (uint64_t)n;
    return MRO_OK;
}

/* Size of one value by its description, which is `n` words at `info`; `i` moves past what was used. */
static enum mro_code measure(const struct tree *t, size_t node, size_t info, uint64_t n, uint64_t *i, int depth,
                             uint64_t *bytes, struct mro_error *e)
{
    const size_t w = word_bytes(t);
    if (*i >= n) return broken(t, node, e, "has a type description that stops short");
    const uint64_t type = (uint64_t)word_at(t, info + (*i)++ * w);
    if (is_simple(type)) {
        *bytes = simple_bytes[type];
        return MRO_OK;
    }
    switch (type) {
    case T_STRUCT: {
        if (n - *i < 2) return broken(t, node, e, "has a struct description that stops short");
        const int64_t fields = word_at(t, info + (*i + 1) * w);
        *i += 2;
        if (fields < 0 || (uint64_t)fields > (n - *i) / 2)
            return broken(t, node, e, "is a struct of %lld fields, but describes %llu", (long long)fields,
                          (unsigned long long)((n - *i) / 2));
        uint64_t sum = 0;
        for (int64_t k = 0; k < fields; k++, *i += 2) {
            const uint64_t field = (uint64_t)word_at(t, info + (*i + 1) * w);
            if (!is_simple(field))
                return broken(t, node, e, "has a struct field of unknown type %llu", (unsigned long long)field);
            sum += simple_bytes[field];
        }
        *bytes = sum;
        return MRO_OK;
    }
    case T_STRING:
    case T_ARRAY: {
        uint64_t one = 1;
        if (type == T_ARRAY) {
            if (depth >= 3) return broken(t, node, e, "is an array nested deeper than 3 levels");
            enum mro_code c = measure(t, node, info, n, i, depth + 1, &one, e);
            if (c != MRO_OK) return c;
        }
        if (*i >= n) return broken(t, node, e, "has an array description that stops short");
        const int64_t count = word_at(t, info + (*i)++ * w);
        if (count < 0) return broken(t, node, e, "is an array of %lld values", (long long)count);
        if (__builtin_mul_overflow(one, (uint64_t)count, bytes))
            return broken(t, node, e, "is an array of %lld values, more than can be addressed", (long long)count);
        return MRO_OK;
    }
    default: return broken(t, node, e, "has the unknown data type %lld", (long long)type);
    }
}

static enum mro_code read_data(struct tree *t, size_t node, struct mro_error *e)
{
    const size_t w = word_bytes(t);
    if (left(t) < 4 + w) return broken(t, node, e, "is cut: its type begins at byte %zu of %zu", t->pos, t->b.size);
    if (memcmp(t->b.p + t->pos, "%%%%", 4) != 0)
        return broken(t, node, e, "has no type description at byte %zu", t->pos);
    const int64_t n = word_at(t, t->pos + 4);
    t->pos += 4 + w;
    if (n <= 0) return broken(t, node, e, "has a type description of %lld words", (long long)n);
    if ((uint64_t)n > left(t) / w)
        return broken(t, node, e, "has a type description of %lld words, but only %zu bytes follow", (long long)n,
                      left(t));
    const size_t info = t->pos;
    t->pos += (size_t)n * w;
    uint64_t used = 0, bytes = 0;
    MRO_TRY(measure(t, node, info, (uint64_t)n, &used, 0, &bytes, e));
    if (used != (uint64_t)n)
        return broken(t, node, e, "has a type description of %lld words where %llu fit", (long long)n,
                      (unsigned long long)used);
    if (bytes > left(t))
        return broken(t, node, e, "needs %llu bytes at byte %zu, but the file ends at byte %zu",
                      (unsigned long long)bytes, t->pos, t->b.size);
    struct node *v = &t->node[node];
    v->type = (uint8_t)word_at(t, info);
    v->element = v->type == T_ARRAY ? (uint8_t)word_at(t, info + w) : 0;
    v->offset = t->pos;
    v->bytes = (size_t)bytes;
    t->pos += (size_t)bytes;
    return MRO_OK;
}

static enum mro_code read_tags(struct tree *t, struct mro_error *e)
{
    struct {
        size_t node;
        uint64_t tags; /* still to come */
    } stack[MAX_DEPTH];
    size_t depth = 0, i;
    MRO_TRY(add_node(t, 0, &i, e));
    stack[0].node = i;
    MRO_TRY(read_group(t, i, &stack[0].tags, e));
    while (stack[0].tags > 0 || depth > 0) {
        if (stack[depth].tags == 0) {
            depth--;
            continue;
        }
        stack[depth].tags--;
        const size_t group = stack[depth].node;
        if (left(t) < 3)
            return broken(t, group, e, "is cut: a tag is missing at byte %zu, the end of the file", t->pos);
        const unsigned char *p = t->b.p + t->pos;
        const unsigned kind = p[0];
        const uint16_t name_bytes = mro_get_u16(p + 1, true);
        if (kind != TAG_GROUP && kind != TAG_DATA)
            return broken(t, group, e, "holds a tag of unknown kind %u at byte %zu", kind, t->pos);
        if (left(t) - 3 < name_bytes)
            return broken(t, group, e, "holds a tag with a name of %u bytes, but only %zu follow", name_bytes,
                          left(t) - 3);
        t->pos += 3 + (size_t)name_bytes;
        MRO_TRY(add_node(t, group, &i, e));
        t->node[i].name = p + 3;
        t->node[i].name_bytes = name_bytes;
        if (t->dm4) {
            if (left(t) < 8) return broken(t, i, e, "is cut: its length is missing at byte %zu", t->pos);
            const uint64_t length = mro_get_u64(t->b.p + t->pos, true);
            t->pos += 8;
            /* The counts say the same again and other programs fill this field carelessly, so it is only checked. */
            if (length > left(t))
                return broken(t, i, e, "says it is %llu bytes long, but only %zu follow: the file is cut or damaged",
                              (unsigned long long)length, left(t));
        }
        if (kind == TAG_DATA) {
            MRO_TRY(read_data(t, i, e));
            continue;
        }
        if (depth + 1 >= MAX_DEPTH)
            return MRO_FAIL(e, MRO_EFORMAT, "'%s': %s tag groups nest deeper than %d at byte %zu", t->f->name,
                            t->dm4 ? "DM4" : "DM3", MAX_DEPTH, t->pos);
        depth++;
        stack[depth].node = i;
        MRO_TRY(read_group(t, i, &stack[depth].tags, e));
    }
    return MRO_OK;
}

/* ---- looking tags up; node 0 = not found (or the root, where the search starts) ---- */

static size_t child(const struct tree *t, size_t group, const char *name, size_t bytes)
{
    for (uint32_t i = t->node[group].first; i != 0; i = t->node[i].next)
        if (t->node[i].name_bytes == bytes && memcmp(t->node[i].name, name, bytes) == 0) return i;
    return 0;
}

/* `path` is names with '/' between. */
static size_t find(const struct tree *t, size_t group, const char *path)
{
    while (true) {
        const size_t n = strcspn(path, "/");
        group = child(t, group, path, n);
        if (group == 0 || path[n] == '\0') return group;
        path += n + 1;
    }
}

static size_t child_at(const struct tree *t, size_t group, size_t place)
{
    uint32_t i = t->node[group].first;
    while (i != 0 && place-- > 0) i = t->node[i].next;
    return i;
}

/* The number of a simple type at `offset`; false when it is no simple type. */
static bool value(const struct tree *t, uint8_t type, size_t offset, double *out)
{
    const unsigned char *p = t->b.p + offset;
    switch (type) {
    case T_I16: *out = (int16_t)mro_get_u16(p, t->big); return true;
    case T_U16: *out = mro_get_u16(p, t->big); return true;
    case T_I32: *out = (int32_t)mro_get_u32(p, t->big); return true;
    case T_U32: *out = mro_get_u32(p, t->big); return true;
    case T_I64: *out = (double)(int64_t)mro_get_u64(p, t->big); return true;
    case T_U64: *out = (double)mro_get_u64(p, t->big); return true;
    case T_BOOL:
    case T_CHAR:
    case T_OCTET: *out = *p; return true;
    case T_F32: {
        const uint32_t bits = mro_get_u32(p, t->big);
        float v;
        memcpy(&v, &bits, sizeof v);
        *out = v;
        return true;
    }
    case T_F64: {
        const uint64_t bits = mro_get_u64(p, t->big);
        memcpy(out, &bits, sizeof *out);
        return true;
    }
    default: return false;
    }
}

/* The value of a plain number; false when the tag is missing or something else. */
static bool number(const struct tree *t, size_t node, double *out)
{
    return node != 0 && value(t, t->node[node].type, t->node[node].offset, out);
}

/* A number that counts something: whole and not negative, exact up to 2^53, beyond which no file reaches. */
static bool count(const struct tree *t, size_t node, uint64_t *out)
{
    double v;
    if (!number(t, node, &v) || !(v >= 0 && v <= 9007199254740992.0) || v != floor(v)) return false;
    *out = (uint64_t)v;
    return true;
}

static double positive(const struct tree *t, size_t node)
{
    double v;
    return number(t, node, &v) && isfinite(v) && v > 0 ? v : 0;
}

/* Text of a tag (UTF-16 in the order of the values) as UTF-8, cut between characters; "" when missing. */
static void text(const struct tree *t, size_t node, char *out, size_t size)
{
    const struct node *n = &t->node[node];
    const bool is_text = node != 0 && ((n->type == T_ARRAY && n->element == T_U16) || n->type == T_STRING);
    mro_text_copy_utf16(t->b.p + n->offset, is_text ? n->bytes : 0, t->big, out, size);
}

/* Two numbers: an array of a simple type, or a group. */
static bool pair(const struct tree *t, size_t node, double out[2])
{
    if (node == 0) return false;
    const struct node *n = &t->node[node];
    if (n->type == T_GROUP) return number(t, child_at(t, node, 0), &out[0]) && number(t, child_at(t, node, 1), &out[1]);
    if (n->type != T_ARRAY || !is_simple(n->element) || n->bytes < 2 * (size_t)simple_bytes[n->element]) return false;
    for (size_t i = 0; i < 2; i++)
        if (!value(t, n->element, n->offset + i * simple_bytes[n->element], &out[i])) return false;
    return true;
}

/* ---- pixels ---- */

/* How the pixels of a type lie in the file. */
enum layout {
    PLAIN,  /* samples one after the other */
    COLOUR, /* one 32-bit word per pixel, 0xAARRGGBB */
    HALF,   /* half plane of a Fourier transform, ny rows of nx/2 + 1 complex numbers, kx = 0 first */
    PACKED  /* the same in nx * ny real numbers: the kx = Nyquist column is folded into the kx = 0 column */
};

static const struct pixel_type {
    unsigned code; /* DataType */
    enum mro_dtype dtype;
    enum layout layout;
    unsigned char sample_bytes, samples; /* stored */
} pixel_types[] = {
    { 1, MRO_I16, PLAIN, 2, 1 },   { 2, MRO_F32, PLAIN, 4, 1 },     { 3, MRO_C64, PLAIN, 4, 2 },
    { 5, MRO_C64, PACKED, 4, 1 },  { 6, MRO_U8, PLAIN, 1, 1 },      { 7, MRO_I32, PLAIN, 4, 1 },
    { 8, MRO_RGB8, COLOUR, 4, 1 }, { 9, MRO_I8, PLAIN, 1, 1 },      { 10, MRO_U16, PLAIN, 2, 1 },
    { 11, MRO_U32, PLAIN, 4, 1 },  { 12, MRO_F64, PLAIN, 8, 1 },    { 13, MRO_C128, PLAIN, 8, 2 },
    { 14, MRO_U8, PLAIN, 1, 1 },   { 23, MRO_RGBA8, COLOUR, 4, 1 }, { 27, MRO_C64, HALF, 4, 2 },
    { 28, MRO_C128, HALF, 8, 2 },  { 39, MRO_I64, PLAIN, 8, 1 },    { 40, MRO_U64, PLAIN, 8, 1 },
};

/* What reading needs of one image. */
struct picture {
    const struct pixel_type *type;
    const unsigned char *data;
    size_t nx, ny;      /* as stored, before a half plane is completed */
    size_t frame_bytes; /* stored */
};

struct dm_state {
    bool big;
    size_t pictures;
    struct picture picture[];
};

static double load(const unsigned char *p, size_t bytes, bool big)
{
    if (bytes == 8) {
        const uint64_t bits = mro_get_u64(p, big);
        double v;
        memcpy(&v, &bits, sizeof v);
        return v;
    }
    const uint32_t bits = mro_get_u32(p, big);
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static void store_complex(unsigned char *out, size_t bytes, double re, double im)
{
    if (bytes == 8) {
        memcpy(out, &re, 8);
        memcpy(out + 8, &im, 8);
        return;
    }
    const float v[2] = { (float)re, (float)im };
    memcpy(out, v, sizeof v);
}

/* Completes a half plane by F(-k) = conj F(k), zero frequency at (nx/2, ny/2). The file keeps the columns kx <= 0,
 * written from 0 outwards. An odd plane gives up its outermost column of kx > 0, as the other readers of this format
 * do. */
static void complete_half(const struct picture *p, bool big, unsigned char *out)
{
    const size_t s = p->type->sample_bytes, half = p->nx / 2, row = half + 1;
    for (size_t y = 0; y < p->ny; y++) {
        const size_t mirror = (2 * (p->ny / 2) + p->ny - y) % p->ny;
        for (size_t x = 0; x < 2 * half; x++, out += 2 * s) {
            const bool conjugate = x > half;
            const size_t at = conjugate ? mirror * row + (x - half) : y * row + (half - x);
            const unsigned char *v = p->data + at * 2 * s;
            const double im = load(v + s, s, big);
            store_complex(out, s, load(v, s, big), conjugate ? -im : im);
        }
    }
}

/* The older packing of a 2N x 2N transform: N complex columns, kx = 0 to N - 1. Column 0 of the rows below N holds
 * column kx = -N (its rows ky > 0), and the four numbers that are real by symmetry share the two places (0, 0) and (0,
 * N). */
static void complete_packed(const struct picture *p, bool big, unsigned char *out)
{
    const size_t size = p->nx, n = size / 2;
    for (size_t y = 0; y < size; y++) {
        for (size_t x = 0; x < size; x++, out += 8) {
            const size_t mirror = (size - y) % size;
            const bool edge = x == 0 || x == n;
            const bool conjugate = edge ? y > 0 && y < n : x < n;
            const size_t from_y = conjugate ? mirror : y;
            size_t row = from_y, column = 0;
            if (!edge) column = x < n ? n - x : x - n;
            if (x == 0) row = from_y % n;
            if (edge && from_y % n == 0) row = x == 0 ? 0 : n;
            const unsigned char *v = p->data + (row * n + column) * 8;
            double re = load(v, 4, big), im = load(v + 4, 4, big);
            if (edge && from_y % n == 0) {
                re = from_y == 0 ? im : re;
                im = 0;
            }
            store_complex(out, 4, re, conjugate ? -im : im);
        }
    }
}

static enum mro_code dm_read(struct mro_file *f, size_t image, size_t frame, void *out, struct mro_error *e)
{
    (void)e;
    const struct dm_state *s = f->state;
    struct picture p = s->picture[image];
    p.data += frame * p.frame_bytes;
    switch (p.type->layout) {
    case PLAIN:
        mro_copy_samples(out, p.data, p.frame_bytes / p.type->sample_bytes, p.type->sample_bytes, s->big);
        break;
    case COLOUR: {
        unsigned char *to = out;
        const bool alpha = p.type->dtype == MRO_RGBA8;
        for (size_t i = 0; i < p.frame_bytes; i += 4) {
            const uint32_t c = mro_get_u32(p.data + i, s->big);
            *to++ = (unsigned char)(c >> 16);
            *to++ = (unsigned char)(c >> 8);
            *to++ = (unsigned char)c;
            if (alpha) *to++ = (unsigned char)(c >> 24);
        }
        break;
    }
    case HALF: complete_half(&p, s->big, out); break;
    case PACKED: complete_packed(&p, s->big, out); break;
    }
    return MRO_OK;
}

static bool dm_view(struct mro_file *f, size_t image, size_t frame, const unsigned char **p, bool *big_endian)
{
    const struct dm_state *s = f->state;
    const struct picture *v = &s->picture[image];
    if (v->type->layout != PLAIN) return false;
    *p = v->data + frame * v->frame_bytes;
    *big_endian = s->big;
    return true;
}

static void dm_close(struct mro_file *f)
{
    free(f->state);
    f->state = NULL;
}

/* ---- one image of ImageList ---- */

static void read_date(const struct tree *t, size_t tags, struct mro_image_info *info)
{
    if (info->date[0]) return;
    static const char *const places[][2] = {
        { "DataBar/Acquisition Date", "DataBar/Acquisition Time" },
        { "SI/Acquisition/Date", "SI/Acquisition/Start time" },
        { "EELS/Acquisition/Date", "EELS/Acquisition/Start time" },
        { "EDS/Acquisition/Date", "EDS/Acquisition/Start time" },
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char date[16], clock[16];
        text(t, find(t, tags, places[i][0]), date, sizeof date);
        text(t, find(t, tags, places[i][1]), clock, sizeof clock);
        if (date[0] == '\0') continue;
        if (!mro_text_date(date, clock, info->date, sizeof info->date))
            snprintf(info->date, sizeof info->date, "%s%s%s", date, clock[0] ? " " : "", clock);
        return;
    }
}

/* The first of the texts at `paths` that is filled in; what is known already stays. */
static void read_name(const struct tree *t, size_t tags, const char *const *paths, size_t n, char *out, size_t size)
{
    for (size_t i = 0; i < n && out[0] == '\0'; i++) {
        text(t, find(t, tags, paths[i]), out, size);
        if (strcmp(out, "Unknown") == 0) out[0] = '\0';
    }
}

static void read_camera(const struct tree *t, size_t tags, struct mro_image_info *info)
{
    static const char *const names[] = { "Acquisition/Device/Name", "DataBar/Device Name", "Session Info/Detector" };
    double bin[2]; /* x, y */
    read_name(t, tags, names, sizeof names / sizeof *names, info->detector, sizeof info->detector);
    if (info->binning[0] > 0) return;
    const bool known = pair(t, find(t, tags, "Acquisition/Parameters/High Level/Binning"), bin) ||
                       (number(t, find(t, tags, "Acquisition/Parameters/Detector/hbin"), &bin[0]) &&
                        number(t, find(t, tags, "Acquisition/Parameters/Detector/vbin"), &bin[1]));
    if (!known || !(bin[0] >= 1 && bin[0] <= 1e6 && bin[1] >= 1 && bin[1] <= 1e6)) return;
    info->binning[0] = bin[1];
    info->binning[1] = bin[0];
}

/* Microscope, camera and date from the tags of an image, as far as `info` does not know them yet. Images made from
 * others keep the tags of their origin one level down. */
static void read_microscope(const struct tree *t, size_t tags, struct mro_image_info *info)
{
    /* What the operator has called the microscope goes before the name of the driver that speaks with it. */
    static const char *const names[] = { "Session Info/Microscope", "Microscope Info/Microscope",
                                         "Microscope Info/Name" };
    static const char *const tilts[] = { "Microscope Info/Stage Position/Stage Alpha",
                                         "Microscope Info/Stage Position/Stage Beta" };
    if (find(t, tags, "Microscope Info") == 0) {
        const size_t origin = find(t, tags, "source/Tags at creation");
        if (origin != 0) tags = origin;
    }
    char mode[32];
    text(t, find(t, tags, "Microscope Info/Operation Mode"), mode, sizeof mode);
    if (info->beam_kv == 0) info->beam_kv = positive(t, find(t, tags, "Microscope Info/Voltage")) / 1000;
    if (info->camera_length_mm == 0)
        info->camera_length_mm = positive(t, find(t, tags, "Microscope Info/STEM Camera Length"));
    /* In diffraction the indicated magnification is none. */
    if (strcmp(mode, "DIFFRACTION") != 0 && info->magnification == 0)
        info->magnification = positive(t, find(t, tags, "Microscope Info/Indicated Magnification"));
    for (int i = 0; i < 2; i++) {
        double tilt;
        if (isnan(info->stage_tilt_deg[i]) && number(t, find(t, tags, tilts[i]), &tilt) && fabs(tilt) <= 360)
            info->stage_tilt_deg[i] = tilt;
    }
    read_name(t, tags, names, sizeof names / sizeof *names, info->instrument, sizeof info->instrument);
    read_camera(t, tags, info);
    read_date(t, tags, info);
}

/* What stored values stand for: (stored - Origin) * Scale in Units. 1 and 0 without a unit say nothing. */
static void read_brightness(const struct tree *t, size_t image, struct mro_image_info *info)
{
    const size_t brightness = find(t, image, "ImageData/Calibrations/Brightness");
    double scale, origin = 0;
    if (brightness == 0 || !number(t, find(t, brightness, "Scale"), &scale)) return;
    number(t, find(t, brightness, "Origin"), &origin);
    text(t, find(t, brightness, "Units"), info->value_unit, sizeof info->value_unit);
    if (!isfinite(scale) || scale == 0 || !isfinite(origin * scale) ||
        (scale == 1 && origin == 0 && info->value_unit[0] == '\0')) {
        info->value_unit[0] = '\0';
        return;
    }
    info->value_scale = scale;
    info->value_offset = 0 - origin * scale;
}

static enum mro_code read_shape(const struct tree *t, size_t image, struct mro_image_info *info, struct mro_error *e)
{
    const size_t dimensions = find(t, image, "ImageData/Dimensions");
    if (dimensions == 0 || t->node[dimensions].first == 0) return broken(t, image, e, "has no ImageData/Dimensions");
    size_t axes = 0;
    for (size_t i = t->node[dimensions].first; i != 0; i = t->node[i].next) axes++;
    if (axes > MRO_MAX_AXES)
        return broken(t, dimensions, e, "has %zu axes where at most %d are read", axes, MRO_MAX_AXES);
    const size_t calibrations = find(t, image, "ImageData/Calibrations/Dimension");
    info->axes = axes;
    for (size_t i = 0; i < axes; i++) {
        /* DM writes x first. */
        struct mro_axis *a = &info->axis[axes - 1 - i];
        const size_t tag = child_at(t, dimensions, i);
        uint64_t size;
        if (!count(t, tag, &size)) return broken(t, tag, e, "is no size of an axis");
        if (size == 0 || size > SIZE_MAX)
            return broken(t, tag, e, "gives the axis a size of %llu", (unsigned long long)size);
        a->size = (size_t)size;
        const size_t calibration = calibrations ? child_at(t, calibrations, i) : 0;
        double scale = 0, origin = 0;
        char unit[sizeof a->unit_text];
        if (calibration == 0 || !number(t, find(t, calibration, "Scale"), &scale)) continue;
        number(t, find(t, calibration, "Origin"), &origin);
        text(t, find(t, calibration, "Units"), unit, sizeof unit);
        /* Values are (index - Origin) * Scale; 0 - x keeps +0 where there is no shift. */
        mro_axis_set(a, scale, 0 - origin * scale, unit, MRO_SOURCE_VENDOR);
    }
    return MRO_OK;
}

static void set_kind(struct mro_image_info *info)
{
    info->kind = info->axes == 1 ? MRO_KIND_SPECTRUM : MRO_KIND_IMAGE;
    for (size_t i = 0; i < info->axes; i++)
        if (info->axis[i].unit == MRO_UNIT_EV) info->kind = MRO_KIND_SPECTRUM;
    if (info->kind == MRO_KIND_SPECTRUM) return;
    const struct mro_axis *x = &info->axis[info->axes - 1];
    if (x->unit == MRO_UNIT_INV_NM || x->unit == MRO_UNIT_RAD) info->kind = MRO_KIND_DIFFRACTION;
}

/* Reads image `image` (a node of ImageList) into `info` and `p`. `known` is false, with MRO_OK and a warning, when it
 * is of a kind that is not read. */
static enum mro_code read_image(struct tree *t, size_t image, struct mro_image_info *info, struct picture *p,
                                bool *known, struct mro_error *e)
{
    *known = false;
    text(t, find(t, image, "Name"), info->title, sizeof info->title);
    char path[64];
    node_path(t, image, path, sizeof path);
    uint64_t code;
    const size_t type_tag = find(t, image, "ImageData/DataType");
    if (!count(t, type_tag, &code)) return broken(t, image, e, "has no ImageData/DataType");
    for (size_t i = 0; i < sizeof pixel_types / sizeof *pixel_types; i++)
        if (pixel_types[i].code == code) p->type = &pixel_types[i];
    if (p->type == NULL) {
        mro_file_warn(t->f, "'%s': image '%s' (%s) has DataType %llu, which is not read; it is passed over", t->f->name,
                      info->title, path, (unsigned long long)code);
        return broken(t, type_tag, e, "is %llu, no pixel type that is read", (unsigned long long)code);
    }
    const size_t data = find(t, image, "ImageData/Data");
    if (data == 0) return broken(t, image, e, "has no ImageData/Data");
    if (t->node[data].type != T_ARRAY) return broken(t, data, e, "is not an array");
    MRO_TRY(read_shape(t, image, info, e));
    info->dtype = p->type->dtype;
    p->data = t->b.p + t->node[data].offset;
    p->nx = info->axis[info->axes - 1].size;
    p->ny = info->axes > 1 ? info->axis[info->axes - 2].size : 1;

    /* Complex numbers per row of a half plane, samples per row of everything else. */
    size_t row = p->nx, total = 0;
    if (p->type->layout == HALF || p->type->layout == PACKED) {
        if (info->axes < 2 || p->nx < 2)
            return broken(t, image, e, "is a packed Fourier transform of %zu x %zu points, which cannot be", p->nx,
                          p->ny);
        if (p->type->layout == PACKED && (p->nx != p->ny || p->nx % 2 != 0))
            return broken(t, image, e, "is a packed Fourier transform of %zu x %zu points; square, even ones are read",
                          p->nx, p->ny);
        if (p->type->layout == HALF) {
            row = p->nx / 2 + 1;
            info->axis[info->axes - 1].size = 2 * (p->nx / 2);
        }
    }
    bool overflow = __builtin_mul_overflow(row, (size_t)p->type->sample_bytes * p->type->samples, &p->frame_bytes) ||
                    __builtin_mul_overflow(p->frame_bytes, p->ny, &p->frame_bytes);
    total = p->frame_bytes;
    for (size_t i = 0; i + 2 < info->axes; i++)
        overflow = overflow || __builtin_mul_overflow(total, info->axis[i].size, &total);
    if (overflow || total != t->node[data].bytes) {
        char shape[MRO_MAX_AXES * 24] = "";
        for (size_t i = 0, used = 0; i < info->axes; i++) {
            const size_t size = i + 1 == info->axes ? p->nx : info->axis[i].size;
            used += (size_t)snprintf(shape + used, sizeof shape - used, "%s%zu", i ? " x " : "", size);
        }
        return broken(t, data, e, "holds %zu bytes, which is not %s pixels of %u bytes (Dimensions)",
                      t->node[data].bytes, shape, p->type->sample_bytes * p->type->samples);
    }
    const size_t tags = find(t, image, "ImageTags");
    if (tags != 0) read_microscope(t, tags, info);
    read_brightness(t, image, info);
    set_kind(info);
    *known = true;
    return MRO_OK;
}

/* Marks the previews DM draws of its documents: those the Thumbnails tag names, else the first of several. */
static void mark_thumbnails(const struct tree *t, bool *skip, size_t images)
{
    const size_t thumbnails = find(t, 0, "Thumbnails");
    if (images < 2) return;
    if (thumbnails == 0 || t->node[thumbnails].first == 0) skip[0] = true;
    if (thumbnails == 0) return;
    for (size_t i = t->node[thumbnails].first; i != 0; i = t->node[i].next) {
        uint64_t index;
        if (count(t, find(t, i, "ImageIndex"), &index) && index < images) skip[index] = true;
    }
}

static enum mro_code read_images(struct tree *t, struct mro_error *e)
{
    struct mro_file *f = t->f;
    const size_t list = find(t, 0, "ImageList");
    size_t images = 0;
    if (list != 0)
        for (size_t i = t->node[list].first; i != 0; i = t->node[i].next) images++;
    if (images == 0) return broken(t, list, e, "holds no images (ImageList)");
    if (images > MAX_IMAGES) return broken(t, list, e, "holds %zu images; at most %d are read", images, MAX_IMAGES);
    bool skip[MAX_IMAGES] = { false };
    mark_thumbnails(t, skip, images);

    struct dm_state *s = calloc(1, sizeof *s + images * sizeof s->picture[0]);
    if (s == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory for a list of %zu images", f->name, images);
    f->state = s; /* freed by dm_close */
    s->big = t->big;
    struct mro_error first = { .code = MRO_OK };
    size_t place = 0;
    for (size_t i = t->node[list].first; i != 0; i = t->node[i].next, place++) {
        if (skip[place]) continue;
        struct mro_image_info info = { .frames = 1, .stage_tilt_deg = { NAN, NAN } };
        struct picture p = { 0 };
        bool known;
        struct mro_error why;
        const enum mro_code c = read_image(t, i, &info, &p, &known, &why);
        if (c != MRO_OK) {
            /* A DM file is one document: an image that contradicts itself makes it all doubtful, but a pixel type that
             * is not read, or an empty place, must not hide the others. */
            if (find(t, i, "ImageData/Data") != 0 && p.type != NULL) {
                if (e != NULL) *e = why;
                return c;
            }
            if (first.code == MRO_OK) first = why;
            continue;
        }
        struct mro_image_info *added = mro_file_add_image(f);
        if (added == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory for image %zu", f->name, place);
        *added = info;
        s->picture[s->pictures++] = p;
        MRO_TRY(mro_file_seal_image(f, added, e));
    }
    if (s->pictures > 0) return MRO_OK;
    if (first.code == MRO_OK) return broken(t, list, e, "holds nothing but thumbnails");
    if (e != NULL) *e = first;
    return first.code;
}

static bool dm_probe(struct mro_bytes b)
{
    if (b.size < 4) return false;
    const uint32_t version = mro_get_u32(b.p, true);
    if (version == 3 || version == 4) {
        const size_t flag = version == 3 ? 8 : 12;
        return b.size < flag + 4 || mro_get_u32(b.p + flag, true) <= 1;
    }
    /* A damaged or future version that has the rest of a DM3 head: the length of the file less 20, and the flag. */
    return version < 256 && b.size >= 20 && mro_get_u32(b.p + 8, true) <= 1 &&
           mro_get_u32(b.p + 4, true) == b.size - 20;
}

static const struct mro_reader reader_dm4 = {
    .name = "DM4", .probe = dm_probe, .read = dm_read, .view = dm_view, .close = dm_close
};

/* Reads version, length and byte order, up to the root group. */
static enum mro_code read_head(struct tree *t, struct mro_error *e)
{
    const char *name = t->f->name;
    if (t->b.size < 4) return MRO_FAIL(e, MRO_EFORMAT, "'%s': cut inside the DM header", name);
    const uint32_t version = mro_get_u32(t->b.p, true);
    if (version != 3 && version != 4)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': DM version %u is not read (3 and 4 are)", name, version);
    t->dm4 = version == 4;
    const size_t head = t->dm4 ? 16 : 12;
    if (t->b.size < head)
        return MRO_FAIL(e, MRO_EFORMAT, "'%s': cut inside the DM%u header: %zu of %zu bytes", name, version, t->b.size,
                        head);
    t->big = mro_get_u32(t->b.p + head - 4, true) == 0;
    t->pos = head;
    return MRO_OK;
}

static enum mro_code dm_open(struct mro_file *f, struct mro_error *e)
{
    struct tree t = { .f = f, .b = f->bytes };
    MRO_TRY(read_head(&t, e));
    if (t.dm4) f->reader = &reader_dm4; /* so that the format is named as the file is */
    enum mro_code c = read_tags(&t, e);
    if (c == MRO_OK) c = read_images(&t, e);
    free(t.node);
    return c;
}

void mro_dm_describe(struct mro_file *f, struct mro_bytes b, struct mro_image_info *info)
{
    struct tree t = { .f = f, .b = b };
    struct mro_error e;
    enum mro_code c = read_head(&t, &e);
    if (c == MRO_OK) c = read_tags(&t, &e);
    if (c == MRO_OK)
        read_microscope(&t, 0, info);
    else
        mro_file_warn(f, "the tags of DigitalMicrograph in this file are passed over: %s", e.message);
    free(t.node);
}

const struct mro_reader mro_reader_dm = {
    .name = "DM3", .probe = dm_probe, .open = dm_open, .read = dm_read, .view = dm_view, .close = dm_close
};
