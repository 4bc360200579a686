/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A file is a version, a length, a byte-order flag and one group of tags. A tag is a byte (20 group, 21 data), a name
 * and, in DM4, its length; a group is two flag bytes and a count; data is "%%%%", a type description and the value.
 * Sizes and descriptions are big-endian always, values in the order of the flag. DM4 is DM3 with 64-bit counts. Layout
 * after the description of C. Boothroyd (DM3/DM4 file format, ER-C Juelich) and of G. Jefferis (ImageJ, DM3Format).
 *
 * The tags are walked once, without recursion, into a flat list of small nodes that point back into the file: no count
 * is believed before the bytes for it have been seen, and pixel arrays are never copied.
 */
#include "io/dm_tags.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/text.h"

/* Real files nest about ten deep and hold some hundred to some ten thousand tags. */
#define MAX_DEPTH 64
#define MAX_NODES ((size_t)1 << 20)

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
    T_ARRAY = MRO_DM_ARRAY
};
static const unsigned char simple_bytes[] = { 0, 0, 2, 4, 2, 4, 4, 8, 1, 1, 1, 8, 8 };

static bool is_simple(uint64_t type) { return type >= T_I16 && type <= T_U64; }

/* ---- messages ---- */

void mro_dm_path(const struct mro_dm_tree *t, size_t i, char *out, size_t size)
{
    uint32_t chain[MAX_DEPTH + 1];
    size_t depth = 0, used = 0;
    for (; i != 0 && depth < MAX_DEPTH + 1; i = t->node[i].parent) chain[depth++] = (uint32_t)i;
    out[0] = '\0';
    while (depth-- > 0 && used + 1 < size) {
        /* cppcheck-suppress uninitvar ; depth counts what the loop above has set */
        const struct mro_dm_node *n = &t->node[chain[depth]];
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

enum mro_code mro_dm_broken(const struct mro_dm_tree *t, size_t node, struct mro_error *e, const char *format, ...)
{
    char what[256], path[160];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    const char *version = t->dm4 ? "DM4" : "DM3";
    if (node == 0) return MRO_FAIL(e, MRO_EFORMAT, "'%s': the %s root group %s", t->f->name, version, what);
    mro_dm_path(t, node, path, sizeof path);
    return MRO_FAIL(e, MRO_EFORMAT, "'%s': %s tag '%s' %s", t->f->name, version, path, what);
}

/* ---- walking the tags ---- */

static size_t left(const struct mro_dm_tree *t) { return t->b.size - t->pos; }

/* A count or type word of the descriptions: 4 bytes in DM3, 8 in DM4, big-endian. DM3 words are widened with their
 * sign, so that a negative count is negative in both. */
static int64_t word_at(const struct mro_dm_tree *t, size_t pos)
{
    if (t->dm4) return (int64_t)mro_get_u64(t->b.p + pos, true);
    return (int32_t)mro_get_u32(t->b.p + pos, true);
}

static size_t word_bytes(const struct mro_dm_tree *t) { return t->dm4 ? 8 : 4; }

static enum mro_code add_node(struct mro_dm_tree *t, size_t parent, size_t *index, struct mro_error *e)
{
    if (t->nodes >= MAX_NODES) return MRO_FAIL(e, MRO_EFORMAT, "'%s': holds more than %zu tags", t->f->name, MAX_NODES);
    if (t->nodes == t->room) {
        const size_t room = t->room ? 2 * t->room : 1024;
        struct mro_dm_node *grown = realloc(t->node, room * sizeof *grown);
        if (grown == NULL) return MRO_FAIL(e, MRO_EMEMORY, "'%s': no memory for %zu tags", t->f->name, room);
        t->node = grown;
        t->room = room;
    }
    const size_t i = t->nodes++;
    memset(&t->node[i], 0, sizeof t->node[i]);
    t->node[i].parent = (uint32_t)parent;
    if (i > 0) {
        struct mro_dm_node *p = &t->node[parent];
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
static enum mro_code read_group(struct mro_dm_tree *t, size_t node, uint64_t *tags, struct mro_error *e)
{
    const size_t head = 2 + word_bytes(t);
    if (left(t) < head)
        return mro_dm_broken(t, node, e, "is cut: its header of %zu bytes begins at byte %zu of %zu", head, t->pos,
                             t->b.size);
    const int64_t n = word_at(t, t->pos + 2);
    t->pos += head;
    t->node[node].type = T_GROUP;
    if (n < 0) return mro_dm_broken(t, node, e, "says it holds %lld tags", (long long)n);
    /* The smallest tag is a kind, an empty name and (DM4) a length. */
    const size_t smallest = t->dm4 ? 11 : 3;
    if ((uint64_t)n > left(t) / smallest)
        return mro_dm_broken(t, node, e, "says it holds %lld tags, but only %zu bytes follow", (long long)n, left(t));
    *tags = (uint64_t)n;
    return MRO_OK;
}

/* Size of one value by its description, which is `n` words at `info`; `i` moves past what was used. */
static enum mro_code measure(const struct mro_dm_tree *t, size_t node, size_t info, uint64_t n, uint64_t *i, int depth,
                             uint64_t *bytes, struct mro_error *e)
{
    const size_t w = word_bytes(t);
    if (*i >= n) return mro_dm_broken(t, node, e, "has a type description that stops short");
    const uint64_t type = (uint64_t)word_at(t, info + (*i)++ * w);
    if (is_simple(type)) {
        *bytes = simple_bytes[type];
        return MRO_OK;
    }
    switch (type) {
    case T_STRUCT: {
        if (n - *i < 2) return mro_dm_broken(t, node, e, "has a struct description that stops short");
        const int64_t fields = word_at(t, info + (*i + 1) * w);
        *i += 2;
        if (fields < 0 || (uint64_t)fields > (n - *i) / 2)
            return mro_dm_broken(t, node, e, "is a struct of %lld fields, but describes %llu", (long long)fields,
                                 (unsigned long long)((n - *i) / 2));
        uint64_t sum = 0;
        for (int64_t k = 0; k < fields; k++, *i += 2) {
            const uint64_t field = (uint64_t)word_at(t, info + (*i + 1) * w);
            if (!is_simple(field))
                return mro_dm_broken(t, node, e, "has a struct field of unknown type %llu", (unsigned long long)field);
            sum += simple_bytes[field];
        }
        *bytes = sum;
        return MRO_OK;
    }
    case T_STRING:
    case T_ARRAY: {
        uint64_t one = 1;
        if (type == T_ARRAY) {
            if (depth >= 3) return mro_dm_broken(t, node, e, "is an array nested deeper than 3 levels");
            enum mro_code c = measure(t, node, info, n, i, depth + 1, &one, e);
            if (c != MRO_OK) return c;
        }
        if (*i >= n) return mro_dm_broken(t, node, e, "has an array description that stops short");
        const int64_t count = word_at(t, info + (*i)++ * w);
        if (count < 0) return mro_dm_broken(t, node, e, "is an array of %lld values", (long long)count);
        if (__builtin_mul_overflow(one, (uint64_t)count, bytes))
            return mro_dm_broken(t, node, e, "is an array of %lld values, more than can be addressed",
                                 (long long)count);
        return MRO_OK;
    }
    default: return mro_dm_broken(t, node, e, "has the unknown data type %lld", (long long)type);
    }
}

static enum mro_code read_data(struct mro_dm_tree *t, size_t node, struct mro_error *e)
{
    const size_t w = word_bytes(t);
    if (left(t) < 4 + w)
        return mro_dm_broken(t, node, e, "is cut: its type begins at byte %zu of %zu", t->pos, t->b.size);
    if (memcmp(t->b.p + t->pos, "%%%%", 4) != 0)
        return mro_dm_broken(t, node, e, "has no type description at byte %zu", t->pos);
    const int64_t n = word_at(t, t->pos + 4);
    t->pos += 4 + w;
    if (n <= 0) return mro_dm_broken(t, node, e, "has a type description of %lld words", (long long)n);
    if ((uint64_t)n > left(t) / w)
        return mro_dm_broken(t, node, e, "has a type description of %lld words, but only %zu bytes follow",
                             (long long)n, left(t));
    const size_t info = t->pos;
    t->pos += (size_t)n * w;
    uint64_t used = 0, bytes = 0;
    MRO_TRY(measure(t, node, info, (uint64_t)n, &used, 0, &bytes, e));
    if (used != (uint64_t)n)
        return mro_dm_broken(t, node, e, "has a type description of %lld words where %llu fit", (long long)n,
                             (unsigned long long)used);
    if (bytes > left(t))
        return mro_dm_broken(t, node, e, "needs %llu bytes at byte %zu, but the file ends at byte %zu",
                             (unsigned long long)bytes, t->pos, t->b.size);
    struct mro_dm_node *v = &t->node[node];
    v->type = (uint8_t)word_at(t, info);
    v->element = v->type == T_ARRAY ? (uint8_t)word_at(t, info + w) : 0;
    v->offset = t->pos;
    v->bytes = (size_t)bytes;
    t->pos += (size_t)bytes;
    return MRO_OK;
}

static enum mro_code read_tags(struct mro_dm_tree *t, struct mro_error *e)
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
            return mro_dm_broken(t, group, e, "is cut: a tag is missing at byte %zu, the end of the file", t->pos);
        const unsigned char *p = t->b.p + t->pos;
        const unsigned kind = p[0];
        const uint16_t name_bytes = mro_get_u16(p + 1, true);
        if (kind != TAG_GROUP && kind != TAG_DATA)
            return mro_dm_broken(t, group, e, "holds a tag of unknown kind %u at byte %zu", kind, t->pos);
        if (left(t) - 3 < name_bytes)
            return mro_dm_broken(t, group, e, "holds a tag with a name of %u bytes, but only %zu follow", name_bytes,
                                 left(t) - 3);
        t->pos += 3 + (size_t)name_bytes;
        MRO_TRY(add_node(t, group, &i, e));
        t->node[i].name = p + 3;
        t->node[i].name_bytes = name_bytes;
        if (t->dm4) {
            if (left(t) < 8) return mro_dm_broken(t, i, e, "is cut: its length is missing at byte %zu", t->pos);
            const uint64_t length = mro_get_u64(t->b.p + t->pos, true);
            t->pos += 8;
            /* The counts say the same again and other programs fill this field carelessly, so it is only checked. */
            if (length > left(t))
                return mro_dm_broken(t, i, e,
                                     "says it is %llu bytes long, but only %zu follow: the file is cut or damaged",
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

/* Reads version, length and byte order, up to the root group. */
static enum mro_code read_head(struct mro_dm_tree *t, struct mro_error *e)
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

enum mro_code mro_dm_read(struct mro_dm_tree *t, struct mro_error *e)
{
    MRO_TRY(read_head(t, e));
    return read_tags(t, e);
}

/* ---- looking tags up ---- */

static size_t child(const struct mro_dm_tree *t, size_t group, const char *name, size_t bytes)
{
    for (uint32_t i = t->node[group].first; i != 0; i = t->node[i].next)
        if (t->node[i].name_bytes == bytes && memcmp(t->node[i].name, name, bytes) == 0) return i;
    return 0;
}

size_t mro_dm_find(const struct mro_dm_tree *t, size_t group, const char *path)
{
    while (true) {
        const size_t n = strcspn(path, "/");
        group = child(t, group, path, n);
        if (group == 0 || path[n] == '\0') return group;
        path += n + 1;
    }
}

size_t mro_dm_child_at(const struct mro_dm_tree *t, size_t group, size_t place)
{
    uint32_t i = t->node[group].first;
    while (i != 0 && place-- > 0) i = t->node[i].next;
    return i;
}

/* The number of a simple type at `offset`; false when it is no simple type. */
static bool value(const struct mro_dm_tree *t, uint8_t type, size_t offset, double *out)
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

bool mro_dm_number(const struct mro_dm_tree *t, size_t node, double *out)
{
    return node != 0 && value(t, t->node[node].type, t->node[node].offset, out);
}

bool mro_dm_count(const struct mro_dm_tree *t, size_t node, uint64_t *out)
{
    double v;
    if (!mro_dm_number(t, node, &v) || !(v >= 0 && v <= 9007199254740992.0) || v != floor(v)) return false;
    *out = (uint64_t)v;
    return true;
}

double mro_dm_positive(const struct mro_dm_tree *t, size_t node)
{
    double v;
    return mro_dm_number(t, node, &v) && isfinite(v) && v > 0 ? v : 0;
}

void mro_dm_text(const struct mro_dm_tree *t, size_t node, char *out, size_t size)
{
    const struct mro_dm_node *n = &t->node[node];
    const bool is_text = node != 0 && ((n->type == T_ARRAY && n->element == T_U16) || n->type == T_STRING);
    mro_text_copy_utf16(t->b.p + n->offset, is_text ? n->bytes : 0, t->big, out, size);
}

bool mro_dm_pair(const struct mro_dm_tree *t, size_t node, double out[2])
{
    if (node == 0) return false;
    const struct mro_dm_node *n = &t->node[node];
    if (n->type == T_GROUP)
        return mro_dm_number(t, mro_dm_child_at(t, node, 0), &out[0]) &&
               mro_dm_number(t, mro_dm_child_at(t, node, 1), &out[1]);
    if (n->type != T_ARRAY || !is_simple(n->element) || n->bytes < 2 * (size_t)simple_bytes[n->element]) return false;
    for (size_t i = 0; i < 2; i++)
        if (!value(t, n->element, n->offset + i * simple_bytes[n->element], &out[i])) return false;
    return true;
}
