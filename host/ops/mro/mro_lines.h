/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Columns and rows of a detector that are dead, hot or of another gain than their neighbours. */
#ifndef MRO_OPS_MRO_LINES_H
#define MRO_OPS_MRO_LINES_H

#include "mroscope/image.h"
#include "mroscope/math/contrast.h"

/* Looks for lines of up to four pixels' width, along half of the image or more, where the `means` over blocks of pixels
 * tell that there may be some, and replaces them by what lies between their neighbours: counts[0] rows and counts[1]
 * columns. *px: the image without them, to be freed; NULL where there are none. MRO_EMEMORY only. */
enum mro_code mro_lines_replace(const struct mro_image *im, const struct mro_blocks *b, const double *means,
                                size_t counts[2], float **px, struct mro_error *e);

#endif
