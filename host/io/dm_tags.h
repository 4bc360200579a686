/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The tags of DigitalMicrograph files, DM3 and DM4, as a tree that points into the file. */
#ifndef MRO_IO_DM_TAGS_H
#define MRO_IO_DM_TAGS_H

#include "io/reader.h"

enum { MRO_DM_ARRAY = 20 }; /* type of a tag whose value is an array */

/* One tag. Links are indices into the list; 0 (the root) stands for none. */
struct mro_dm_node {
    uint32_t parent, first, last, next;
    const unsigned char *name; /* in the file, not terminated */
    size_t offset;             /* of the value in the file */
    size_t bytes;              /* of the value */
    uint16_t name_bytes;
    uint8_t type;    /* as the file has it; of the outermost level */
    uint8_t element; /* type of the elements of an array */
};

struct mro_dm_tree {
    struct mro_file *f; /* for its name in messages */
    struct mro_bytes b;
    size_t pos;
    bool dm4, big;            /* big: values are big-endian */
    struct mro_dm_node *node; /* free() it */
    size_t nodes, room;
};

/* Reads head and tags of t->b; all but f and b is 0 before. After a failure `dm4` and `node` hold all the same.
 * MRO_EFORMAT with the tag or byte, MRO_EMEMORY. */
enum mro_code mro_dm_read(struct mro_dm_tree *t, struct mro_error *e);

/* Fails with "'file': DM3 tag 'path' <what>". */
enum mro_code mro_dm_broken(const struct mro_dm_tree *t, size_t node, struct mro_error *e, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Writes the path of a tag ("ImageList/1/ImageData/Data"); tags without a name are shown by their place. */
void mro_dm_path(const struct mro_dm_tree *t, size_t node, char *out, size_t size);

/* A tag below `group` by its path, names with '/' between, or by its place; 0: not found. The root is 0 too. */
size_t mro_dm_find(const struct mro_dm_tree *t, size_t group, const char *path);
size_t mro_dm_child_at(const struct mro_dm_tree *t, size_t group, size_t place);

/* The value of a plain number; false when the tag is missing (0) or something else. */
bool mro_dm_number(const struct mro_dm_tree *t, size_t node, double *out);

/* A number that counts something: whole and not negative, exact up to 2^53, beyond which no file reaches. */
bool mro_dm_count(const struct mro_dm_tree *t, size_t node, uint64_t *out);

/* A number where it is finite and above 0, else 0: unknown. */
double mro_dm_positive(const struct mro_dm_tree *t, size_t node);

/* Two numbers: an array of a simple type, or a group. */
bool mro_dm_pair(const struct mro_dm_tree *t, size_t node, double out[2]);

/* Text of a tag (UTF-16 in the order of the values) as UTF-8, cut between characters; "" when missing. */
void mro_dm_text(const struct mro_dm_tree *t, size_t node, char *out, size_t size);

#endif
