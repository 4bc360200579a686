/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Maps of elements given as --map Fe=FILE, for the verbs that measure composition, and the list of all files that one
 * result was made from. */
#ifndef MRO_CLI_MAPS_H
#define MRO_CLI_MAPS_H

#include "cli/inputs.h"
#include "io/reader.h"
#include "mroscope/eds.h"

enum { CLI_MAX_SOURCES = 2 * CLI_MAX_LIST };

/* Files of one result: what each is ("map Fe", "haadf"), its name as given, its checksum. `{0}` is empty. */
struct cli_sources {
    size_t n;
    char *role[CLI_MAX_SOURCES], *file[CLI_MAX_SOURCES], *sha256[CLI_MAX_SOURCES];
};

/* Adds a file by its bytes; `fd` is the open file, or -1. MRO_EARG (too many), MRO_EMEMORY. */
enum mro_code cli_sources_add(struct cli_sources *s, const char *role, const char *file, int fd, const void *p,
                              size_t size, struct mro_error *e);
void cli_sources_release(struct cli_sources *s);

/* The same for a result; borrowed. */
struct mro_result_inputs cli_sources_json(const struct cli_sources *s);

/* Opens a file of images within `memory` bytes (0 = half of the machine's) and adds it to the sources. */
enum mro_code cli_sources_open(struct cli_sources *s, const char *role, const char *path, size_t memory,
                               struct mro_file **f, struct mro_error *e);

/* The map of an element in a file: the image with the title `symbol` (NULL: none), or else the k-th plane, from 0,
 * counting the frames of all images. *image is where it was. MRO_EARG when the file has no such plane. */
enum mro_code cli_read_plane(struct mro_file *f, const char *path, const char *symbol, size_t k, struct mro_image *im,
                             size_t *image, struct mro_error *e);

/* Maps of one field. `{0}` is empty. Large: not for the stack of a thread. */
struct cli_maps {
    struct mro_eds_field field; /* points into what follows */
    struct mro_image image[MRO_EDS_MAX_ELEMENTS];
    float *variance[MRO_EDS_MAX_ELEMENTS]; /* of maps out of spectra */
    struct mro_image_info info;            /* of the first map */
    char calibration[96];
};

/* Whether all of --map name their elements, each once. MRO_EARG. */
enum mro_code cli_maps_check(const struct cli_list *maps, struct mro_error *e);

/* Reads "Fe=FILE", "Fe,Co,Si=STACK" or "Fe,Co,Si=SPECTRA" and adds its maps. Pixels are calibrated by c->pixel_nm, else
 * by the file; what there is to say of them goes to `warnings`. Errors: MRO_EARG (no element, an element twice, no such
 * map in the file, maps of another shape or pixel size than the first), MRO_ECALIB, and those of mro_file_open. */
enum mro_code cli_maps_add(struct cli_maps *m, const struct cli_common *c, const char *text, struct cli_sources *s,
                           char ***warnings, size_t *n_warnings, struct mro_error *e);
void cli_maps_release(struct cli_maps *m);

/* The file in "Fe=FILE". */
const char *cli_map_path(const char *text);

#endif
