/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Parts of the crystal measurement: fringe sets and their regions, strain, indexing, bands. */
#ifndef MRO_OPS_CRYSTAL_INTERNAL_H
#define MRO_OPS_CRYSTAL_INTERNAL_H

#include <math.h>

#include "core/backend.h"
#include "mroscope/crystal.h"
#include "mroscope/math/wave.h"

#define CRYSTAL_OVER_NOISE 3.0    /* amplitude over the noise from which a strain is given */
#define CRYSTAL_BAND_EDGE 0.15    /* nm^-1, width of the cosine edges of the pass band */
#define CRYSTAL_SMALLEST_NM 1.2   /* regions of fringes below this are not told from speckle */
#define CRYSTAL_TILT_DOUBT 0.577  /* of the tilt: root mean square of shares between 0 and 1 */
#define CRYSTAL_MASK_REACH 4.0    /* standard deviations of a mask, beyond which 3e-4 are left of it */
#define CRYSTAL_LEAST_SINE 0.26   /* of the angle between sets that are not collinear */
#define CRYSTAL_FILTER_RADIUS 0.5 /* nm^-1 around each spot, of the image of the spots alone, */
#define CRYSTAL_FILTER_EDGE 0.3   /* and width of its edge */
#define SIDE_GAP_NM 1.0           /* left out on either side of a step */

static inline float square_of(mro_c32 z) { return z.re * z.re + z.im * z.im; }

/* What is kept of the field around one set of fringes: a window of the map grid, h * w points from (y0, x0) on. */
struct fringe_field {
    size_t y0, x0, h, w;
    mro_c32 *v;      /* demodulated fringes; phase relative to `carrier` */
    float *slope[2]; /* of the phase, y and x, turns per nm; plus carrier = local g; NULL: not known */
    unsigned char
        *inside; /* 1: the crystal, holes filled; 2: and the amplitude is over the noise, off the image's border */
    double carrier[2]; /* y, x, nm^-1: the middle of the mask */
};

/* A step of the spacing of one set: better than a smooth change, and beyond the noise. None where there is a vortex,
 * around which the phase has no single value. */
struct fringe_step {
    bool searched, found;
    double gain;                 /* chi2 gained over a plane */
    double size_nm;              /* root mean square of the displacement along g that a plane leaves */
    double normal[2], offset_nm; /* y, x; position of the border along it, from the set's centre */
};

/* One set of fringes with the region that shows it. */
struct fringe_set {
    struct fringe_field f;
    double mask;                              /* standard deviation, nm^-1 */
    double noise;                             /* root mean square of |v| where there are none */
    double plateau;                           /* |v| in the middle */
    double g[2], cov[3];                      /* y, x; covariance yy, yx, xx of the noise alone */
    double tilt;                              /* nm^-1 by which whitening moved g along itself, see tilt_of */
    double chi2;                              /* of the phase around a plane, over what noise outside gives */
    double y_nm, x_nm, diameter_nm, area_nm2; /* from sample (0, 0) */
    double flat_nm;                           /* the diameter, should it be as flat as its shape allows */
    double snr;
    bool at_border;
    size_t crystal; /* SIZE_MAX: none yet */
    struct fringe_step step;
};

struct fringe_list {
    struct fringe_set *v;
    size_t n, room;
};

/* Where one thread demodulates fringes and grows their region: a window of the map, with room for `most` points. */
struct fringe_room {
    struct mro_window at;
    size_t most;
    struct mro_buffer h, slope; /* of the window, on the device: the fringes; two planes, the slopes of their phase */
    mro_c32 *v;                 /* the fringes on the host, */
    double unit;                /* times this in the units of the spectrum */
    unsigned char *state;       /* of its points, 0 between calls */
    uint32_t *list;             /* of points */
};

/* The share of a region that is over 0.8 of its plateau tells a disc from a sphere, as far as it can be trusted. */
struct crystal_doubt {
    double variance; /* of that share, beside the noise */
    double sphere;   /* what a region is where it does not tell: 0 a disc, 1 a sphere */
    double noise;    /* standard deviation of that share, times the amplitude over the noise */
    double excess;   /* of the share that is measured over that of the profile */
    bool foil;       /* spheres may be cut by a foil: their middle is flat before their rim is steep */
};

/* Threads that look at several crystals at the same time have a copy each, with a room of its own; what it points to
 * besides is not written then. */
struct crystal_work {
    struct mro_device *d;
    const struct mro_crystal_options *o;
    const char *name;
    double pixel_nm[2];
    double band[2];            /* of the image: cut where its pixels end */
    struct mro_grid grid, map; /* of the spectrum; of demodulated fields */
    double step[2];            /* of the map, nm */
    struct crystal_doubt doubt;
    double unit;                /* fields of the grid times this are contrast: spectra keep a unitary scale */
    struct mro_buffer spectrum; /* of the contrast */
    struct mro_buffer field;    /* the same over the root of the speckle's power, at all frequencies */
    struct fringe_room *room;   /* of the thread that has this copy; of the first one that of `n_rooms` begin with */
    size_t n_rooms;
    unsigned char *usable; /* map points with data */
    float *level;   /* of the speckle's power in the spectrum, on the host; beyond the band as at its end; NULL: 1 */
    float *gain;    /* of the speckle around each map point, see mro_crystal_gain; NULL: 1 */
    double speckle; /* noise over the mask, where it is the same at all wave vectors; 0: not known */
    struct fringe_list sets;
    struct mro_crystal_result *r;
};

/* Number of the point of the map next to a place. */
static inline size_t mro_map_point(const struct crystal_work *w, double y_nm, double x_nm)
{
    const size_t y = (size_t)fmax(0, fmin((double)w->map.ny - 1, round(y_nm / w->step[0]))),
                 x = (size_t)fmax(0, fmin((double)w->map.nx - 1, round(x_nm / w->step[1])));
    return y * w->map.nx + x;
}

/* How strong the speckle around a place is: 1 = as in the mean of the image. */
double mro_crystal_gain(const struct crystal_work *w, double y_nm, double x_nm);

/* -- crystal_words.c -- */

/* Warnings of crystals that are cut, faint, or lack what strain takes. */
void mro_crystal_warn_all(const struct crystal_work *w);
void mro_crystal_verdict(const struct mro_crystal_options *o, struct mro_crystal_result *r);

/* -- crystal_whiten.c -- */

/* Noise of whole rows or columns lies on one axis of the spectrum, at all frequencies. Where the median power along it
 * is over that beside it, it is brought down to that; crystals have a few frequencies of it only. `z` is the spectrum
 * on the host. True when lines were found. */
bool mro_crystal_quiet_lines(const struct crystal_work *w, mro_c32 *z);

/* Fills w->level, w->field, w->gain and `white`, the spectrum of the field within the band, from w->spectrum; z: its
 * copy on the host, which is lost. */
enum mro_code mro_crystal_whiten(struct crystal_work *w, mro_c32 *z, struct mro_buffer *white, struct mro_error *e);

/* -- crystal_images.c -- */

/* An image like `like` of the points of the map, all of that value. */
enum mro_code mro_crystal_map_new(const struct crystal_work *w, struct mro_image *im, const struct mro_image *like,
                                  float value, struct mro_error *e);

/* Spectrum for the figure, from its copy on the host: what lies around zero frequency, as log10 of the power. */
enum mro_code mro_crystal_power_image(const struct crystal_work *w, const mro_c32 *z, struct mro_image *out,
                                      struct mro_error *e);

/* The image of the spots alone; w->spectrum is lost. */
enum mro_code mro_crystal_filter_image(struct crystal_work *w, const struct mro_image *like, struct mro_error *e);

/* -- crystal_group.c -- */

/* Sets of one crystal, in the order of its list. */
struct crystal_members {
    struct fringe_set *set[MRO_CRYSTAL_FRINGES];
};

/* Groups w->sets into crystals, the largest first; `of` receives the sets of each, and is freed by the caller. */
enum mro_code mro_crystal_group(struct crystal_work *w, struct crystal_members **of, struct mro_error *e);

/* Whether g is a sum of whole or half multiples of two wave vectors of a crystal, within 5 % of them. */
bool mro_crystal_on_lattice(const double (*known)[2], size_t n, const double g[2]);

/* -- crystal_find.c -- */

/* Fills w->sets with the sets of fringes of the whitened spectrum, or with those of the wave vectors given. */
enum mro_code mro_crystal_find(struct crystal_work *w, const struct mro_buffer *white, struct mro_error *e);

/* Adds a set to w->sets, which has it then; releases it when there is no memory. */
enum mro_code mro_fringe_push(struct crystal_work *w, struct fringe_set *s, struct mro_error *e);

/* Power over that of the speckle from which fringes are taken to be a crystal, in the smaller of the windows. */
double mro_crystal_threshold(const struct crystal_work *w);

/* Smaller of the distances between wave vectors a and +b or -b: the sign of a fringe's g means nothing. */
double mro_fringe_apart(const double a[2], const double b[2]);

/* Area that both regions hold, nm^2. */
double mro_fringe_shared(const struct crystal_work *w, const struct fringe_set *a, const struct fringe_set *b);

/* Whether a region is only what a stronger set of w->sets leaves at another wave vector: its own fringes again, or the
 * sharp rim of its crystal. */
bool mro_fringe_leak(const struct crystal_work *w, const struct fringe_set *s);

/* -- crystal_room.c -- */

/* The grid of demodulated fields of ly x lx nm, with points `step` nm apart or a little less. */
struct mro_grid mro_fringe_map(double ly, double lx, double step);

/* Frees all that is in a work but its result: rooms, sets, planes on the host and on the device. */
void mro_crystal_work_release(struct crystal_work *w);

/* Rooms, empty ones, for as many threads as can be of use. */
enum mro_code mro_fringe_rooms_new(struct crystal_work *w, struct mro_error *e);

/* Demodulates at g with a mask on a window of the map, into the room. */
enum mro_code mro_fringe_demodulate(struct crystal_work *w, const double g[2], double mask, const struct mro_window *at,
                                    struct mro_error *e);

/* The slopes of the phase in the window of a field, into it. */
enum mro_code mro_fringe_slopes(struct crystal_work *w, const double g[2], double mask, struct fringe_field *f,
                                struct mro_error *e);

/* Root mean square of the room's v at g with a mask where there is no crystal: measured, unless w->speckle tells. The
 * room is lost. */
enum mro_code mro_fringe_noise(struct crystal_work *w, const double g[2], double mask, double *noise,
                               struct mro_error *e);

/* The speckle's power in the spectrum at a wave vector. */
float mro_fringe_level(const struct crystal_work *w, const double g[2]);

/* Frees the window of the map that a set of fringes holds; of zeros is fine. */
void mro_fringe_release(struct fringe_set *s);

/* -- crystal_wave.c -- */

/* Grows the region of the fringes at g that shows best within `reach` nm of (y, x), and measures it. `found` false:
 * there is none that stands out of the noise. */
enum mro_code mro_fringe_grow(struct crystal_work *w, const double g[2], double y, double x, double reach,
                              struct fringe_set *s, bool *found, struct mro_error *e);

/* Weighted sums over the samples around each of h * w along one axis, `reach` to either side: weights of a Gaussian of
 * `width` nm times the distance over it to a power. `to` is not `v`. */
void mro_fringe_moment(const float *v, float *to, size_t h, size_t w, int axis, double step, double width, double reach,
                       int power);

/* Wave vector (y, x) of the fringes over the points of `mask` (h * w; NULL = all inside), by the phase's plane with
 * weights |v|^2; its covariance by the noise outside, and chi2, by which it is to be multiplied: the scatter around the
 * plane over what that noise gives. A crystal that takes the place of glass is quieter than that, one that is bent is
 * not; of few independent points chi2 is drawn to 1 (it may be NULL). `known` false: too few points. */
enum mro_code mro_fringe_fit(const struct crystal_work *w, const struct fringe_set *s, const unsigned char *mask,
                             double g[2], double cov[3], double *chi2, bool *known, struct mro_error *e);

/* A copy of the set, without slopes, whose field is demodulated with the mask on g. Next to the rim of a crystal the
 * phase of fringes that lie off the mask's centre is bent; where the spacing changes inside a crystal, no mask is
 * centred on all of it.
 */
enum mro_code mro_fringe_centred(struct crystal_work *w, const struct fringe_set *s, const double g[2],
                                 struct fringe_set *copy, struct mro_error *e);

/* Standard deviation of the spacing of wave vector g with covariance cov. */
double mro_spacing_se(const double g[2], const double cov[3]);

/* Relative error of that spacing from the scatter of the phase, as mro_fringe_fit gives it. All spacings of a set, here
 * and there in the crystal, share that of the tilt besides. */
double mro_spacing_scatter(const double g[2], const double cov[3], double chi2);

/* -- crystal_vortex.c -- */

/* Phase vortices inside: loops of 2.2 mask widths around zeros, along which the amplitude stays over the noise, with a
 * turn. `at` (NULL = only count) receives y, x, nm from sample (0, 0), of the first `room`. */
size_t mro_fringe_vortices(const struct fringe_set *s, const double step[2], double (*at)[2], size_t room);

/* Turns of the phase along such a loop around a place; NaN where it leaves the region or the amplitude is too small. */
double mro_fringe_turns(const struct fringe_set *s, const double step[2], double y_nm, double x_nm);

/* Radius of these loops. */
double mro_fringe_loop(const struct fringe_set *s);

/* Mean number of them that noise alone gives in a perfect crystal of this shape. */
enum mro_code mro_fringe_vortices_null(struct crystal_work *w, const struct fringe_set *s, double *mean,
                                       struct mro_error *e);

/* -- crystal_shape.c -- */

/* A region ends where the amplitude is half of its plateau, or so many times the noise. */
#define MRO_FRINGE_RIM_NOISE 2.4

/* Diameter of the crystal whose region has this area and this share of it over 0.8 of its plateau: between that of a
 * disc and that of a sphere, by which of the two the share is nearer to. `width` of the mask in real space, nm;
 * `clear`: amplitude over the noise. *flat: the same where what does not tell is a disc. */
double mro_crystal_diameter(double area_nm2, double share, double width, double clear,
                            const struct crystal_doubt *doubt, double *flat);

/* -- crystal_strain.c -- */

/* What strain is relative to: reference wave vectors (y, x) of a crystal's pair of sets. */
struct strain_reference {
    bool known[2];
    double g[2][2]; /* the second is NaN where there is one set only */
    double se[2];   /* of their spacings, relative; 0 = given */
    bool oriented;  /* false: only lengths and the angle are known */
    double turned;  /* radians that the crystal's mean is turned by, where that means nothing */
};

/* Fills strain, reference and vortices of crystal k, whose fringe sets are `sets` in the order of its list, and adds
 * its sides. */
enum mro_code mro_crystal_strain(struct crystal_work *w, size_t k, struct fringe_set **sets,
                                 struct strain_reference *ref, struct mro_error *e);

/* Puts the strain of crystal k into the maps of the frame, where no crystal before it is. */
void mro_crystal_draw(struct crystal_work *w, size_t k, struct fringe_set **sets, const struct strain_reference *ref);

/* Looks for a step once; then s->step is known. */
enum mro_code mro_fringe_find_step(const struct crystal_work *w, struct fringe_set *s, struct mro_error *e);

/* -- crystal_index.c -- */
void mro_crystal_index(const struct mro_crystal_options *o, struct mro_crystal *c);
/* Spacing of planes hkl, and angle between two of them in degrees. */
double mro_phase_spacing(const struct mro_phase *p, const int hkl[3]);
double mro_phase_angle(const struct mro_phase *p, const int a[3], const int b[3]);

/* -- crystal_band.c -- */
void mro_crystal_band_measure(const struct mro_crystal_options *o, const unsigned char *usable,
                              const struct mro_grid *map, const double pixel_nm[2], struct mro_crystal_result *r);

#endif
