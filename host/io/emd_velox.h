/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Parts of the reader of Velox EMD: what the JSON of a file says (emd_velox_metadata.c), its spectrum stream
 * (emd_velox_stream.c), and what is in a file at all (emd_velox.c). */
#ifndef MRO_IO_EMD_VELOX_H
#define MRO_IO_EMD_VELOX_H

#include <jansson.h>

#include "io/emd.h"

/* -- emd_velox_metadata.c -- */

/* A text at "key/key" of an object; NULL where there is none. `o` may be NULL. */
const char *mro_velox_text(const json_t *o, const char *path);

/* A number there, finite. Velox writes its numbers as texts, with a point whatever the language. */
bool mro_velox_number(const json_t *o, const char *path, double *v);

/* The same, where it is above 0, else 0. */
double mro_velox_positive(const json_t *o, const char *path);

/* The JSON text that a dataset holds; NULL when there is none, or when more has been read than any real file has.
 * Release with json_decref. */
json_t *mro_velox_json(struct emd_state *s, uint32_t node);

/* Gathers what images are called; what the one of a group is, NULL where nothing says it. */
void mro_velox_read_labels(struct emd_state *s);
const char *mro_velox_label(const struct emd_state *s, uint32_t group);

/* Reads the metadata of a group's first frame: *o is NULL when there is none. False, with the image passed over, when
 * it cannot be made out: numbers without their scale would pass for more than they are. */
bool mro_velox_metadata(struct mro_file *f, uint32_t group, json_t **o);

/* Fills an image from its metadata, which may be NULL: everything but the axes; */
void mro_velox_describe(struct mro_file *f, const json_t *o, struct mro_image_info *info);
/* pixel sizes of the axes y and, behind it, x; */
void mro_velox_pixel_size(struct mro_file *f, const json_t *o, struct mro_image_info *info, struct mro_axis *y);
/* the time between frames: of a scan, or the exposure of a camera; */
void mro_velox_frame_time(const json_t *o, struct mro_axis *frames);
/* energies of the last axis. */
void mro_velox_dispersion(struct mro_file *f, const json_t *o, struct mro_image_info *info);

/* -- emd_velox_stream.c -- */

/* Takes the spectrum stream of a group, of one detector, with those before it. Fails for lack of memory and for more
 * images than EMD_IMAGES; what cannot be read is passed over. */
enum mro_code mro_velox_add_stream(struct mro_file *f, uint32_t group, struct mro_error *e);

#endif
