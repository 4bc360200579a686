/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The one place that calls the HDF5 library: it walks the structure of a file, which is written down as a catalogue.
 *
 * Only one thread lives there, so nothing of OpenMP is used, and standard output is left alone. The library reads the
 * mapping of the parent through a driver of our own (hdf5_driver.h). */
#include "io/hdf5_catalogue.h"

#include <hdf5.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/hdf5.h"
#include "io/hdf5_driver.h"

#define MAX_TEXT ((size_t)4 << 20)    /* of one text */
#define MAX_TEXTS ((size_t)32 << 20)  /* of all */
#define MAX_INLINE ((size_t)64 << 10) /* the format keeps no more beside the structure */
enum { MAX_ATTRIBUTES = 128, MAX_VALUES = 8 };

/* ---- the catalogue under way; the child is alone in its process, so one is enough ---- */

static struct {
    unsigned char *p;
    size_t n, room;
    size_t nodes, chunks, texts;
    bool full; /* out of memory or over MRO_H5_MAX_BYTES */
    char failure[400];
} out;

static void put(const void *p, size_t n)
{
    if (out.full) return;
    if (n > MRO_H5_MAX_BYTES - out.n) {
        out.full = true;
        return;
    }
    if (out.n + n > out.room) {
        size_t room = out.room ? out.room : 1 << 16;
        while (room < out.n + n) room *= 2;
        unsigned char *grown = realloc(out.p, room);
        if (grown == NULL) {
            out.full = true;
            return;
        }
        out.p = grown;
        out.room = room;
    }
    if (n > 0) memcpy(out.p + out.n, p, n);
    out.n += n;
}

static void put_u64(uint64_t v) { put(&v, sizeof v); }

static void put_text(const char *s, size_t n)
{
    put_u64(n);
    put(s, n);
}

static void put_record(enum mro_h5_record r) { put_u64(r); }

static void fail(const char *sentence)
{
    if (out.failure[0] == '\0') snprintf(out.failure, sizeof out.failure, "%s", sentence);
}

/* The innermost reason the library has on its stack. */
static herr_t note_reason(unsigned n, const H5E_error2_t *error, void *data)
{
    char *reason = data;
    (void)n;
    if (error->desc != NULL && reason[0] == '\0') snprintf(reason, 200, "%s", error->desc);
    return 0;
}

static void fail_in_library(const char *what)
{
    char reason[200] = "", sentence[400];
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, note_reason, reason);
    snprintf(sentence, sizeof sentence, "%s%s%s", what, reason[0] ? ": " : "", reason);
    fail(sentence);
}

/* ---- types ---- */

static bool is_ieee(hid_t type, size_t bytes)
{
    size_t sign, exponent_at, exponent, mantissa_at, mantissa;
    static const struct {
        size_t bytes, exponent, mantissa, bias;
    } known[] = { { 2, 5, 10, 15 }, { 4, 8, 23, 127 }, { 8, 11, 52, 1023 } };
    if (H5Tget_fields(type, &sign, &exponent_at, &exponent, &mantissa_at, &mantissa) < 0) return false;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].bytes == bytes)
            return sign == 8 * bytes - 1 && exponent == known[i].exponent && mantissa == known[i].mantissa &&
                   mantissa_at == 0 && exponent_at == mantissa && H5Tget_ebias(type) == known[i].bias &&
                   H5Tget_norm(type) == H5T_NORM_IMPLIED;
    return false;
}

static struct mro_h5_type describe_type(hid_t type, int depth)
{
    struct mro_h5_type t = { .class = MRO_H5_UNKNOWN };
    const H5T_class_t class = H5Tget_class(type);
    const size_t bytes = H5Tget_size(type);
    const H5T_order_t order = class == H5T_COMPOUND || class == H5T_STRING ? H5T_ORDER_LE : H5Tget_order(type);
    t.bytes = bytes <= UINT32_MAX ? (uint32_t)bytes : 0;
    t.big_endian = order == H5T_ORDER_BE;
    if (order != H5T_ORDER_LE && order != H5T_ORDER_BE) return t;
    if (class == H5T_INTEGER) {
        const bool plain = H5Tget_precision(type) == 8 * bytes && H5Tget_offset(type) == 0;
        t.is_signed = H5Tget_sign(type) == H5T_SGN_2;
        if (plain && (bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8)) t.class = MRO_H5_INTEGER;
    } else if (class == H5T_FLOAT) {
        if (is_ieee(type, bytes)) t.class = MRO_H5_FLOAT;
    } else if (class == H5T_STRING) {
        t.class = MRO_H5_TEXT;
    } else if (class == H5T_ENUM && depth == 0) {
        const hid_t base = H5Tget_super(type);
        if (base >= 0) t = describe_type(base, depth + 1);
        H5Tclose(base);
    } else if (class == H5T_COMPOUND && depth == 0 && H5Tget_nmembers(type) == 2) {
        struct mro_h5_type member[2];
        size_t offset[2];
        for (unsigned i = 0; i < 2; i++) {
            const hid_t m = H5Tget_member_type(type, i);
            char *name = H5Tget_member_name(type, i);
            member[i] = m >= 0 ? describe_type(m, depth + 1) : t;
            offset[i] = H5Tget_member_offset(type, i);
            snprintf(t.name[i], sizeof t.name[i], "%s", name ? name : "");
            H5free_memory(name);
            H5Tclose(m);
        }
        if (member[0].class == MRO_H5_FLOAT && member[1].class == MRO_H5_FLOAT && member[0].bytes == member[1].bytes &&
            member[0].big_endian == member[1].big_endian && offset[0] == 0 && offset[1] == member[0].bytes &&
            bytes == 2 * (size_t)member[0].bytes) {
            t.class = MRO_H5_PAIR;
            t.big_endian = member[0].big_endian;
        }
    }
    return t;
}

static void put_type(const struct mro_h5_type *t)
{
    put_u64(t->class);
    put_u64(t->bytes);
    put_u64(t->is_signed);
    put_u64(t->big_endian);
    for (int i = 0; i < 2; i++) put_text(t->name[i], strlen(t->name[i]));
}

/* ---- texts: of a dataset (its first element) or of an attribute ---- */

/* Reads one text of `type` through `read`, which gets a memory type and a buffer. NULL when it cannot be had. */
static char *read_text(hid_t type, bool (*read)(hid_t object, hid_t type, void *to), hid_t object)
{
    char *text = NULL;
    const size_t bytes = H5Tget_size(type);
    const hid_t memory = H5Tcopy(type);
    if (memory < 0) return NULL;
    if (H5Tis_variable_str(type) > 0) {
        char *p = NULL;
        if (read(object, memory, &p) && p != NULL) {
            const size_t n = strnlen(p, MAX_TEXT + 1);
            if (n <= MAX_TEXT) text = strdup(p);
            H5free_memory(p);
        }
    } else if (bytes <= MAX_TEXT && (text = calloc(1, bytes + 1)) != NULL && !read(object, memory, text)) {
        free(text);
        text = NULL;
    }
    H5Tclose(memory);
    if (text != NULL && (out.texts += strlen(text)) > MAX_TEXTS) {
        free(text);
        text = NULL;
    }
    return text;
}

static bool read_first(hid_t dataset, hid_t type, void *to)
{
    const hsize_t one = 1, from[H5S_MAX_RANK] = { 0 };
    hsize_t count[H5S_MAX_RANK];
    for (int i = 0; i < H5S_MAX_RANK; i++) count[i] = 1;
    const hid_t space = H5Dget_space(dataset), memory = H5Screate_simple(1, &one, NULL);
    bool ok = space >= 0 && memory >= 0;
    if (ok && H5Sget_simple_extent_ndims(space) > 0)
        ok = H5Sselect_hyperslab(space, H5S_SELECT_SET, from, NULL, count, NULL) >= 0;
    ok = ok && H5Dread(dataset, type, memory, space, H5P_DEFAULT, to) >= 0;
    H5Sclose(memory);
    H5Sclose(space);
    return ok;
}

static bool read_attribute(hid_t attribute, hid_t type, void *to) { return H5Aread(attribute, type, to) >= 0; }

static herr_t put_attribute(hid_t object, const char *name, const H5A_info_t *info, void *data)
{
    unsigned *left = data;
    (void)info;
    if ((*left)-- == 0) return 1;
    const hid_t a = H5Aopen(object, name, H5P_DEFAULT);
    if (a < 0) return 0;
    const hid_t type = H5Aget_type(a), space = H5Aget_space(a);
    const hssize_t n = H5Sget_simple_extent_npoints(space);
    const H5T_class_t class = H5Tget_class(type);
    if (class == H5T_STRING && n == 1) {
        char *text = read_text(type, read_attribute, a);
        if (text != NULL) {
            put_record(MRO_H5_REC_ATTRIBUTE);
            put_u64(out.nodes - 1);
            put_text(name, strlen(name));
            put_u64(1);
            put_text(text, strlen(text));
            free(text);
        }
    } else if ((class == H5T_INTEGER || class == H5T_FLOAT) && n >= 1 && n <= MAX_VALUES) {
        double value[MAX_VALUES];
        if (H5Aread(a, H5T_NATIVE_DOUBLE, value) >= 0) {
            put_record(MRO_H5_REC_ATTRIBUTE);
            put_u64(out.nodes - 1);
            put_text(name, strlen(name));
            put_u64(0);
            put_u64((uint64_t)n);
            put(value, (size_t)n * sizeof *value);
        }
    }
    H5Sclose(space);
    H5Tclose(type);
    H5Aclose(a);
    return 0;
}

/* ---- datasets ---- */

static const char *filter_name(H5Z_filter_t id, const char *own)
{
    switch (id) {
    case H5Z_FILTER_SZIP: return "szip";
    case H5Z_FILTER_NBIT: return "nbit";
    case H5Z_FILTER_SCALEOFFSET: return "scaleoffset";
    case 32000: return "lzf";
    case 32001: return "blosc";
    case 32004: return "lz4";
    case 32008: return "bitshuffle";
    case 32015: return "zstd";
    case 32026: return "blosc2";
    default: return own;
    }
}

/* Asks for every chunk and has the driver note where the library would read it: the only public way from a chunk's
 * place in the array to its place in the file that does not walk the whole index each time. */
static void put_chunks(hid_t dataset, unsigned rank, const uint64_t *chunk, const uint64_t *grid, size_t chunks)
{
    hsize_t at[MRO_H5_RANK] = { 0 };
    unsigned char nothing[8];
    put_u64(chunks);
    for (size_t i = 0; i < chunks && !out.full; i++) {
        uint64_t address, bytes;
        uint32_t mask = 0;
        mro_h5_watch();
        const bool read = H5Dread_chunk(dataset, H5P_DEFAULT, at, &mask, nothing) >= 0;
        if (!mro_h5_watched(&address, &bytes) || !read) {
            address = UINT64_MAX;
            bytes = 0;
        }
        put_u64(address);
        put_u64(bytes);
        put_u64(mask);
        for (unsigned k = rank; k-- > 0;) {
            at[k] += chunk[k];
            if (at[k] / chunk[k] < grid[k]) break;
            at[k] = 0;
        }
    }
    H5Eclear2(H5E_DEFAULT);
}

/* What is found out about a dataset before it is written down. */
struct found {
    struct mro_h5_dataset s;
    uint64_t address, stored; /* where the values lie in one piece, and their bytes */
    unsigned char *inline_bytes;
    char *text;
};

__attribute__((format(printf, 2, 3))) static void refuse(struct mro_h5_dataset *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(s->refused, sizeof s->refused, format, args);
    va_end(args);
    s->layout = MRO_H5_REFUSED;
}

static void find_filters(hid_t plist, struct mro_h5_dataset *s)
{
    const int filters = H5Pget_nfilters(plist);
    for (int i = 0; i < filters && s->refused[0] == '\0'; i++) {
        unsigned flags, values[16];
        size_t n = 16;
        char own[40] = "";
        const H5Z_filter_t id = H5Pget_filter2(plist, (unsigned)i, &flags, &n, values, sizeof own, own, NULL);
        own[sizeof own - 1] = '\0';
        if (id != H5Z_FILTER_DEFLATE && id != H5Z_FILTER_SHUFFLE && id != H5Z_FILTER_FLETCHER32)
            refuse(s, "is packed with the filter %d (%s), which is not read", (int)id, filter_name(id, own));
        else if (s->filters == sizeof s->filter / sizeof *s->filter)
            refuse(s, "is packed with %d filters", filters);
        else
            s->filter[s->filters++] = (uint32_t)id;
    }
}

static void find_chunks(hid_t d, hid_t plist, hid_t space, struct mro_h5_dataset *s)
{
    hsize_t chunk[MRO_H5_RANK] = { 0 }, any = 0;
    unsigned options = 0;
    uint64_t chunks = 1;
    if (H5Pget_chunk(plist, MRO_H5_RANK, chunk) != (int)s->rank) return;
    for (unsigned i = 0; i < s->rank; i++) {
        s->chunk[i] = chunk[i];
        s->grid[i] = chunk[i] > 0 ? (s->shape[i] - 1) / chunk[i] + 1 : 0;
        if (__builtin_mul_overflow(chunks, s->grid[i], &chunks)) chunks = UINT64_MAX;
    }
    if (H5Pget_chunk_opts(plist, &options) >= 0 && options != 0 && s->filters > 0) {
        refuse(s, "leaves its chunks at the edges unpacked, which is not read");
    } else if (H5Dget_num_chunks(d, space, &any) < 0) {
        refuse(s, "has an index of chunks that cannot be read");
    } else if (any > 0 && chunks > 0) {
        if (chunks > MRO_H5_MAX_CHUNKS - out.chunks) {
            refuse(s, "brings the chunks of the file to more than %d", MRO_H5_MAX_CHUNKS);
            return;
        }
        out.chunks += (size_t)chunks;
        s->chunks = (size_t)chunks;
        s->layout = MRO_H5_CHUNKED;
    }
}

/* Where the values lie: nowhere (MRO_H5_EMPTY), unless more is found. */
static void find_values(hid_t d, hid_t plist, hid_t type, hid_t space, struct found *f)
{
    struct mro_h5_dataset *s = &f->s;
    const H5D_layout_t layout = H5Pget_layout(plist);
    s->layout = MRO_H5_EMPTY;
    if (layout == H5D_COMPACT) {
        f->stored = H5Dget_storage_size(d);
        if (f->stored == 0 || f->stored > MAX_INLINE || s->type.class == MRO_H5_UNKNOWN) return;
        f->inline_bytes = malloc((size_t)f->stored);
        if (f->inline_bytes && H5Sget_simple_extent_npoints(space) == (hssize_t)(f->stored / s->type.bytes) &&
            H5Dread(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, f->inline_bytes) >= 0)
            s->layout = MRO_H5_INLINE;
    } else if (layout == H5D_CONTIGUOUS) {
        f->address = H5Dget_offset(d);
        f->stored = H5Dget_storage_size(d);
        if (f->address != HADDR_UNDEF && f->stored > 0) s->layout = MRO_H5_CONTIGUOUS;
    } else if (layout == H5D_CHUNKED) {
        find_chunks(d, plist, space, s);
    } else {
        refuse(s, "has a storage layout that is not known (%d)", (int)layout);
    }
}

static void find_shape(hid_t d, hid_t plist, hid_t type, struct found *f)
{
    struct mro_h5_dataset *s = &f->s;
    const hid_t space = H5Dget_space(d);
    const int rank = H5Sget_simple_extent_ndims(space);
    hsize_t shape[MRO_H5_RANK] = { 0 };
    H5D_fill_value_t fill;
    bool none = false;
    if (rank < 0 || rank > MRO_H5_RANK || H5Sget_simple_extent_type(space) == H5S_NULL) {
        refuse(s, "has %d axes; at most %d are read", rank, MRO_H5_RANK);
        goto done;
    }
    if (rank > 0) H5Sget_simple_extent_dims(space, shape, NULL);
    s->rank = (unsigned)rank;
    for (unsigned i = 0; i < s->rank; i++) {
        s->shape[i] = shape[i];
        none = none || shape[i] == 0;
    }
    if (s->type.class == MRO_H5_TEXT && !none) f->text = read_text(type, read_first, d);
    if (s->type.bytes > 0 && s->type.bytes <= sizeof s->fill && s->type.class != MRO_H5_TEXT &&
        H5Pfill_value_defined(plist, &fill) >= 0 && fill == H5D_FILL_VALUE_USER_DEFINED)
        H5Pget_fill_value(plist, type, s->fill);
    find_filters(plist, s);
    if (s->refused[0] != '\0') goto done;
    s->layout = MRO_H5_EMPTY;
    if (s->type.class != MRO_H5_TEXT && !none) find_values(d, plist, type, space, f);
done:
    H5Sclose(space);
}

static void put_dataset(hid_t d)
{
    struct found f = { .s.layout = MRO_H5_REFUSED };
    const struct mro_h5_dataset *s = &f.s;
    const hid_t plist = H5Dget_create_plist(d), type = H5Dget_type(d);
    f.s.type = describe_type(type, 0);
    /* Before anything else is asked: a virtual dataset opens its sources to tell its shape. */
    if (H5Pget_layout(plist) == H5D_VIRTUAL)
        refuse(&f.s, "is a virtual dataset, made of other files");
    else if (H5Pget_external_count(plist) > 0)
        refuse(&f.s, "keeps its values in another file, which is not followed");
    else
        find_shape(d, plist, type, &f);
    put_record(MRO_H5_REC_DATASET);
    put_type(&s->type);
    put_u64(s->rank);
    for (unsigned i = 0; i < s->rank; i++) put_u64(s->shape[i]);
    put_u64(s->layout);
    put_text(s->refused, strlen(s->refused));
    put_u64(s->filters);
    for (unsigned i = 0; i < s->filters; i++) put_u64(s->filter[i]);
    put(s->fill, sizeof s->fill);
    put_u64(f.text != NULL);
    put_text(f.text ? f.text : "", f.text ? strlen(f.text) : 0);
    if (s->layout == MRO_H5_INLINE) {
        put_text((const char *)f.inline_bytes, (size_t)f.stored);
    } else if (s->layout == MRO_H5_CONTIGUOUS) {
        put_u64(f.address);
        put_u64(f.stored);
    } else if (s->layout == MRO_H5_CHUNKED) {
        for (unsigned i = 0; i < s->rank; i++) put_u64(s->chunk[i]);
        put_chunks(d, s->rank, s->chunk, s->grid, s->chunks);
    }
    free(f.text);
    free(f.inline_bytes);
    H5Tclose(type);
    H5Pclose(plist);
}

/* ---- the walk ---- */

/* Objects met so far, by address: open addressing, never more than half full. */
static struct {
    haddr_t address;
    uint32_t node;
} * met;
enum { MET = 4 * MRO_H5_MAX_NODES };

static uint32_t *look_up(haddr_t address)
{
    size_t i = (size_t)((uint64_t)address * UINT64_C(0x9e3779b97f4a7c15) >> 40) % MET;
    while (met[i].node != MRO_H5_NONE && met[i].address != address) i = (i + 1) % MET;
    met[i].address = address;
    return &met[i].node;
}

struct place {
    uint32_t node;
    int depth;
    const struct place *above;
};

static void put_node(enum mro_h5_kind kind, const struct place *in, const char *name, const char *text, uint32_t target)
{
    put_record(MRO_H5_REC_NODE);
    put_u64(kind);
    put_u64(in ? in->node : MRO_H5_NONE);
    put_text(name, strlen(name));
    put_text(text, strlen(text));
    put_u64(target);
    out.nodes++;
}

static void put_attributes(hid_t object)
{
    unsigned left = MAX_ATTRIBUTES;
    hsize_t at = 0;
    H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, &at, put_attribute, &left);
}

static herr_t visit(hid_t group, const char *name, const H5L_info_t *link, void *data)
{
    const struct place *in = data;
    char text[512] = "";
    if (out.full || out.failure[0] != '\0') return -1;
    if (out.nodes >= MRO_H5_MAX_NODES) {
        snprintf(text, sizeof text, "it holds more than %d objects", MRO_H5_MAX_NODES);
        fail(text);
        return -1;
    }
    if (link->type != H5L_TYPE_HARD) {
        /* Only the text of a link is read here; nothing is opened through it. */
        unsigned char value[512] = "";
        const char *path = "", *file = "";
        if (link->u.val_size <= sizeof value - 1 &&
            H5Lget_val(group, name, value, sizeof value - 1, H5P_DEFAULT) >= 0) {
            unsigned flags;
            if (link->type == H5L_TYPE_SOFT)
                snprintf(text, sizeof text, "%s", (const char *)value);
            else if (link->type == H5L_TYPE_EXTERNAL &&
                     H5Lunpack_elink_val(value, link->u.val_size, &flags, &file, &path) >= 0)
                snprintf(text, sizeof text, "%s of '%s'", path, file);
        }
        put_node(link->type == H5L_TYPE_SOFT       ? MRO_H5_SOFT
                 : link->type == H5L_TYPE_EXTERNAL ? MRO_H5_EXTERNAL
                                                   : MRO_H5_OTHER,
                 in, name, text, MRO_H5_NONE);
        return 0;
    }
    uint32_t *seen = look_up(link->u.address);
    if (*seen != MRO_H5_NONE) {
        for (const struct place *p = in; p != NULL; p = p->above) {
            if (p->node != *seen) continue;
            snprintf(text, sizeof text, "its group '%.200s' is one that it lies in, so that the tree has no end", name);
            fail(text);
            return -1;
        }
        put_node(MRO_H5_ALIAS, in, name, "", *seen);
        return 0;
    }
    *seen = (uint32_t)out.nodes;
    /* By address and not by name, which could be written so that it leads through a link. */
    const hid_t object = H5Oopen_by_addr(group, link->u.address);
    const H5I_type_t type = object >= 0 ? H5Iget_type(object) : H5I_BADID;
    if (type == H5I_GROUP) {
        const struct place here = { (uint32_t)out.nodes, in->depth + 1, in };
        put_node(MRO_H5_GROUP, in, name, "", MRO_H5_NONE);
        put_attributes(object);
        hsize_t at = 0;
        if (here.depth > MRO_H5_MAX_DEPTH) {
            snprintf(text, sizeof text, "its groups nest deeper than %d", MRO_H5_MAX_DEPTH);
            fail(text);
        } else if (H5Literate(object, H5_INDEX_NAME, H5_ITER_INC, &at, visit, (void *)&here) < 0) {
            snprintf(text, sizeof text, "its group '%.200s' cannot be read", name);
            fail_in_library(text);
        }
    } else if (type == H5I_DATASET) {
        put_node(MRO_H5_DATASET, in, name, "", MRO_H5_NONE);
        put_dataset(object);
        put_attributes(object);
    } else {
        if (object < 0) { /* of a newer release of the library, or broken */
            char reason[200] = "";
            H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, note_reason, reason);
            snprintf(text, sizeof text, "cannot be opened by the HDF5 library %d.%d.%d: %s", H5_VERS_MAJOR,
                     H5_VERS_MINOR, H5_VERS_RELEASE, reason);
        }
        put_node(MRO_H5_OTHER, in, name, text, MRO_H5_NONE);
    }
    if (object >= 0) H5Oclose(object);
    return out.full || out.failure[0] != '\0' ? -1 : 0;
}

static void read_structure(struct mro_bytes file)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    H5PLset_loading_state(0); /* no filter from a plug-in */
    const hid_t driver = mro_h5_driver(file), fapl = H5Pcreate(H5P_FILE_ACCESS);
    met = malloc(MET * sizeof *met);
    if (driver < 0 || fapl < 0 || met == NULL || H5Pset_driver(fapl, driver, NULL) < 0) {
        fail_in_library("the HDF5 library does not start");
        return;
    }
    for (size_t i = 0; i < MET; i++) met[i].node = MRO_H5_NONE;
    const hid_t opened = H5Fopen(MRO_H5_DRIVEN, H5F_ACC_RDONLY, fapl);
    const hid_t root = opened >= 0 ? H5Gopen2(opened, "/", H5P_DEFAULT) : -1;
    H5O_info_t info;
    if (root < 0 || H5Oget_info(root, &info) < 0) {
        fail_in_library("the HDF5 library cannot open it");
        return;
    }
    const struct place top = { 0, 0, NULL };
    *look_up(info.addr) = 0;
    put_node(MRO_H5_GROUP, NULL, "", "", MRO_H5_NONE);
    put_attributes(root);
    hsize_t at = 0;
    if (H5Literate(root, H5_INDEX_NAME, H5_ITER_INC, &at, visit, (void *)&top) < 0)
        fail_in_library("its root group cannot be read");
}

const unsigned char *mro_h5_write_catalogue(struct mro_bytes file, size_t *size)
{
    read_structure(file);
    if (out.full && out.failure[0] == '\0') fail("its structure does not fit into the memory set aside for it");
    if (out.failure[0] != '\0') {
        out.n = 0;
        out.full = false;
        put_record(MRO_H5_REC_FAILED);
        put_text(out.failure, strlen(out.failure));
    }
    put_record(MRO_H5_REC_END);
    *size = out.n;
    return out.full ? NULL : out.p;
}
