/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Parts of the TIFF reader: what a page says of its pixels, and how they are decoded. */
#ifndef MRO_IO_TIFF_PAGE_H
#define MRO_IO_TIFF_PAGE_H

#include <tiffio.h>

#include "io/tiff_meta.h"

/* What must agree between the pages of one image. */
struct mro_tiff_layout {
    uint32_t nx, ny;
    uint16_t bits, samples, format, photometric, planar;
    enum mro_dtype dtype;
    uint16_t channels; /* samples handed out as frames of their own; 1: the page is one frame */
};

/* One handle of libtiff on the bytes of the file: a thread that decodes has its own. */
struct mro_tiff_client {
    struct mro_file *f;
    TIFF *tif;
    uint64_t position;  /* of the read calls of libtiff */
    char sentence[256]; /* first complaint of libtiff since it was emptied */
    bool silent;        /* warnings are kept, not given: several handles would give them in any order */
    char warning[256];  /* the first kept */
};

enum { MRO_TIFF_HELPERS = 15 };

/* A file that is open. */
struct mro_tiff {
    struct mro_file *f;
    TIFF *tif; /* main.tif */
    struct mro_tiff_client main, *helper[MRO_TIFF_HELPERS];
    bool big_endian, big_tiff;
    struct mro_tiff_page *pages; /* tiff.c's, as all to `n_series` */
    size_t n_pages;
    struct mro_tiff_series *series;
    size_t n_series;
    uint64_t pieces, stored; /* strips and tiles of all pages, and the bytes they take */
    char *description;       /* of the first page; NULL = none */
};

/* -- tiff_page.c: the current page ------------------------------------------------------------------- */

struct mro_tiff_dir mro_tiff_directory(const struct mro_tiff *t, uint64_t ifd);

/* Reads what kind of pixels the page has; `number` counts from 1. On failure the page may be passed over. */
enum mro_code mro_tiff_read_layout(struct mro_tiff *t, size_t number, struct mro_tiff_layout *l, struct mro_error *e);

/* Bytes of one pixel in the planes of the file, and how many planes there are. */
size_t mro_tiff_pixel_bytes(const struct mro_tiff_layout *l);
size_t mro_tiff_planes(const struct mro_tiff_layout *l);

/* Holds the sizes of the page against the file, and finds pixels that lie there as they are: their offset, else 0.
 * Failures here mean a cut or lying file, which is refused as a whole. */
enum mro_code mro_tiff_check_extent(struct mro_tiff *t, size_t number, const struct mro_tiff_layout *l, uint64_t *data,
                                    struct mro_error *e);

/* Geometry of the pieces (strips or tiles) of the current page. */
struct mro_tiff_pieces {
    bool tiled;
    uint32_t nx, ny;       /* pixels of one piece */
    uint64_t across, down; /* pieces of one plane */
    size_t bytes;          /* of one whole piece, decoded */
};

enum mro_code mro_tiff_read_pieces(struct mro_tiff *t, size_t number, const struct mro_tiff_layout *l,
                                   struct mro_tiff_pieces *s, struct mro_error *e);

/* Bytes that piece i of a plane decodes to: the last strip may be short, tiles never are. */
size_t mro_tiff_piece_bytes(const struct mro_tiff_pieces *s, const struct mro_tiff_layout *l, uint64_t i);

/* -- tiff_decode.c ----------------------------------------------------------------------------------- */

/* Opens the handle c, whose f is set, on the bytes; their first directory is the current one. */
enum mro_code mro_tiff_open(struct mro_tiff_client *c, struct mro_error *e);

/* MRO_EMEMORY with a sentence. */
enum mro_code mro_tiff_no_memory(const struct mro_file *f, struct mro_error *e);

/* What libtiff has complained of. */
const char *mro_tiff_sentence(const struct mro_tiff_client *c);

/* Decodes one plane of the current page to ny rows of nx pixels of mro_tiff_pixel_bytes, its pieces shared among the
 * threads. What is said of it does not depend on them: the first piece in order speaks. */
enum mro_code mro_tiff_read_plane(struct mro_tiff *t, size_t number, const struct mro_tiff_layout *l, size_t plane,
                                  unsigned char *out, struct mro_error *e);

#endif
