/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the two formats named EMD have in common: images are arrays of an HDF5 file (emd_image.c), found and calibrated
 * by the rules of Velox (emd_velox.c) or of Berkeley (emd_berkeley.c), and read by emd.c. Nothing here may be called
 * for one file by two threads at once. */
#ifndef MRO_IO_EMD_H
#define MRO_IO_EMD_H

#include "io/eds_stream.h"
#include "io/hdf5.h"
#include "io/reader.h"

enum {
    EMD_IMAGES = 4096, /* most that a file may have */
    EMD_SCANS = 32
};

/* An image, beside what mro_image_info says of it. */
struct emd_image {
    enum {
        EMD_ARRAY,
        EMD_SPECTRUM_IMAGE,
        EMD_SUM_SPECTRUM,
        EMD_TOTAL_COUNTS
    } what; /* all but the first come out of the stream */
    uint32_t node;
    unsigned rank, lead;         /* axes of the dataset; how many of them, first in `order`, choose the frame */
    unsigned order[MRO_H5_RANK]; /* of the dataset's axes, slowest first */
    size_t frame_bytes;
};

/* What is kept of an open file. */
struct emd_state {
    struct mro_h5 h5;
    struct emd_image *image; /* one for each of f->info */
    size_t room;
    struct mro_eds_stream *stream; /* NULL: none */
    /* Frames unpacked ahead: `n` from `first` on, of image `of`. */
    struct {
        unsigned char *bytes;
        size_t room, of, first, n;
        size_t last_image, last_frame; /* read last, to see reading in order */
    } cache;
    /* While opening. */
    struct emd_label { /* what an image of Velox is called */
        char path[128], title[64];
    } * label;
    size_t labels;
    size_t effort, texts;
    uint64_t claimed;                 /* bytes of the arrays that were taken */
    size_t scan[EMD_SCANS][2], scans; /* rows and columns of the scanned images */
    struct mro_error first;           /* why the first image that was passed over was */
};

/* Whether the file is of Velox: it says so, or has the groups. */
bool mro_emd_is_velox(struct emd_state *s);

/* Finds and calibrates the images, spectra and the spectrum stream of a Velox file. Fails for lack of memory and for
 * more images than EMD_IMAGES; what cannot be read is passed over. */
enum mro_code mro_emd_open_velox(struct mro_file *f, struct mro_error *e);

/* The same for the groups of a Berkeley file. any: set when there is one, readable or not. */
enum mro_code mro_emd_open_berkeley(struct mro_file *f, bool *any, struct mro_error *e);

/* -- emd_image.c -- */

/* Notes why what `node` holds is passed over; the first reason becomes the error when no image is left. */
__attribute__((format(printf, 3, 4))) void mro_emd_pass_over(struct mro_file *f, uint32_t node, const char *format,
                                                             ...);

/* Counts what reading `bytes` of a dataset unpacks; false when a file asks for more than any real one does. */
bool mro_emd_affordable(struct emd_state *s, const struct mro_h5_dataset *d, size_t bytes);

/* The array that the group's member `name` is, or MRO_H5_NONE with the reason noted. */
uint32_t mro_emd_find_array(struct mro_file *f, uint32_t group, const char *name);

/* Appends an image to f->info and s->image; NULL with the reason in `e`. */
struct mro_image_info *mro_emd_new_image(struct mro_file *f, struct mro_error *e);

/* Appends an image of dataset `node`, whose axes come in `order`, slowest first; the sizes of its axes are set: the
 * last `keep` of them all, of those before only such of more than one sample. NULL with the reason in `e`. */
struct mro_image_info *mro_emd_add_image(struct mro_file *f, uint32_t node, const unsigned *order, unsigned keep,
                                         struct mro_error *e);

/* Checks the image appended last, now that it is described; one that cannot be is taken away again and noted. */
void mro_emd_seal_image(struct mro_file *f, struct mro_image_info *info);

/* Copies a text that is neither NULL nor empty. */
void mro_emd_set_text(char *to, size_t size, const char *from);

#endif
