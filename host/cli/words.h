/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What names of files, titles and detectors say of an image. */
#ifndef MRO_CLI_WORDS_H
#define MRO_CLI_WORDS_H

#include <stdbool.h>

#include "mroscope/file.h"

/* Does one of the words (NULL ends them) stand in a name by itself, between characters that are no letters? */
bool cli_any_word(const char *name, const char *const *words);

/* Was an image taken with a detector of STEM, as its detector or its title says? */
bool cli_is_stem(const struct mro_image_info *info);

/* Was it taken with a camera, as its detector says? */
bool cli_is_camera(const struct mro_image_info *info);

#endif
