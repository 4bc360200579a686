/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The parent's side of HDF5 (see io/hdf5.h): checks the catalogue, and finds what is in it. The HDF5 library is never
 * called here. */
#include "io/hdf5.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/hdf5_catalogue.h"
#include "io/hdf5_child.h"

bool mro_h5_probe(struct mro_bytes b)
{
    static const unsigned char signature[8] = { 0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n' };
    return b.size >= sizeof signature && memcmp(b.p, signature, sizeof signature) == 0;
}

/* ---- the catalogue ---- */

struct cursor {
    const unsigned char *p;
    size_t left;
    bool bad; /* read past the end */
};

static uint64_t get_u64(struct cursor *c)
{
    uint64_t v = 0;
    if (c->left < sizeof v) {
        c->bad = true;
        c->left = 0;
        return 0;
    }
    memcpy(&v, c->p, sizeof v);
    c->p += sizeof v;
    c->left -= sizeof v;
    return v;
}

static const unsigned char *get_bytes(struct cursor *c, uint64_t n)
{
    if (n > c->left) {
        c->bad = true;
        c->left = 0;
        return NULL;
    }
    const unsigned char *p = c->p;
    c->p += n;
    c->left -= (size_t)n;
    return p;
}

/* A fresh copy, ended; NULL when it is cut or there is no memory. */
static char *get_text(struct cursor *c)
{
    const uint64_t n = get_u64(c);
    const unsigned char *p = get_bytes(c, n);
    char *s = p ? malloc((size_t)n + 1) : NULL;
    if (s == NULL) {
        c->bad = true;
        return NULL;
    }
    memcpy(s, p, (size_t)n);
    s[n] = '\0';
    return s;
}

static void get_short_text(struct cursor *c, char *to, size_t size)
{
    const uint64_t n = get_u64(c);
    const unsigned char *p = get_bytes(c, n);
    to[0] = '\0';
    if (p != NULL) snprintf(to, size, "%.*s", (int)(n < size ? n : size), (const char *)p);
}

static void refuse(struct mro_h5_dataset *d, const char *why)
{
    d->layout = MRO_H5_REFUSED;
    snprintf(d->refused, sizeof d->refused, "%s", why);
}

bool mro_h5_array_bytes(const struct mro_h5_dataset *d, const uint64_t *shape, size_t *bytes)
{
    *bytes = d->type.bytes;
    for (unsigned i = 0; i < d->rank; i++)
        if (shape[i] > SIZE_MAX || __builtin_mul_overflow(*bytes, (size_t)shape[i], bytes)) return false;
    return true;
}

static bool inside(const struct mro_file *f, uint64_t address, uint64_t bytes)
{
    return address <= f->bytes.size && bytes <= f->bytes.size - address;
}

static void read_storage(const struct mro_file *f, struct cursor *c, struct mro_h5_dataset *d)
{
    size_t bytes = 0;
    const bool fits = mro_h5_array_bytes(d, d->shape, &bytes);
    if (d->layout == MRO_H5_INLINE) {
        const uint64_t n = get_u64(c);
        const unsigned char *p = get_bytes(c, n);
        if (p == NULL || !fits || bytes != n) {
            refuse(d, "is not as large as its shape says");
            return;
        }
        d->inline_bytes = malloc((size_t)n + 1);
        if (d->inline_bytes == NULL) {
            c->bad = true;
            return;
        }
        memcpy(d->inline_bytes, p, (size_t)n);
        d->inline_size = (size_t)n;
    } else if (d->layout == MRO_H5_CONTIGUOUS) {
        const uint64_t address = get_u64(c), stored = get_u64(c);
        if (!fits || stored < bytes || !inside(f, address, bytes)) {
            refuse(d, "reaches past the end of the file");
            return;
        }
        if ((d->list = calloc(1, sizeof *d->list)) == NULL) {
            c->bad = true;
            return;
        }
        for (unsigned i = 0; i < d->rank; i++) {
            d->chunk[i] = d->shape[i];
            d->grid[i] = 1;
        }
        d->chunks = d->chunks_stored = 1;
        d->list[0] = (struct mro_h5_chunk){ address, bytes, 0 };
    } else if (d->layout == MRO_H5_CHUNKED) {
        uint64_t chunks = 1;
        for (unsigned i = 0; i < d->rank; i++) {
            d->chunk[i] = get_u64(c);
            d->grid[i] = d->chunk[i] > 0 ? (d->shape[i] - 1) / d->chunk[i] + 1 : 0;
            if (__builtin_mul_overflow(chunks, d->grid[i], &chunks)) chunks = UINT64_MAX;
        }
        const uint64_t n = get_u64(c);
        const unsigned char *p = n <= c->left / 24 ? get_bytes(c, 24 * n) : NULL;
        if (p == NULL || n != chunks || n == 0) {
            c->bad = true;
            return;
        }
        d->chunks = (size_t)n;
        d->list = malloc(d->chunks * sizeof *d->list);
        if (d->list == NULL) {
            c->bad = true;
            return;
        }
        size_t whole = 0;
        bool right = fits && mro_h5_array_bytes(d, d->chunk, &whole);
        for (unsigned i = 0; i < d->rank; i++) right = right && d->shape[i] <= INT64_MAX && d->chunk[i] <= INT64_MAX;
        for (size_t i = 0; i < d->chunks; i++, p += 24) {
            uint64_t v[3];
            memcpy(v, p, sizeof v);
            d->list[i] = (struct mro_h5_chunk){ v[0], v[1], (uint32_t)v[2] };
            if (v[0] == UINT64_MAX) continue;
            d->chunks_stored++;
            right = right && inside(f, v[0], v[1]) && (d->filters > 0 || v[1] == whole);
        }
        if (!right) refuse(d, "has a chunk that reaches past the end of the file or is not as large as it must be");
    }
}

static struct mro_h5_dataset *read_dataset(const struct mro_file *f, struct cursor *c)
{
    struct mro_h5_dataset *d = calloc(1, sizeof *d);
    if (d == NULL) {
        c->bad = true;
        return NULL;
    }
    const uint64_t class = get_u64(c), bytes = get_u64(c);
    d->type.class = class < MRO_H5_UNKNOWN ? (enum mro_h5_class) class : MRO_H5_UNKNOWN;
    d->type.bytes = bytes <= UINT32_MAX ? (uint32_t)bytes : 0;
    d->type.is_signed = get_u64(c) != 0;
    d->type.big_endian = get_u64(c) != 0;
    for (int i = 0; i < 2; i++) get_short_text(c, d->type.name[i], sizeof d->type.name[i]);
    const uint64_t rank = get_u64(c);
    if (rank > MRO_H5_RANK) {
        c->bad = true;
        return d;
    }
    d->rank = (unsigned)rank;
    bool none = false;
    for (unsigned i = 0; i < d->rank; i++) {
        d->shape[i] = get_u64(c);
        none = none || d->shape[i] == 0;
    }
    const uint64_t layout = get_u64(c);
    get_short_text(c, d->refused, sizeof d->refused);
    const uint64_t filters = get_u64(c);
    if (layout > MRO_H5_REFUSED || filters > sizeof d->filter / sizeof *d->filter ||
        (none && (layout == MRO_H5_CHUNKED || layout == MRO_H5_CONTIGUOUS || layout == MRO_H5_INLINE))) {
        c->bad = true;
        return d;
    }
    d->layout = layout;
    d->filters = (unsigned)filters;
    for (unsigned i = 0; i < d->filters; i++) d->filter[i] = (uint32_t)get_u64(c);
    const unsigned char *fill = get_bytes(c, sizeof d->fill);
    if (fill != NULL) memcpy(d->fill, fill, sizeof d->fill);
    const bool has_text = get_u64(c) != 0;
    char *text = get_text(c);
    if (has_text)
        d->text = text;
    else
        free(text);
    if (!c->bad) read_storage(f, c, d);
    return d;
}

static void *add(void *list, size_t *n, size_t *room, size_t each)
{
    if (*n == *room) {
        const size_t more = *room ? 2 * *room : 64;
        void *grown = realloc(list, more * each);
        if (grown == NULL) return NULL;
        *room = more;
        list = grown;
    }
    memset((char *)list + *n * each, 0, each);
    (*n)++;
    return list;
}

static bool read_node(struct mro_h5 *h, struct cursor *c)
{
    struct mro_h5_node *grown = add(h->node, &h->nodes, &h->room, sizeof *h->node);
    if (grown == NULL) return false;
    h->node = grown;
    const uint32_t i = (uint32_t)(h->nodes - 1);
    struct mro_h5_node *n = &h->node[i];
    const uint64_t kind = get_u64(c), parent = get_u64(c);
    n->name = get_text(c);
    n->text = get_text(c);
    const uint64_t target = get_u64(c);
    n->parent = n->first = n->last = n->next = n->target_node = MRO_H5_NONE;
    if (c->bad || kind > MRO_H5_OTHER || h->nodes > MRO_H5_MAX_NODES) return false;
    n->kind = (enum mro_h5_kind)kind;
    if (i == 0) return kind == MRO_H5_GROUP && parent == MRO_H5_NONE;
    if (parent >= i || h->node[parent].kind != MRO_H5_GROUP) return false;
    if (n->kind == MRO_H5_ALIAS) {
        if (target >= i || h->node[target].kind == MRO_H5_ALIAS) return false;
        n->target_node = (uint32_t)target;
    }
    n->parent = (uint32_t)parent;
    struct mro_h5_node *p = &h->node[parent];
    if (p->first == MRO_H5_NONE)
        p->first = i;
    else
        h->node[p->last].next = i;
    p->last = i;
    return true;
}

static bool read_attribute(struct mro_h5 *h, struct cursor *c)
{
    struct mro_h5_attribute *grown = add(h->attribute, &h->attributes, &h->attribute_room, sizeof *h->attribute);
    if (grown == NULL) return false;
    h->attribute = grown;
    struct mro_h5_attribute *a = &h->attribute[h->attributes - 1];
    const uint64_t node = get_u64(c);
    get_short_text(c, a->name, sizeof a->name);
    if (node >= h->nodes || (h->attributes > 1 && node < a[-1].node)) return false;
    a->node = (uint32_t)node;
    if (h->node[node].attributes++ == 0) h->node[node].attribute = h->attributes - 1;
    if (get_u64(c) != 0) {
        a->text = get_text(c);
        return a->text != NULL;
    }
    const uint64_t n = get_u64(c);
    if (n < 1 || n > sizeof a->value / sizeof *a->value) return false;
    const unsigned char *p = get_bytes(c, n * sizeof *a->value);
    if (p == NULL) return false;
    memcpy(a->value, p, (size_t)n * sizeof *a->value);
    a->n = (size_t)n;
    return true;
}

enum mro_code mro_h5_parse(struct mro_h5 *h, const struct mro_file *f, const unsigned char *catalogue, size_t size,
                           struct mro_error *e)
{
    struct cursor c = { catalogue, size, false };
    memset(h, 0, sizeof *h);
    h->f = f;
    while (true) {
        const uint64_t record = get_u64(&c);
        bool ok = !c.bad;
        if (ok && record == MRO_H5_REC_END && h->nodes > 0) return MRO_OK;
        if (ok && record == MRO_H5_REC_FAILED) {
            char sentence[400];
            get_short_text(&c, sentence, sizeof sentence);
            return MRO_FAIL(e, MRO_EFORMAT, "'%s' is an HDF5 file that is not read: %s", f->name, sentence);
        }
        if (ok && record == MRO_H5_REC_NODE) {
            ok = read_node(h, &c);
        } else if (ok && record == MRO_H5_REC_DATASET && h->nodes > 0 && h->node[h->nodes - 1].kind == MRO_H5_DATASET &&
                   h->node[h->nodes - 1].data == NULL) {
            h->node[h->nodes - 1].data = read_dataset(f, &c);
        } else if (ok && record == MRO_H5_REC_ATTRIBUTE) {
            ok = read_attribute(h, &c);
        } else {
            ok = false;
        }
        if (!ok || c.bad) return MRO_FAIL(e, MRO_EFORMAT, "'%s': the catalogue of its structure is not whole", f->name);
    }
}

enum mro_code mro_h5_open(struct mro_h5 *h, const struct mro_file *f, struct mro_error *e)
{
    unsigned char *catalogue;
    size_t size;
    memset(h, 0, sizeof *h);
    MRO_TRY(mro_h5_catalogue(f, &catalogue, &size, e));
    const enum mro_code rc = mro_h5_parse(h, f, catalogue, size, e);
    free(catalogue);
    return rc;
}

void mro_h5_release(struct mro_h5 *h)
{
    for (size_t i = 0; i < h->nodes; i++) {
        struct mro_h5_dataset *d = h->node[i].data;
        if (d != NULL) {
            free(d->list);
            free(d->inline_bytes);
            free(d->text);
            free(d);
        }
        free(h->node[i].name);
        free(h->node[i].text);
    }
    for (size_t i = 0; i < h->attributes; i++) free(h->attribute[i].text);
    free(h->node);
    free(h->attribute);
    memset(h, 0, sizeof *h);
}

/* ---- looking up ---- */

/* What one look-up may cost. Links that each name the next several times over would take longer than anybody waits. */
struct effort {
    int links;    /* soft links followed, all of them together */
    size_t names; /* compared */
};

static const struct effort most_effort = { 32, 4 * (size_t)MRO_H5_MAX_NODES };

static uint32_t step(const struct mro_h5 *h, uint32_t group, const char *name, size_t bytes, struct effort *left)
{
    for (uint32_t i = h->node[group].first; i != MRO_H5_NONE && left->names > 0; i = h->node[i].next) {
        left->names--;
        if (strncmp(h->node[i].name, name, bytes) == 0 && h->node[i].name[bytes] == '\0') return i;
    }
    return MRO_H5_NONE;
}

static uint32_t find(const struct mro_h5 *h, uint32_t group, const char *path, struct effort *left);

static uint32_t follow(const struct mro_h5 *h, uint32_t node, struct effort *left)
{
    if (node == MRO_H5_NONE) return MRO_H5_NONE;
    const struct mro_h5_node *n = &h->node[node];
    if (n->kind == MRO_H5_ALIAS) return n->target_node;
    if (n->kind != MRO_H5_SOFT) return node;
    if (left->links-- <= 0) return MRO_H5_NONE; /* links that point at each other */
    return find(h, n->text[0] == '/' ? 0 : n->parent, n->text, left);
}

static uint32_t find(const struct mro_h5 *h, uint32_t group, const char *path, struct effort *left)
{
    while (true) {
        path += strspn(path, "/");
        if (group == MRO_H5_NONE || *path == '\0') return group;
        const size_t n = strcspn(path, "/");
        if (h->node[group].kind != MRO_H5_GROUP) return MRO_H5_NONE;
        if (!(n == 1 && path[0] == '.')) group = follow(h, step(h, group, path, n, left), left);
        path += n;
    }
}

uint32_t mro_h5_find(const struct mro_h5 *h, uint32_t group, const char *path)
{
    struct effort left = most_effort;
    return find(h, group, path, &left);
}

uint32_t mro_h5_follow(const struct mro_h5 *h, uint32_t node)
{
    struct effort left = most_effort;
    return follow(h, node, &left);
}

const struct mro_h5_dataset *mro_h5_dataset(const struct mro_h5 *h, uint32_t node)
{
    node = mro_h5_follow(h, node);
    return node != MRO_H5_NONE && h->node[node].kind == MRO_H5_DATASET ? h->node[node].data : NULL;
}

void mro_h5_path(const struct mro_h5 *h, uint32_t node, char *out, size_t size)
{
    uint32_t chain[MRO_H5_MAX_DEPTH + 2];
    size_t depth = 0, used = 0;
    for (; node != 0 && node != MRO_H5_NONE && depth < sizeof chain / sizeof *chain; node = h->node[node].parent)
        chain[depth++] = node;
    snprintf(out, size, "/");
    while (depth-- > 0 && used + 1 < size) {
        /* cppcheck-suppress uninitvar ; depth counts what the loop above has set */
        const int w = snprintf(out + used, size - used, "/%s", h->node[chain[depth]].name);
        used += w > 0 ? (size_t)w : 0;
    }
}

static const struct mro_h5_attribute *find_attribute(const struct mro_h5 *h, uint32_t node, const char *name)
{
    const struct mro_h5_node *n = &h->node[node];
    for (size_t i = n->attribute; i < n->attribute + n->attributes; i++)
        if (strcmp(h->attribute[i].name, name) == 0) return &h->attribute[i];
    return NULL;
}

bool mro_h5_number(const struct mro_h5 *h, uint32_t node, const char *name, double *value)
{
    const struct mro_h5_attribute *a = find_attribute(h, node, name);
    if (a == NULL || a->n == 0) return false;
    *value = a->value[0];
    return true;
}

const char *mro_h5_text(const struct mro_h5 *h, uint32_t node, const char *name)
{
    const struct mro_h5_attribute *a = find_attribute(h, node, name);
    return a ? a->text : NULL;
}

bool mro_h5_dtype(const struct mro_h5_type *t, enum mro_dtype *dtype)
{
    static const struct {
        enum mro_h5_class class;
        uint32_t bytes;
        bool is_signed;
        enum mro_dtype dtype;
    } known[] = {
        { MRO_H5_INTEGER, 1, false, MRO_U8 },  { MRO_H5_INTEGER, 1, true, MRO_I8 },
        { MRO_H5_INTEGER, 2, false, MRO_U16 }, { MRO_H5_INTEGER, 2, true, MRO_I16 },
        { MRO_H5_INTEGER, 4, false, MRO_U32 }, { MRO_H5_INTEGER, 4, true, MRO_I32 },
        { MRO_H5_INTEGER, 8, false, MRO_U64 }, { MRO_H5_INTEGER, 8, true, MRO_I64 },
        { MRO_H5_FLOAT, 2, false, MRO_F16 },   { MRO_H5_FLOAT, 4, false, MRO_F32 },
        { MRO_H5_FLOAT, 8, false, MRO_F64 },   { MRO_H5_PAIR, 8, false, MRO_C64 },
        { MRO_H5_PAIR, 16, false, MRO_C128 },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].class != t->class || known[i].bytes != t->bytes) continue;
        if (t->class == MRO_H5_INTEGER && known[i].is_signed != t->is_signed) continue;
        *dtype = known[i].dtype;
        return true;
    }
    return false;
}
