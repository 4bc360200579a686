/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tags of DigitalMicrograph inside files of other formats. */
#ifndef MRO_IO_DM_H
#define MRO_IO_DM_H

#include "io/reader.h"

/* Fills what `info` does not know yet of microscope, camera and date from the tags of one image: a DM3 or DM4 file
 * whose root is what a DM file has under ImageList/N/ImageTags, as DigitalMicrograph writes it into TIFF. Warns when
 * the tags are broken, and leaves `info` as it is. */
void mro_dm_describe(struct mro_file *f, struct mro_bytes b, struct mro_image_info *info);

#endif
