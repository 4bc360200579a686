/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Spectrum streams inside the readers: what emd_velox.c finds out about one, and what emd.c reads through it. */
#ifndef MRO_IO_EDS_STREAM_H
#define MRO_IO_EDS_STREAM_H

#include "io/hdf5.h"
#include "mroscope/eds_stream.h"

enum { MRO_EDS_MAX_PARTS = 32, MRO_EDS_NEXT_PIXEL = 65535 };

/* The streams of all detectors of one file. What comes after `frames` is found by the first pass. */
struct mro_eds_stream {
    struct mro_file *f;
    const struct mro_h5 *h5;
    size_t parts;
    uint32_t part[MRO_EDS_MAX_PARTS]; /* datasets of uint16, each one column */
    uint64_t words[MRO_EDS_MAX_PARTS];
    struct mro_eds_stream_info info;
    bool decoded;
    uint32_t *total;    /* ny * nx counts */
    uint32_t *spectrum; /* channels */
    /* Where each row of each frame begins, in words, frame by frame: part k has them from row_first[k] to
     * row_first[k + 1]. NULL when that would take too much memory. */
    uint64_t *row;
    size_t row_first[MRO_EDS_MAX_PARTS + 1], row_room;
    struct { /* rows of the spectrum image taken out together */
        uint16_t *counts;
        size_t first, n;
    } rows;
};

/* The stream of an open file; NULL when it has none. */
struct mro_eds_stream *mro_eds_stream_of(struct mro_file *f);

/* Each fills `out` as struct mro_reader's read does. Errors as mro_eds_maps. */
enum mro_code mro_eds_read_total(struct mro_eds_stream *s, uint32_t *out, struct mro_error *e);
enum mro_code mro_eds_read_spectrum(struct mro_eds_stream *s, uint32_t *out, struct mro_error *e);
enum mro_code mro_eds_read_row(struct mro_eds_stream *s, size_t y, uint16_t *out, struct mro_error *e); /* nx, energy */

void mro_eds_stream_release(struct mro_eds_stream *s); /* NULL is fine; frees s */

#endif
