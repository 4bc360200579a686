/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Parts of the heterogeneity measurement. */
#ifndef MRO_OPS_HAADF_INTERNAL_H
#define MRO_OPS_HAADF_INTERNAL_H

#include "core/backend.h"
#include "mroscope/haadf.h"
#include "mroscope/math/legendre.h"
#include "ops/spectrum_fit.h"

/* Called heterogeneous below this p. */
#define MRO_HAADF_CALLED 0.01

#define MRO_HAADF_WAVES 3.0      /* that a field must hold */
#define MRO_HAADF_GRID_BANDS 1.5 /* the spectrum is kept to this many times the upper limit of the band */
#define MRO_HAADF_MAP_BANDS 6.0  /* samples of the map of regions in a length 1 / upper limit */

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
    unsigned char *mask; /* host, mask_ny * mask_nx over the field: 1 = usable; NULL = all */
    int degree;          /* of the background that the image was divided by: Legendre polynomials, math/legendre.h */
    double background[(MRO_LEGENDRE_MOST + 1) * (MRO_LEGENDRE_MOST + 2) / 2];
    double noise;         /* power of the white noise, mean over the field */
    double noise_error;   /* its relative standard error */
    double noise_slope;   /* the noise of a pixel goes with the background to the power of minus this */
    double noise_mean;    /* mean of that over the field */
    bool white;           /* the noise floor is flat, so that it may be subtracted */
    int lines[2];         /* waves along y (x) whose modes are left out: |k_x| (k_y) index below this, all k_y (k_x) */
    double line_sd[2];    /* scan-line noise; NaN = none seen */
    double line_power[2]; /* of the modes of the lines */
    double edge[2];       /* unit vector (y, x) across a straight edge that crosses the field */
    double edge_reach;    /* nm^-1: modes this near to the line along `edge` are left out; 0 = there is no edge */
    size_t frames;
};

/* -- haadf_result.c ------------------------------------------------------------------------------ */

/* All numbers NaN. */
void mro_haadf_unknown(struct mro_haadf_result *r);

void mro_haadf_state_free(struct mro_haadf_state *s); /* NULL is fine */
struct mro_haadf_state *mro_haadf_state_copy(const struct mro_haadf_state *s);

/* -- haadf.c ------------------------------------------------------------------------------------- */

/* Everything after the preparation: fills all of `r` that comes from the spectrum. */
enum mro_code mro_haadf_analyse(struct mro_device *d, const struct mro_haadf_state *s, const char *name,
                                const struct mro_haadf_options *o, struct mro_haadf_result *r, struct mro_error *e);

/* -- haadf_prepare.c ----------------------------------------------------------------------------- */

/* The verdict of what cannot be measured. */
void mro_haadf_not_measured(struct mro_haadf_result *r, const char *why);

/* Can anything be measured? Else a warning and the verdict say why. Fills coverage and clipped_fraction. */
bool mro_haadf_measurable(const struct mro_image *im, const struct mro_haadf_options *o, int threads,
                          struct mro_haadf_result *r);

/* Samples over a field of nm (y, x) of ny x nx pixels, at least per_nm, but no more than there are pixels. */
struct mro_grid mro_haadf_grid(size_t ny, size_t nx, const double field_nm[2], double per_nm);

/* Fills r->state from the counts; leaves it NULL where nothing can be measured. */
enum mro_code mro_haadf_prepare(struct mro_device *d, const struct mro_image *im, const char *name,
                                const struct mro_haadf_options *o, struct mro_haadf_result *r, struct mro_error *e);

/* -- haadf_noise.c ------------------------------------------------------------------------------- */

/* White-noise floor of a flattened image from the highest frequencies of blocks of it, and how it follows the
 * background: noise of counting is larger where there are fewer counts. Also the scan-line noise. */
enum mro_code mro_haadf_noise(struct mro_device *d, const float *px, double background_nm, struct mro_haadf_state *s,
                              struct mro_error *e);

/* Power of the noise at a place of the field (y, x in 0 .. 1) over its mean. */
double mro_haadf_noise_at(const struct mro_haadf_state *s, double y, double x);

/* -- haadf_contrast.c ---------------------------------------------------------------------------- */

/* Share of the field that holds pixels. A spectrum of a part of the field has as many fewer independent modes. */
double mro_haadf_share(const struct mro_haadf_state *s);

/* What is left of a wave's power after the Gaussian background of standard deviation s has been divided out. */
double mro_haadf_high_pass_power(double q, double s);

/* Sums over the modes of the band. */
struct mro_haadf_band {
    double variance, se; /* of the contrast in the band, noise taken out; its standard error */
    double noise;        /* variance of the noise in the band */
    double modes;        /* independent ones */
};
enum mro_code mro_haadf_sum_band(const struct mro_haadf_state *s, const double band[2], double noise, int threads,
                                 struct mro_haadf_band *b, struct mro_error *e);

/* Histogram of the contrast in the band with its widths, and skewness. `there`: the contrast is above its error. */
enum mro_code mro_haadf_fill_histogram(struct mro_device *d, const struct mro_haadf_state *s,
                                       const struct mro_haadf_options *o, const struct mro_rings *rings,
                                       const struct mro_haadf_band *b, bool there, struct mro_haadf_result *r,
                                       struct mro_error *e);

/* Autocorrelation of the contrast in the band up to `longest` nm, by summing its rings: J0 is that of a ring. */
enum mro_code mro_haadf_fill_acf(const struct mro_rings *rings, const double band[2], double noise, double longest,
                                 bool there, struct mro_haadf_result *r, struct mro_error *e);

/* A wavelength only where a peaked spectrum beats every falling one. `fit` holds the three shapes, `falling` the best
 * falling spectrum of any shape. */
enum mro_code mro_haadf_find_wavelength(const struct mro_rings *rings, double noise, const double *falling,
                                        const struct mro_haadf_options *o, const double field_nm[2], int threads,
                                        const struct mro_spectrum_fit *fit, struct mro_haadf_result *r,
                                        struct mro_error *e);

/* -- haadf_spectrum.c ---------------------------------------------------------------------------- */

/* Is the mode left out, as part of the scan lines? Indices count from zero frequency. */
static inline bool mro_haadf_line_mode(const struct mro_haadf_state *s, ptrdiff_t ky, ptrdiff_t kx)
{
    return labs((long)kx) < s->lines[0] || labs((long)ky) < s->lines[1];
}

/* Or as part of a straight edge? */
static inline bool mro_haadf_edge_mode(const struct mro_haadf_state *s, ptrdiff_t ky, ptrdiff_t kx)
{
    return s->edge_reach > 0 &&
           fabs((double)ky / s->grid.ly * s->edge[1] - (double)kx / s->grid.lx * s->edge[0]) < s->edge_reach;
}

/* Rings of equal width `step` up to `most`, nm^-1, of the modes that are not left out. MRO_EMEMORY. */
enum mro_code mro_rings_of(const struct mro_haadf_state *s, double most, double step, int threads, struct mro_rings *r,
                           struct mro_error *e);

/* -- haadf_field.c ------------------------------------------------------------------------------- */

/* A smoothing, as amplitude on the rings of q * step. */
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

/* Field of a spectrum times the filter on another grid of the same area: host array of g->ny * g->nx, contrast. */
enum mro_code mro_haadf_field(struct mro_device *d, const struct mro_haadf_state *s, const struct mro_haadf_filter *f,
                              const struct mro_grid *g, float *field, struct mro_error *e);

/* The same on the device: `field` receives a buffer of floats. */
enum mro_code mro_haadf_field_on(struct mro_device *d, const struct mro_haadf_state *s,
                                 const struct mro_haadf_filter *f, const struct mro_grid *g, struct mro_buffer *field,
                                 struct mro_error *e);

/* 1 for each sample of the grid that may be used, else 0; free() it. */
enum mro_code mro_haadf_usable(const struct mro_haadf_state *s, const struct mro_grid *g, int threads,
                               unsigned char **usable, struct mro_error *e);

/* -- haadf_regions.c ----------------------------------------------------------------------------- */

/* Fills dark, bright, p_value, flat, mask. */
enum mro_code mro_haadf_find_regions(struct mro_device *d, const struct mro_haadf_state *s,
                                     const struct mro_rings *rings, const struct mro_haadf_filter *f,
                                     const struct mro_haadf_options *o, struct mro_haadf_result *r,
                                     struct mro_error *e);

/* -- haadf_null.c -------------------------------------------------------------------------------- */

/* Areas of dark (0) and bright (1) beyond thresholds against Gaussian fields of the same spectrum. */
struct mro_haadf_null {
    double p[2];                        /* chance of as much area, at the threshold where there is most excess */
    size_t at[2];                       /* which threshold that is */
    double area[2][MRO_HAADF_LEVELS];   /* mean share of the fields */
    double spread[2][MRO_HAADF_LEVELS]; /* standard deviation of the share among the fields */
};

/* Draws the fields; the observed one is measured on the same grid by the same code. */
enum mro_code mro_haadf_draw_null(struct mro_device *d, const struct mro_haadf_state *s, const struct mro_rings *rings,
                                  const struct mro_haadf_filter *f, const struct mro_haadf_options *o,
                                  struct mro_haadf_null *null, struct mro_error *e);

/* -- haadf_edge.c -------------------------------------------------------------------------------- */

/* Looks for a straight edge across the field, such as a step of thickness leaves, and has it left out (s->edge_reach).
 */
enum mro_code mro_haadf_find_edge(struct mro_haadf_state *s, const double band[2], int threads, struct mro_error *e);

/* The angle of that edge to a few hundredths of a degree, from the flattened image (s->ny x s->nx). */
enum mro_code mro_haadf_refine_edge(struct mro_haadf_state *s, const float *px, struct mro_error *e);

/* Divides an image whose mean is 1 by its own mean profile across an edge (unit vector y, x), so that the edge is gone
 * and what lies along it stays. */
enum mro_code mro_haadf_divide_edge(const struct mro_haadf_state *s, const double edge[2], int threads, float *px,
                                    struct mro_error *e);

#endif
