/* SPDX-License-Identifier: GPL-3.0-or-later */
/* XML metadata of vendors, read with expat as a stream of elements. Files come from anywhere: nothing outside
 * the text is ever fetched, a text that declares entities is refused, and depth and lengths are bounded. */
#ifndef MRO_IO_XML_H
#define MRO_IO_XML_H

#include <stdbool.h>
#include <stddef.h>

#define MRO_XML_MAX_BYTES ((size_t)16 << 20)

/* What is told of the elements; either may be NULL. `path` is "Root/Child/Leaf", names without the prefixes of
 * their name spaces. Elements deeper than 32 levels, or with a path beyond 511 bytes, are not told. */
struct mro_xml_hooks {
    /* An element begins. `attributes` are name, value, name, value, ..., NULL. */
    void (*begin)(void *context, const char *path, const char *const *attributes);
    /* An element ends; `text` is what stood in it after its last child, without white space around, UTF-8, cut
     * at 1023 bytes. */
    void (*end)(void *context, const char *path, const char *text);
};

/* Walks through `n` bytes, zeros at the end being passed over. False with a reason in `why` (may be NULL) when
 * the text is no XML to its end or is refused; what was told until then stands. */
bool mro_xml_walk(const char *text, size_t n, const struct mro_xml_hooks *hooks, void *context, char *why, size_t room);

/* Value of an attribute, whatever the prefix of its name; NULL = not there. */
const char *mro_xml_attribute(const char *const *attributes, const char *name);

#endif
