/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What an EMI file of TIA says of the SER files beside it. */
#ifndef MRO_IO_EMI_H
#define MRO_IO_EMI_H

#include "io/reader.h"

/* Settings of one series. Text "" and numbers 0 are not given; tilts are NaN then. */
struct mro_emi_object {
    char mode[64]; /* "TEM uP SA Zoom Diffraction" */
    bool camera;   /* the data come from a camera, not from a detector under the scanned beam */
    double beam_kv, magnification, camera_length_mm, binning;
    double tilt_deg[2]; /* alpha, beta */
    char instrument[64], detector[64], date[32];
};

bool mro_emi_probe(struct mro_bytes b);

/* The numbers N of the files <stem>_N.ser that the EMI speaks of, in its order, at most `room`; returns how many. */
size_t mro_emi_numbers(struct mro_bytes b, unsigned *numbers, size_t room);

/* Looks up what is said of <stem>_`number`.ser. False when there is nothing or it is no XML that can be read. */
bool mro_emi_describe(struct mro_bytes b, unsigned number, struct mro_emi_object *o);

/* Splits the path of a SER file, "<stem>_N.ser", into the length of <stem> and N; false for other names. */
bool mro_emi_split_path(const char *path, size_t *stem, unsigned *number);

#endif
