/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Parts of the MRO measurement, in the order of the work: the plan with its null, whitening, scores of cells, patches,
 * and the way from patches to an area. */
#ifndef MRO_OPS_MRO_INTERNAL_H
#define MRO_OPS_MRO_INTERNAL_H

#include "core/backend.h"
#include "mroscope/mro.h"
#include "ops/mro/mro_blemish.h"

#define MRO_WINDOWS 3
#define BAND_EDGE 0.15     /* nm^-1, width of the cosine edges of the pass band */
#define BACKGROUND_NM 2.5  /* of the local mean that contrast is relative to */
#define WHITEN_RADIUS 0.22 /* nm^-1 of the local median: follows astigmatism, and crystals add too little to it */
#define GAIN_S_NM 1.0      /* Gaussian of the local gain */
#define MRO_MARGIN_NM 1.0  /* rim of the image whose cells are left out: windows reach over the border there */
#define MRO_SEARCH_MARGIN_NM                                                                                        \
    0.5                        /* rim that patches are not centred in; what is found beyond reaches into the region \
                                */
#define MRO_CROWDED_NM2 5000.0 /* fields so small that a crystal's spots stand above the median that whitens them */
#define TILE_NM 25.6           /* side of the null's speckle fields */
#define TILE_SAMPLES 360       /* over twice the band's reach */
#define TILE_CELLS 64

/* One patch found, its powers divided by the local gain. */
struct mro_found {
    double y_nm, x_nm, gy, gx;
    double power[MRO_PATCH_SIZES];
    int best;
    double second_power;
    double significance;    /* -ln of the chance of its power at one place under noise, best size */
    double log_d, log_d_sd; /* apparent diameter from the shape alone: ln nm and its standard deviation */
    double top_power;       /* power at that diameter */
    double snr;             /* of the patch, noise and gain taken out */
    bool beyond;            /* it is larger than the largest sphere that is matched to it */
};

struct mro_found_list {
    struct mro_found *v;
    size_t n, room;
};

#define MRO_SURPRISES 256

/* What the null and every image are compared by. */
struct mro_null {
    size_t cells;
    float surprise[MRO_WINDOWS][MRO_SURPRISES + 1]; /* -ln P(score > t) at t = i joint / MRO_SURPRISES */
    double joint[MRO_WINDOWS];                      /* score beyond which the analytic tail is used */
    float *min_p;                                   /* -ln(min p) of all null cells, ascending */
    double threshold;                               /* of -ln(min p) at the nominal false-positive rate */
    double area_nm2;                                /* searched for patches */
    size_t false_patches;                           /* found there above object_threshold */
    double object_threshold;                        /* of significance: one false patch in 200 nm^2 */
    double object_excess;                           /* mean excess of false patches over it */
};

struct mro_views;  /* ops/mro/mro_views.c: what the plan keeps for the views */
struct mro_sweep;  /* ops/mro/mro_sweep.c: and for other pass bands */
struct mro_models; /* ops/mro/mro_area.c: of the size and contrast of ordered regions, to weigh patches by */
struct mro_ctf_rings;

struct mro_order_plan {
    struct mro_device *d;
    struct mro_order_options o;
    struct mro_grid tile, tile_cells; /* of the null's speckle fields */
    struct mro_views *views;
    struct mro_sweep *sweep;
    double g_range[2];
    double window_s_nm[MRO_WINDOWS];
    double (*g[MRO_WINDOWS])[2];
    size_t n_g[MRO_WINDOWS];
    struct mro_patch_search search;
    double size_cost[MRO_PATCH_SIZES]; /* ln of the number of independent tries of each size */
    struct mro_null null;
    double power_curve[2]; /* detection power: Phi((sqrt(snr) - [0]) / [1]) */
    struct mro_models *models;
    float *spacing_nm[MRO_WINDOWS]; /* of the wave vectors g */
    struct mro_ctf_rings *rings;    /* of the lens; NULL where the options do not tell which */
};

/* ---- mro_null.c ---- */

/* Draws the speckle fields of the plan's options and fills p->null and the views' part of it. MRO_EARG where the fields
 * are too few. */
enum mro_code mro_null_draw(struct mro_order_plan *p, struct mro_error *e);

/* p->power_curve, detection power against sqrt(snr): spheres planted in speckle, found by the same code, and a normal
 * curve fitted by maximum likelihood. After mro_null_draw. */
enum mro_code mro_power_measure(struct mro_order_plan *p, struct mro_error *e);

/* ---- mro_whiten.c ---- */

/* What is known beforehand of the contrast c of snr = c D^4 (nm^-4): mean and standard deviation of its logarithm. */
struct mro_contrast {
    double log_c, log_sd;
    bool given; /* it is so by assumption, and cannot be wrong altogether */
};

struct mro_whitened {
    struct mro_grid grid;
    struct mro_buffer spectrum; /* on the device: whitened contrast in the band, sign of the lens set right */
    struct mro_buffer power;    /* on the device: local power, free to be used as work space */
    struct mro_blemishes blemishes;
    struct mro_contrast expected;
    double whole_nm; /* a spacing as it is looked for, of a wave that was taken out of the whole field; 0: none */
    bool lattice;    /* a crystal fills the field, */
    double other_nm; /* or one without a spacing as it is looked for: the first of it; 0: none */
    bool lens_known;
};

/* Whitens an image on w->grid, which is given. r->pixel_nm is read; r->ctf, r->filtered (with views) and warnings are
 * filled in. Release `w` in any case. */
enum mro_code mro_whiten(const struct mro_order_plan *p, const struct mro_image *im, const char *name,
                         struct mro_whitened *w, struct mro_order_result *r, struct mro_error *e);
void mro_whitened_release(struct mro_device *d, struct mro_whitened *w);

/* Turns the local power of a spectrum into the gains that whiten it, in place: the pass band, times `unit`, over the
 * root of the power, with the sign of the lens's transfer and the gains of annuli (NULL: without). false: out of
 * memory. */
struct mro_ctf_fit;
struct mro_annuli;
bool mro_whitening_gains(const struct mro_order_plan *p, const struct mro_grid *grid, float unit,
                         const struct mro_ctf_fit *lens, const struct mro_annuli *annuli, float *power);

/* ---- mro_annuli.c ---- */

#define MRO_ANNULI 160
#define MRO_ANNULUS 0.05 /* nm^-1, width: 100 coefficients of a field of 8 nm at the halo */

/* Gains that whiten what the local power leaves of annuli around the origin, where it cannot follow the true power. */
struct mro_annuli {
    float first; /* |q| of the middle of the first one, in their widths */
    size_t n;
    float gain[MRO_ANNULI];
};

/* From a spectrum on the host and the power that is expected of it, 0 where none is; within the pass band. */
void mro_annuli_measure(const struct mro_order_plan *p, const struct mro_grid *g, const mro_c32 *spectrum,
                        const float *power, struct mro_annuli *r);

static inline float mro_annuli_gain(const struct mro_annuli *r, float q)
{
    const float at = q * (float)(1 / MRO_ANNULUS) - r->first, last = (float)(r->n - 1);
    const float within = at < 0 ? 0 : at < last ? at : last;
    const int i = (int)(within < last - 1 ? within : last - 1);
    return r->gain[i] + (within - (float)i) * (r->gain[i + 1] - r->gain[i]);
}

/* Multiplies columns `first` to `first` + n - 1, of qx >= 0, of row y by these gains; row[0] is the first of them. */
void mro_annuli_row(const struct mro_annuli *r, const struct mro_grid *g, size_t y, size_t first, size_t n, float *row);

/* ---- mro_score.c ---- */

/* The coarse grid that an image is measured on, and that of its cells. */
void mro_order_grids(const struct mro_image *im, const double pixel_nm[2], struct mro_grid *grid,
                     struct mro_grid *cells);

/* The first `bytes` of a buffer for the host: the buffer itself where that is host memory, else a copy of it, which is
 * *copy (NULL: none) and to be freed. MRO_EMEMORY, and what the device says. */
enum mro_code mro_on_host(struct mro_device *d, const struct mro_buffer *b, size_t bytes, void **host, void **copy,
                          struct mro_error *e);

/* Columns qx >= 0 of a row of a spectrum; those of -qx are the same. */
struct mro_span {
    size_t first, n;
};

/* Row y of the plan's pass band on the spectra of a grid: g->nx amplitudes. Beyond the columns that are returned, and
 * those of -qx, they are 0. */
struct mro_span mro_band_row(const struct mro_order_plan *p, const struct mro_grid *g, size_t y, float *row);

/* The windowed powers of a whitened, band-limited spectrum on the grid of cells, over the local gain. */
struct mro_scores {
    struct mro_grid grid, cells;
    float *power[MRO_WINDOWS];
    int32_t *which[MRO_WINDOWS]; /* wave vector of p->g */
    float *gain;                 /* local mean square over what white noise has */
    double white;                /* mean square of white noise in the band, on this grid */
    struct mro_buffer field;     /* on the device */
    float *sound;                /* on the grid: 1 where the field is kept, 0 where it is none; NULL: 1 everywhere */
    float *held;                 /* its mean square around cells, with the weights of the gain */
    /* Once the null is known: */
    float *surprise;          /* -ln(min p) */
    unsigned char *strongest; /* the window that gave it */
};

/* Makes room for scores, and fills in the field and the gain; nothing is left to release after a failure. */
enum mro_code mro_scores_open(const struct mro_order_plan *p, const struct mro_grid *grid, const struct mro_grid *cells,
                              const struct mro_buffer *spectrum, struct mro_scores *s, struct mro_error *e);

/* Fills in the powers of a field of this spectrum. */
enum mro_code mro_scores_fill(const struct mro_order_plan *p, const struct mro_buffer *spectrum, struct mro_scores *s,
                              struct mro_error *e);

/* Both: all of `s` but the surprise and the strongest windows; nothing is left to release after a failure. */
enum mro_code mro_score_field(const struct mro_order_plan *p, const struct mro_grid *grid, const struct mro_grid *cells,
                              const struct mro_buffer *spectrum, struct mro_scores *s, struct mro_error *e);
void mro_scores_release(struct mro_device *d, struct mro_scores *s);

/* Fills s->gain from s->field. `mean`: room for the cells on the device. */
enum mro_code mro_measure_gain(const struct mro_order_plan *p, struct mro_scores *s, struct mro_buffer *mean,
                               struct mro_error *e);

/* Fills s->held from s->sound. s->field is used as room; `mean`: room for the cells on the device. */
enum mro_code mro_measure_held(const struct mro_order_plan *p, struct mro_scores *s, struct mro_buffer *mean,
                               struct mro_error *e);

/* Fills in, on the grid, where there is a field. */
static inline void mro_sound_mask(const struct mro_scores *s, float *mask)
{
    for (size_t i = 0; i < s->grid.ny * s->grid.nx; i++) mask[i] = s->sound ? s->sound[i] : 1;
}

/* The gain at a place, between cells; the field is periodic. */
double mro_gain_at(const struct mro_scores *s, double y_nm, double x_nm);

/* Tabulates -ln of the null's chance to exceed a score from the ascending scores of null cells, up to where 100 of them
 * are left. */
void mro_null_tabulate(struct mro_null *null, int window, const float *sorted, size_t n);

/* s->surprise and s->strongest of every cell, by the tables of the null. */
void mro_fill_surprise(const struct mro_order_plan *p, struct mro_scores *s);

/* The wave vector (y, x, nm^-1) that gave cell i its surprise. */
static inline const double *mro_strongest_wave(const struct mro_order_plan *p, const struct mro_scores *s, size_t i)
{
    const int window = s->strongest[i];
    return &p->g[window][s->which[window][i]][0];
}

/* ---- mro_objects.c ---- */

/* false: out of memory */
bool mro_found_push(struct mro_found_list *l, const struct mro_found *f);

/* The most significant first; equal ones by their place. */
void mro_found_sort(struct mro_found_list *l);

/* Patches at the local maxima of the surprise where `allowed` (NULL: everywhere) and farther than `margin_nm` from the
 * border, with a significance of `least` or more: the strongest first, weaker ones close to stronger ones left out.
 * `seconds`: whether their second reflections are looked for. Added to `out`, whose v is the caller's to free. */
enum mro_code mro_find_patches(const struct mro_order_plan *p, const struct mro_scores *s, const unsigned char *allowed,
                               double margin_nm, double least, bool seconds, struct mro_found_list *out,
                               struct mro_error *e);

/* Takes a sphere with a soft edge, as wide as leaves nothing of a cell, out of a plane of the grid that is 1 elsewhere,
 * around each of the cells that are marked. `line`: room for a row and MRO_CUT_MORE samples. */
enum { MRO_CUT_MORE = 8 };
void mro_cut_cells(const struct mro_scores *s, const unsigned char *marked, float *line, float *plane);

/* Gains that whiten a spectrum anew by the power of what `mask` and the patches leave of its field: *gain, on the host,
 * belongs to `power` (room for the field on the device) or to *copy, which is to be freed. NULL where too little is
 * left to tell the speckle from; else s->field is masked after it. `mask` (1 = keep): the patches are taken out of it.
 */
enum mro_code mro_gains_without(const struct mro_order_plan *p, struct mro_scores *s,
                                const struct mro_found_list *found, float *mask, struct mro_buffer *power, float **gain,
                                void **copy, struct mro_error *e);

/* Fills in the patches of a whitened field where it is `searched`, as mro_find_patches finds them. A crystal's spots
 * raise the local median that whitens them, the more the smaller the field: where that is `small`, the power is taken
 * once more from the field without the patches, and they are measured anew. s->field, s->gain and w->spectrum are
 * whitened anew then; w->power is used as room. */
enum mro_code mro_measure_patches(const struct mro_order_plan *p, struct mro_scores *s, struct mro_whitened *w,
                                  const unsigned char *searched, bool small, struct mro_found_list *found,
                                  struct mro_error *e);

/* ---- mro_sound.c ---- */

/* Marks cells that can be measured (`usable`), and those where patches are looked for (`searched`), which reach into
 * the rim: away from the border, from missing pixels and blemishes, and where the band holds signal. Where the field
 * has no such signal it is taken out, and what is left is whitened by itself: w->spectrum, s->field and s->gain.
 * w->power is used as room. */
enum mro_code mro_mark_sound(const struct mro_order_plan *p, const struct mro_image *im, const double pixel_nm[2],
                             struct mro_whitened *w, struct mro_scores *s, unsigned char *usable,
                             unsigned char *searched, struct mro_error *e);

/* ---- mro_crystals.c ---- */

/* A region of fringes that is larger than the clusters of which the posterior knows. */
struct mro_large {
    double y_nm, x_nm, gy, gx;
    double diameter_nm; /* of the crystal */
    double snr, sigma_g;
    size_t set;  /* of its fringes, among those that were grown */
    bool second; /* it shows another set of fringes at an angle that the lattice has */
};

struct mro_crystals {
    double widest_nm;    /* of the flagged regions beside crystals; 0: none is wider than a cluster looks */
    double left_nm2;     /* of all flagged cells beside crystals, where there are any */
    bool filled;         /* crystals leave too little of the field to tell the glass from */
    struct mro_large *v; /* owned */
    size_t n;
    double area_nm2, area_sd_nm2; /* within the region, counted once where two overlap */
    double flat_nm2;              /* the same, should they be as flat as their shapes allow */
    double missed_sd_nm2;         /* of the area of those that are too weak to be found */
    double searched_nm2;          /* searched area on them and beside them, where patches do not count */
    double log_contrast;          /* ln of c of snr = c D^4, nm^-4; -INFINITY: they do not tell */
};

/* Looks at flagged regions that are wider than a cluster: crystals that are larger are measured by their fringes, after
 * the field is whitened without what is flagged, and the patches on them leave `found`. All else stays as it is;
 * w->power is used as room. `name` is the file for messages. Release `c` in any case. */
enum mro_code mro_crystals_measure(const struct mro_order_plan *p, struct mro_scores *s, struct mro_whitened *w,
                                   const unsigned char *usable, const unsigned char *searched, const double region[4],
                                   const char *name, struct mro_found_list *found, struct mro_crystals *c,
                                   struct mro_error *e);
void mro_crystals_release(struct mro_crystals *c);

/* Memory that it takes, where there are any, bytes. */
size_t mro_crystals_bytes(const struct mro_grid *g);

/* ---- mro_found.c ---- */

/* What is seen of a patch of ratio `snr`: it raises the local mean square that its own power is divided by. */
#define MRO_GAIN_SNR 150.0
static inline double mro_seen_snr(double snr) { return snr / (1 + snr / MRO_GAIN_SNR); }

/* Shape of a patch: apparent diameter, its error, power there, snr. */
void mro_found_shape(const struct mro_order_plan *p, struct mro_found *f);

/* ---- mro_discs.c ---- */

/* Areas in nm^2 of discs of `diameter` nm at the patches of a list, inside of a region (x0 y0 x1 y1, nm): of each by
 * itself in own[], of their union in *both. MRO_EMEMORY only. */
enum mro_code mro_disc_areas(const struct mro_found_list *l, const double *diameter, const double region[4],
                             double *own, double *both, int threads, struct mro_error *e);

/* ---- mro_area.c ---- */

/* Fills p->models, to be freed. After mro_power_measure. MRO_EMEMORY only. */
enum mro_code mro_models_new(struct mro_order_plan *p, struct mro_error *e);

/* What a list of patches says of the area. */
struct mro_area {
    double contrast;     /* c of snr = c D^4, nm^-4 */
    double *diameter_nm; /* per patch, of the crystal; owned */
    double *weight;      /* per patch: chance that it is no speckle; owned */
    double fraction;     /* with the false ones out and the missed ones in */
    double ci95[2];      /* of the area in this image */
};

/* Standard deviations of ln area upward and downward by the ghosts of an unknown lens. */
#define MRO_UNKNOWN_MORE 0.45
#define MRO_UNKNOWN_LESS 0.35

/* region x0 y0 x1 y1 nm; usable: its part that was measured; searched: the area patches were looked for in. Draws are
 * those of the plan's seed. MRO_EMEMORY only. Release with mro_area_release. */
enum mro_code mro_area_of(const struct mro_order_plan *p, const struct mro_found_list *found, const double region[4],
                          double usable_nm2, double searched_nm2, const struct mro_contrast *expected, bool lens_known,
                          struct mro_area *a, struct mro_error *e);
void mro_area_release(struct mro_area *a);

/* Detection power of a crystal of diameter `d` nm at contrast c. */
double mro_detection_power(const struct mro_order_plan *p, double d, double contrast);

/* The apparent diameter of a crystal exceeds its own by this: the glass next to it is layered by its planes. From
 * multislice images of relaxed models (bcc spheres of 1.2 to 3 nm in Fe-metalloid glass), where the sizes found on
 * large fields are right with it. */
#define MRO_INTERFACE_NM 0.18

/* ---- mro.c ---- */

/* Chance that Poisson many false patches, `rate` of them on average, exceed the threshold by `excess` or more in total,
 * each by an exponential number of mean 1. */
double mro_speckle_tail(double excess, double rate);

#endif
