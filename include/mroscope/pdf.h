/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Pair distribution functions: from a profile of scattered intensity to S(Q), G(r), g(r) and the few numbers that
 * states are compared by, each with its standard error.
 *
 * s = 1/d in nm^-1, Q = 2 pi / d in 1/Angstrom, r in Angstrom, densities in atoms per nm^3. G(r) is the reduced pair
 * distribution function in 1/Angstrom^2: G = 4 pi r rho (g - 1).
 * Threads: calls are independent of each other; results do not depend on the number of threads.
 */
#ifndef MROSCOPE_PDF_H
#define MROSCOPE_PDF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mroscope/error.h"
#include "mroscope/onset.h"
#include "mroscope/profile.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Version of the method, for provenance: changes whenever the same input and options give other numbers. */
#define MRO_PDF_ALGORITHM "pdf 4"

/* ---- atoms ---- */

/* Elements with scattering factors: how many there are, and the symbol of one (NULL beyond). */
size_t mro_scatterers(void);
const char *mro_scatterer(size_t i);
int mro_atomic_number(const char *symbol); /* 0 = not among them */

/* Volume of one atom in Angstrom^3: of the element, or for B, C, Si, P, Ge in metallic glasses; NaN = none known. */
double mro_atomic_volume_A3(const char *symbol);

/* Elastic scattering factor for electrons of a free neutral atom, without the relativistic factor, in Angstrom;
 * s = 1/d in 1/Angstrom up to 24. NaN for an unknown element. Source: Lobato and Van Dyck, Acta Cryst. A70 (2014) 636.
 */
double mro_form_factor_electron_A(const char *symbol, double s_inv_A);

/* For X-rays, electrons per atom, without anomalous dispersion; s up to 12 1/Angstrom. Source: Waasmaier and Kirfel,
 * Acta Cryst. A51 (1995) 416. */
double mro_form_factor_x_ray(const char *symbol, double s_inv_A);

/* The electrons' factor that the X-rays' one gives by Mott and Bethe, and the charge that the electrons' table holds:
 * for checks of the one against the other. */
double mro_mott_bethe_A(const char *symbol, double s_inv_A);
double mro_form_factor_charge(const char *symbol);

#define MRO_COMPOSITION_MAX 16

struct mro_composition {
    size_t n; /* 0 = unknown */
    char symbol[MRO_COMPOSITION_MAX][4];
    double fraction[MRO_COMPOSITION_MAX]; /* of the atoms; their sum is 1 */
    double sum;                           /* of the numbers as they were written */
};

/* Reads "Fe82B18", "Pd40Ni40P20", "Fe0.82B0.18", "(Fe0.5Co0.5)80B20", "Fe=82,B=18", digits as subscripts too; an
 * element without a number counts 1. MRO_EARG names what is wrong: an unknown element (with the one that was meant,
 * where that can be told), one given twice, a number that is none. */
enum mro_code mro_composition_parse(struct mro_composition *c, const char *written, struct mro_error *e);

/* "Fe82B18"; shortest numbers, in atomic percent. */
void mro_composition_text(const struct mro_composition *c, char *text, size_t size);

/* Atoms per nm^3 when every element keeps its own volume; NaN when one has none. Measured densities of metallic glasses
 * lie within some 8 % of it. */
double mro_density_estimate(const struct mro_composition *c);

/* ---- measurement ---- */

#define MRO_PDF_SHELLS 6
#define MRO_PDF_MODES 4  /* atoms shared: 4, 3, 2, 1 */
#define MRO_PDF_SMALL 2  /* shallow peaks looked for: near 4 and 7 Angstrom */
#define MRO_PDF_DEGREE 6 /* largest degree of the slow background */
#define MRO_PDF_POINTS 4096

/* Tables that profiles on the same axis share, filled in as they are measured: stacks and series take a fraction of the
 * time with them. Of one thread at a time. MRO_EMEMORY. */
struct mro_pdf_tables;
enum mro_code mro_pdf_tables_new(struct mro_pdf_tables **tables, struct mro_error *e);
void mro_pdf_tables_free(struct mro_pdf_tables *tables); /* NULL is fine */

enum mro_damping { MRO_DAMPING_LORCH = 0, MRO_DAMPING_NONE, MRO_DAMPING_GAUSSIAN };

/* Where numbers are taken from. Found in the first measurement; kept fixed over states that are compared. All 0: to be
 * found. */
struct mro_pdf_windows {
    double s_inv_nm[2];                /* transformed */
    double fit_inv_nm[2];              /* that normalisation and background are fitted over */
    double background_size;            /* in S, that the slow background may have */
    double tail_inv_nm;                /* from here to the end S is taken as 1 on the average */
    double r_min_A;                    /* below, no two atoms */
    double fsdp_Q[2];                  /* first sharp peak */
    double shell_A[MRO_PDF_SHELLS][2]; /* where G >= 0; 0, 0 = no such shell */
};

struct mro_pdf_options {
    struct mro_composition composition;
    double density_per_nm3;    /* 0 = unknown: estimated from the composition, and said so */
    double density_se_per_nm3; /* 0 = exact */
    enum mro_damping damping;
    double damping_A2; /* b of exp(-b Q^2), for MRO_DAMPING_GAUSSIAN; 0 = 10 % left at the largest Q */
    double r_max_A;    /* of G(r); default 20 */
    double r_step_A;   /* default 0.02 */
    int background;    /* degree of the slow background that is fitted beside a constant, -1 = none; default 4. Never
                          more than r_min Q / pi, or 2 without a density */
    double connection_R_A;        /* 0 = first moment of the first shell; below 0: the second shell is not decomposed */
    double beyond_A[2];           /* where the strength of oscillations is taken; default 6, 15 */
    double s_max_inv_nm;          /* 0 = by the rule: 0.75 of what the profile reaches */
    double s_min_inv_nm;          /* 0 = by the rule: the least intensity before the first sharp peak */
    double r_min_A;               /* 0 = by the rule */
    double fsdp_Q[2];             /* 0, 0 = by the rule: the minima to either side */
    struct mro_pdf_windows fixed; /* of another state; wins over rules, not over options */
    int draws;                    /* bootstrap, 50 to 5000; default 200 */
    uint64_t seed;                /* default 1 */
    struct mro_pdf_tables *tables; /* NULL, or what is kept from one measurement for the next; changes no number */
};
void mro_pdf_options_default(struct mro_pdf_options *o);

/* A number with its standard error, its 95 % interval, and what choices move it by. NaN where unknown. */
enum mro_pdf_choice { MRO_PDF_BY_CENTRE = 0, MRO_PDF_BY_S_MAX, MRO_PDF_BY_FIT, MRO_PDF_CHOICES };
struct mro_pdf_number {
    double value, se, ci95[2];
    /* Change, with its sign: centre off by 0.2 px; s_max 10 % lower; the largest of another fit range and of slow
     * backgrounds of more freedom. Of a difference of states: its size. */
    double systematic[MRO_PDF_CHOICES];
};

struct mro_pdf_fsdp {
    struct mro_pdf_number Q, first_moment, area, fwhm; /* 1/Angstrom each */
};

struct mro_pdf_shell {
    struct mro_pdf_number r_A, height, area; /* height 1/Angstrom^2; area of G over the shell's window 1/Angstrom */
};

/* Two maxima of the second shell. */
struct mro_pdf_split {
    bool split;
    double r_A[2], splitting_A, dip, dip_se, p; /* dip: of G between them below the lower one, 1/Angstrom^2 */
};

struct mro_pdf_small {
    double near_A;             /* where it is looked for */
    double r_A, height, se, p; /* height above the higher of the minima to either side; NaN = there is no maximum */
};

struct mro_pdf_mode {
    int atoms; /* shared by the two first-shell neighbourhoods: 4, 3, 2, 1; 0 = 3 and 2 together */
    double centre_A, area, area_ci95[2]; /* area: atoms around an atom */
};

struct mro_pdf_connection {
    double R_A, sigma_A, resolution_A;
    struct mro_pdf_mode mode[MRO_PDF_MODES], together; /* `together`: 3- and 2-atom modes, which have a sum that is
                                                          known better */
    double share[MRO_PDF_MODES], share_together;       /* of the sum of the areas */
    double correlation[MRO_PDF_MODES][MRO_PDF_MODES];  /* of the areas */
    bool separable;                                    /* of 3- and 2-atom modes */
    double window_A[2], chi2_per_point;
    double *r_A, *data, *data_se; /* n: 4 pi rho r + G as it was fitted */
    size_t n;
    double *curve_r_A, *fit, *part; /* n_curve: the model; part: MRO_PDF_MODES * n_curve. All arrays go with r_A */
    size_t n_curve;
};

struct mro_pdf_result {
    size_t n; /* of S(Q) */
    double *Q, *S, *S_se;
    size_t n_r;
    double *r_A, *G, *G_se, *g; /* g NULL without density */
    size_t n_profile;           /* of the fit to the intensity: s in 1/nm; NULL for tables of S or G */
    double *s_inv_nm, *intensity, *intensity_se, *fit; /* fit: N <f^2> + background, what a gas of these atoms gives */
    struct mro_pdf_windows windows;
    double s_end_inv_nm; /* what the profile reaches; beyond, an aperture or no data */
    bool aperture;
    double N, background;  /* counts per Angstrom^2; counts */
    int background_degree; /* of the slow background that was fitted */
    double low_r_misfit;   /* rms of G below r_min against -4 pi rho r, over the rms of that line */
    double tail_mean;      /* of S over the last part of the fit */
    double resolution_A;   /* full width at half maximum of what a sharp distance becomes */
    enum mro_damping damping;
    double damping_A2, density_per_nm3;
    bool density_estimated;
    struct mro_pdf_fsdp fsdp;
    struct mro_pdf_shell shell[MRO_PDF_SHELLS];
    size_t n_shells;
    struct mro_pdf_split second;
    struct mro_pdf_small small[MRO_PDF_SMALL];
    struct mro_pdf_number coordination; /* of the first shell, to the first minimum of g */
    double coordination_to_A;
    struct mro_pdf_connection connection;
    struct mro_pdf_number oscillation; /* rms of G over beyond_A, noise taken out, 1/Angstrom^2 */
    double beyond_A[2];
    double dof;    /* of the standard errors: blocks - 1; infinite for errors that were given */
    size_t blocks; /* that were drawn: sectors or patterns; 0 = errors that were given, or none */
    int draws;
    char **warnings;
    size_t n_warnings;
};

/* Measures a profile of intensity, S(Q) or G(r). `name` is the file for messages; `shifted` (may be NULL) is the same
 * profile with its centre off by 0.2 px.
 *
 * Normalisation: I = N (<f^2> + <f>^2 (S - 1)) + C + N <f>^2 P(s), P a polynomial without constant term that is kept
 * small. N, C and P come from one linear least squares fit in 1/N, C/N and P: G has to be -4 pi rho r below r_min, and
 * S 1 on the average over the tail. Below the smallest s S falls as Q^2.
 *
 * Errors: MRO_EARG (options), MRO_ECALIB (no composition for intensities), MRO_EDATA (too short, no peak, flat),
 * MRO_EMEMORY. Numbers that cannot be measured are NaN, with a sentence in warnings. Release with
 * mro_pdf_result_release.
 * Source: Mu et al., J. Appl. Cryst. 46 (2013) 1105; Juhas et al., ibid. 560; Lorch, J. Phys. C 2 (1969) 229;
 * connection modes after Ding et al., Sci. Rep. 5 (2015) 17429. */
enum mro_code mro_pdf_measure(const struct mro_profile *p, const struct mro_profile *shifted, const char *name,
                              const struct mro_pdf_options *o, struct mro_pdf_result *r, struct mro_error *e);
void mro_pdf_result_release(struct mro_pdf_result *r); /* {0} is fine */

/* The connection modes alone, from G(r) whose damping and largest Q are known: n points at rising r, and the covariance
 * matrix of G there (n * n). MRO_EDATA when there is no second shell in the window. */
struct mro_pdf_second_shell {
    size_t n;
    const double *r_A, *G, *covariance;
    double Q_max, damping_A2;
    enum mro_damping damping;
    double density_per_nm3, R_A;
};
enum mro_code mro_pdf_connect(const struct mro_pdf_second_shell *shell, struct mro_pdf_connection *c,
                              struct mro_error *e);

/* ---- states ---- */

/* What differs from a reference that was measured over the same windows. */
struct mro_pdf_difference {
    size_t n;
    double *Q, *dS, *dS_se;
    size_t n_r;
    double *r_A, *dG, *dG_se;
    struct mro_pdf_number oscillation, oscillation_ratio, first_moment; /* this less (over) the reference; 1/Angstrom^2,
                                                                           1, 1/Angstrom */
    double oscillation_p, first_moment_p;                               /* two-sided; of no difference */
};

/* Errors: MRO_EARG (windows, damping or ranges that differ, naming them), MRO_EMEMORY. */
enum mro_code mro_pdf_compare(const struct mro_pdf_result *r, const struct mro_pdf_result *reference,
                              struct mro_pdf_difference *d, struct mro_error *e);
void mro_pdf_difference_release(struct mro_pdf_difference *d); /* {0} is fine */

/* Patterns of one place or state as one profile whose blocks are the patterns: errors then come from what differs
 * between them. All must have the points of the first. MRO_EARG, MRO_EMEMORY. */
enum mro_code mro_profile_pool(struct mro_profile *pooled, const struct mro_profile *const *each, size_t n,
                               struct mro_error *e);

/* ---- series ---- */

/* One pattern of a series, such as heating; NaN where a number was not measured. Areas are numbers of atoms, places in
 * Angstrom, the first moment in 1/Angstrom, the oscillation in 1/Angstrom^2. */
struct mro_pdf_point {
    char name[200]; /* file, with frame where there are several */
    double value;   /* temperature, strain... as given */
    double first_moment, first_moment_se, fsdp_area, fsdp_area_se, oscillation, oscillation_se;
    double shell_r[MRO_PDF_SHELLS], shell_area[MRO_PDF_SHELLS], shell_area_se[MRO_PDF_SHELLS];
};
struct mro_pdf_series {
    const char *value_name, *value_unit; /* lent: what the values are; unit "" = not said */
    struct mro_pdf_point *point;         /* in the order in which they were added */
    size_t n;
    struct mro_onset first_moment, fsdp_area, oscillation, shell_area[MRO_PDF_SHELLS]; /* by mro_pdf_series_onsets */
};

/* Adds what was measured at `value` to a series that starts as {0}. Measure all over the windows of the first. Errors:
 * MRO_EMEMORY. Not for several threads at a time. */
enum mro_code mro_pdf_series_add(struct mro_pdf_series *s, const char *name, double value,
                                 const struct mro_pdf_result *r, struct mro_error *e);

/* Where each number of the series bends, see mro_onset_find. Errors: MRO_EMEMORY. */
enum mro_code mro_pdf_series_onsets(struct mro_pdf_series *s, struct mro_error *e);
void mro_pdf_series_release(struct mro_pdf_series *s); /* {0} is fine */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
