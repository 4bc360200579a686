/* SPDX-License-Identifier: GPL-3.0-or-later */
/* X-ray spectrum streams: counts of elements, pixel by pixel, straight from a Velox EMD file.
 *
 * A stream is a list of events, not an array: the spectrum image it stands for (y, x, energy) is mostly zeros and often
 * larger than the memory. Here it is read once from begin to end and only what is asked for is kept. The same file
 * also lists its spectrum image, its sum spectrum and its map of total counts among its images (mroscope/file.h). */
#ifndef MROSCOPE_EDS_STREAM_H
#define MROSCOPE_EDS_STREAM_H

#include "mroscope/file.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* ---- lines ---- */

struct mro_xray_line {
    char element[3];
    char line[4];     /* "Ka", "La", "Ma" */
    double energy_ev; /* Ka: mean of Ka1 and Ka2 weighted 2 to 1 where they are given apart; La: La1; Ma: Ma1 */
};

/* Line by name: "Fe" is the line best measured in a microscope (K up to molybdenum, L above), "Fe-La" or "Fe La" a
 * named one, "Fe-L" the first of that shell. NULL when it is not in the table, which holds the elements of metallic
 * glasses and what commonly lies on them. Source: X-ray Data Booklet, LBNL/PUB-490 (2009), table 1-2. */
const struct mro_xray_line *mro_xray_line(const char *name);

/* The whole table; *list is static storage. Returns the number of lines. */
size_t mro_xray_lines(const struct mro_xray_line **list);

/* Full width at half maximum of a line in a silicon drift detector of 130 eV at Mn Ka: the variance of the charge
 * grows in proportion to the energy (Fiori and Newbury 1978, as used by DTSA and HyperSpy). */
double mro_xray_fwhm_ev(double energy_ev);

/* ---- streams ---- */

struct mro_eds_stream_info {
    size_t ny, nx, channels;
    size_t frames;    /* scans that are added up; 0 = the file does not say */
    size_t detectors; /* streams that are added up */
    double step_ev;   /* 0 = unknown */
    double offset_ev; /* energy of channel 0 */
    struct mro_axis axis[2];
};

/* What the file's spectrum stream is. MRO_EDATA when it has none. */
enum mro_code mro_eds_stream_info(struct mro_file *f, struct mro_eds_stream_info *info, struct mro_error *e);

/* Energies in eV. Counts between peak[0] and peak[1] are those of the line and of the background, which is a straight
 * line through the mean counts of the two side windows. A side window without width is left out: then the background
 * is level, and without both there is none. A channel belongs to a window when its centre lies in [from, to). */
struct mro_eds_window {
    double peak[2], below[2], above[2];
};

/* Windows around a line: the peak 1.2 FWHM wide, which holds 84 % of it, and a side window 1 FWHM wide on either side,
 * 1.5 FWHM from the line to its near edge. Knows nothing of other lines near by. */
struct mro_eds_window mro_eds_window_of(const struct mro_xray_line *line);

struct mro_eds_map {
    size_t ny, nx;
    float *net;      /* counts in the peak less the background; owned */
    float *variance; /* of net, from counting (Poisson) in the three windows; owned */
    double net_sum, variance_sum;
};

/* Counts of `n` windows over every detector and frame, into maps[0 .. n): one pass, memory for the maps and 12 bytes a
 * pixel and window. Errors: MRO_EDATA (no stream), MRO_EARG (a peak window that holds no channel, no energy scale),
 * MRO_EFORMAT (a stream that is corrupt, or holds more pixels than its map), MRO_EMEMORY. On failure the maps are
 * empty. Release each with mro_eds_map_release. */
enum mro_code mro_eds_maps(struct mro_file *f, const struct mro_eds_window *windows, size_t n, struct mro_eds_map *maps,
                           struct mro_error *e);

void mro_eds_map_release(struct mro_eds_map *m); /* NULL and {0} are fine */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
