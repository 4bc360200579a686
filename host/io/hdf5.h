/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What an HDF5 file holds, and the bytes of its arrays. Nothing here knows what the file is for.
 *
 * The HDF5 library reads the structure (groups, links, types, layouts, attributes, texts) and is not built for files
 * that lie: it runs in a short-lived child process with little memory, little time and no right to open anything, and
 * hands back a catalogue. Every number of the catalogue is checked against the size of the file before it is used, and
 * the arrays are read here, straight from the mapped bytes, chunks inflated in parallel.
 *
 * Never followed: external links, external raw files, virtual datasets. Soft links are followed inside the file, along
 * the catalogue. A group that holds one of its own ancestors is an error. */
#ifndef MRO_IO_HDF5_H
#define MRO_IO_HDF5_H

#include "io/reader.h"

#define MRO_H5_RANK MRO_MAX_AXES
#define MRO_H5_NONE UINT32_MAX /* no such node */

enum mro_h5_kind {
    MRO_H5_GROUP,
    MRO_H5_DATASET,
    MRO_H5_ALIAS,    /* a second hard link to an object already listed: `target_node` */
    MRO_H5_SOFT,     /* `text` is the path it points to */
    MRO_H5_EXTERNAL, /* a link into another file, which is not followed; `text` says where to */
    MRO_H5_OTHER /* a named type, a link of a kind that users define; what the library cannot open: `text` says why */
};

enum mro_h5_class { MRO_H5_INTEGER, MRO_H5_FLOAT, MRO_H5_TEXT, MRO_H5_PAIR, MRO_H5_UNKNOWN };

/* Type of the elements. A pair is a compound of two equal floats one after the other: complex numbers. */
struct mro_h5_type {
    enum mro_h5_class class;
    uint32_t bytes; /* of an element */
    bool is_signed, big_endian;
    char name[2][24]; /* of the members of a pair */
};

struct mro_h5_chunk {
    uint64_t address; /* in the file; UINT64_MAX: never written, reads as the fill value */
    uint64_t bytes;   /* stored */
    uint32_t mask;    /* bit i: filter i was left out for this chunk */
};

struct mro_h5_dataset {
    struct mro_h5_type type;
    unsigned rank;
    uint64_t shape[MRO_H5_RANK];
    enum { MRO_H5_EMPTY, MRO_H5_CONTIGUOUS, MRO_H5_CHUNKED, MRO_H5_INLINE, MRO_H5_REFUSED } layout;
    uint64_t chunk[MRO_H5_RANK], grid[MRO_H5_RANK]; /* shape of a chunk; number of chunks along each axis */
    size_t chunks, chunks_stored;
    struct mro_h5_chunk *list; /* C order over the grid; one entry for contiguous data */
    unsigned filters;
    uint32_t filter[8];
    unsigned char fill[16];
    unsigned char *inline_bytes; /* the elements, where they lie in the catalogue and not in the file */
    size_t inline_size;
    char *text;       /* of a text dataset: its first text; NULL when that could not be read */
    char refused[96]; /* MRO_H5_REFUSED: why the array cannot be read, as the end of a sentence */
};

struct mro_h5_attribute {
    uint32_t node; /* rises along the list */
    char name[48];
    char *text; /* or NULL */
    size_t n;   /* numbers, when it is no text */
    double value[8];
};

struct mro_h5_node {
    uint32_t parent, first, last, next; /* places in the list; MRO_H5_NONE */
    enum mro_h5_kind kind;
    uint32_t target_node;         /* MRO_H5_ALIAS */
    size_t attribute, attributes; /* its first in the list of attributes, and how many */
    char *name, *text;
    struct mro_h5_dataset *data; /* MRO_H5_DATASET */
};

/* Node 0 is the root group; children follow their parent, sorted by name. */
struct mro_h5 {
    const struct mro_file *f;
    struct mro_h5_node *node;
    size_t nodes, room;
    struct mro_h5_attribute *attribute;
    size_t attributes, attribute_room;
};

/* Whether the bytes begin as an HDF5 file does. Files behind a user block are not read. */
bool mro_h5_probe(struct mro_bytes b);

/* Reads the structure of f->bytes. MRO_EFORMAT with the library's own words when it refuses the file, runs into its
 * limits or dies; MRO_EMEMORY when the machine cannot start it. Release with mro_h5_release, also after a failure. */
enum mro_code mro_h5_open(struct mro_h5 *h, const struct mro_file *f, struct mro_error *e);

/* The second half of mro_h5_open: takes a catalogue as the child writes it, checks it against f->bytes. */
enum mro_code mro_h5_parse(struct mro_h5 *h, const struct mro_file *f, const unsigned char *catalogue, size_t size,
                           struct mro_error *e);

void mro_h5_release(struct mro_h5 *h); /* {0} is fine */

/* Child of a group by name, or by a path with '/' between; links inside the file are followed. MRO_H5_NONE when there
 * is none, and when looking takes more than any real file asks for (32 links, the names of all objects four times).
 * `group` may be MRO_H5_NONE. */
uint32_t mro_h5_find(const struct mro_h5 *h, uint32_t group, const char *path);

/* Where a node leads: itself, or what a link inside the file points to. MRO_H5_NONE for a link that leads nowhere. */
uint32_t mro_h5_follow(const struct mro_h5 *h, uint32_t node);

/* The dataset a node is or leads to; NULL when it is none. */
const struct mro_h5_dataset *mro_h5_dataset(const struct mro_h5 *h, uint32_t node);

/* Full path of a node, cut at `size`. */
void mro_h5_path(const struct mro_h5 *h, uint32_t node, char *out, size_t size);

/* Attributes; false (or NULL) when there is none of that kind. */
bool mro_h5_number(const struct mro_h5 *h, uint32_t node, const char *name, double *value);
const char *mro_h5_text(const struct mro_h5 *h, uint32_t node, const char *name);

/* Pixel type of the elements; false when they are none. */
bool mro_h5_dtype(const struct mro_h5_type *t, enum mro_dtype *dtype);

/* Bytes of the shape, or of a chunk; false when they are more than can be addressed. */
bool mro_h5_array_bytes(const struct mro_h5_dataset *d, const uint64_t *shape, size_t *bytes);

/* A box of a dataset and the order in which its elements are wanted: order[0] is the axis that changes slowest in the
 * output, order[rank - 1] the fastest. */
struct mro_h5_box {
    uint64_t from[MRO_H5_RANK], n[MRO_H5_RANK];
    unsigned order[MRO_H5_RANK];
};

/* Copies the elements of a box into `out`, in the machine's byte order. The box must lie in the shape, `out` must have
 * room for it. `memory` bounds what is needed beside `out`. Errors: MRO_EFORMAT (chunks that do not inflate, filters
 * that are not known), MRO_EMEMORY. Threads: any, on different `out`. */
enum mro_code mro_h5_read(const struct mro_h5 *h, uint32_t node, const struct mro_h5_box *box, void *out, size_t memory,
                          struct mro_error *e);

/* Address of a box whose elements lie one after the other in the file, in the wanted order; NULL when they do not. */
const unsigned char *mro_h5_view(const struct mro_h5 *h, uint32_t node, const struct mro_h5_box *box);

#endif
