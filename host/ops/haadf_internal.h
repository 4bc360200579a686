/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Parts of the heterogeneity measurement. */
#ifndef MRO_OPS_HAADF_INTERNAL_H
#define MRO_OPS_HAADF_INTERNAL_H

#include "core/backend.h"
#include "mroscope/haadf.h"

/* Called heterogeneous below this p. */
#define MRO_HAADF_CALLED 0.01

/* A prepared frame, or the mean of several: spectrum of the contrast on the coarse grid, in units where white noise of
 * unit variance a pixel has unit power. */
struct mro_haadf_state {
    struct mro_grid grid;
    mro_c32 *spectrum; /* host, ny * nx */
    double pixel_nm[2];
    size_t ny, nx;    /* pixels of the image */
    double fill;      /* mean square of the taper and the mask; the spectrum has been divided by its root */
    double margin_nm; /* width of the taper at the borders */
    size_t mask_ny, mask_nx;
    unsigned char *mask;  /* host, mask_ny * mask_nx over the field: 1 = usable; NULL = all */
    double noise;         /* power of the white noise */
    double noise_error;   /* its relative standard error */
    bool white;           /* the noise floor is flat, so that it may be subtracted */
    int lines[2];         /* waves along y (x) whose modes are left out: |k_x| (k_y) index below this, all k_y (k_x) */
    double line_sd[2];    /* scan-line noise; NaN = none seen */
    double line_power[2]; /* of the modes of the lines */
    size_t frames;
};

void mro_haadf_state_free(struct mro_haadf_state *s); /* NULL is fine */
struct mro_haadf_state *mro_haadf_state_copy(const struct mro_haadf_state *s);

/* All numbers NaN. */
void mro_haadf_unknown(struct mro_haadf_result *r);

/* Everything after the preparation: fills all of `r` that comes from the spectrum. */
enum mro_code mro_haadf_analyse(struct mro_device *d, const struct mro_haadf_state *s, const char *name,
                                const struct mro_haadf_options *o, struct mro_haadf_result *r, struct mro_error *e);

/* The next size that transforms fast. */
size_t mro_haadf_size(size_t n);

/* -- haadf_spectrum.c ---------------------------------------------------------------------------- */

/* Rings of equal width in spatial frequency. Power per mode; modes of the excluded lines are left out. */
struct mro_rings {
    double step; /* nm^-1; ring i is centred near (i + 1/2) step */
    size_t n;
    double *q, *power, *modes; /* mean frequency, mean power, independent modes (half of the plane) */
};
enum mro_code mro_rings_of(const struct mro_haadf_state *s, double most, double step, struct mro_rings *r,
                           struct mro_error *e);
void mro_rings_release(struct mro_rings *r);

/* Power at q, linear between rings. */
double mro_rings_at(const struct mro_rings *r, double q);

/* Is the mode left out, as part of the scan lines? Indices count from zero frequency. */
static inline bool mro_haadf_line_mode(const struct mro_haadf_state *s, ptrdiff_t ky, ptrdiff_t kx)
{
    return labs((long)kx) < s->lines[0] || labs((long)ky) < s->lines[1];
}

/* White-noise floor of a flattened image from the highest frequencies of blocks of it. Also the scan-line noise. */
enum mro_code mro_haadf_noise(struct mro_device *d, const float *px, double background_nm, struct mro_haadf_state *s,
                              struct mro_error *e);

/* Spectra that fall, and the one of a quasi-periodic structure. */
enum mro_spectrum_kind { MRO_SPECTRUM_POWER, MRO_SPECTRUM_STRETCHED, MRO_SPECTRUM_TEUBNER, MRO_SPECTRUM_KINDS };
struct mro_spectrum_fit {
    enum mro_spectrum_kind kind;
    double p[3];
    double aicc;
};
double mro_spectrum_at(const struct mro_spectrum_fit *f, double q);

/* Fits one kind (noise added) to the rings with lo <= q <= hi by Whittle's likelihood. */
void mro_spectrum_fit(const struct mro_rings *r, double noise, double lo, double hi, enum mro_spectrum_kind kind,
                      struct mro_spectrum_fit *f);

/* Wavelength 1/q and decay length of a Teubner-Strey fit; NaN when it has no peak. */
void mro_teubner_lengths(const struct mro_spectrum_fit *f, double *wavelength, double *decay);

/* The falling spectrum (signal and noise) that describes the rings with lo <= q <= hi best, without any shape assumed:
 * `model` (r->n values) receives it; rings outside keep the nearest value. */
void mro_spectrum_falling(const struct mro_rings *r, double lo, double hi, double *model);

/* Chance that the rings of a falling spectrum are described as much better by one that rises to a maximum first. Null
 * is `falling`; NaN when out of memory. */
double mro_spectrum_peak_p(const struct mro_rings *r, double lo, double hi, const double *falling, uint64_t seed);

/* -- haadf_regions.c ----------------------------------------------------------------------------- */

/* Fills dark, bright, p_value, flat, mask. `weight`: the smoothing, as amplitude on the rings of q * step. */
struct mro_haadf_filter {
    double step;
    size_t n;
    double *gain;                  /* amplitude at q = i * step; 0 beyond */
    const struct mro_rings *rings; /* what is expected beside the scan lines, whose modes are weakened accordingly */
};
double mro_haadf_gain(const struct mro_haadf_filter *f, double q);

/* Of a mode (indices from zero frequency), that of the scan lines included. */
double mro_haadf_mode_gain(const struct mro_haadf_state *s, const struct mro_haadf_filter *f, double q, ptrdiff_t ky,
                           ptrdiff_t kx);
enum mro_code mro_haadf_find_regions(struct mro_device *d, const struct mro_haadf_state *s,
                                     const struct mro_rings *rings, const struct mro_haadf_filter *f,
                                     const struct mro_haadf_options *o, struct mro_haadf_result *r,
                                     struct mro_error *e);

/* Field of a spectrum times the filter on another grid of the same area: host array of g->ny * g->nx, contrast. */
enum mro_code mro_haadf_field(struct mro_device *d, const struct mro_haadf_state *s, const struct mro_haadf_filter *f,
                              const struct mro_grid *g, float *field, struct mro_error *e);

/* 1 where sample (j, i) of the grid may be used. */
bool mro_haadf_usable(const struct mro_haadf_state *s, const struct mro_grid *g, size_t j, size_t i);

#endif
