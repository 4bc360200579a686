/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The pair distribution of one profile, or of a table of G(r): the fit, what is read off it, its errors by draws and by
 * other choices. */
#include "mroscope/pdf.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/gsl_errors.h"
#include "core/notes.h"
#include "ops/pdf/pdf_internal.h"

#define ALONE_DEGREE 2 /* of the slow background where no density tells it from atoms */
/* How far the low r misses the density's line, over it, where the slow background begins to be let free, and where it
 * is wholly. */
#define GOOD_MISFIT 0.03
#define BAD_MISFIT 0.1
#define INELASTIC_MISFIT 0.3 /* where inelastic scattering is about as strong as elastic */
#define CUT_PEAK 0.4         /* S at the beginning over that of the first sharp peak: more is on its flank */
#define DENSITY_LEAST 10.0   /* atoms per nm^3 that no glass goes below or above */
#define DENSITY_MOST 200.0

void mro_pdf_options_default(struct mro_pdf_options *o)
{
    *o = (struct mro_pdf_options){ .damping = MRO_DAMPING_LORCH,
                                   .r_max_A = 20,
                                   .r_step_A = 0.02,
                                   .background = 4,
                                   .beyond_A = { 6, 15 },
                                   .draws = 200,
                                   .seed = 1 };
}

void mro_pdf_result_release(struct mro_pdf_result *r)
{
    if (r == NULL) return;
    free(r->Q);
    free(r->S);
    free(r->S_se);
    free(r->r_A);
    free(r->G);
    free(r->G_se);
    free(r->g);
    free(r->s_inv_nm);
    free(r->intensity);
    free(r->intensity_se);
    free(r->fit);
    free(r->connection.r_A);
    mro_notes_release(&r->warnings, &r->n_warnings);
    memset(r, 0, sizeof *r);
}

static enum mro_code check(const struct mro_profile *p, const char *name, const struct mro_pdf_options *o,
                           struct mro_error *e)
{
    if (p->quantity == MRO_QUANTITY_INTENSITY && o->composition.n == 0)
        return MRO_FAIL_LACKING(e, MRO_LACKS_COMPOSITION, "S(Q) of '%s' needs the composition, for scattering factors",
                                name);
    if (p->quantity == MRO_QUANTITY_INTENSITY && p->radiation == MRO_RADIATION_NEUTRONS)
        return MRO_FAIL(e, MRO_EARG,
                        "'%s' holds intensities of neutrons, whose scattering lengths are not known here; give S(Q)",
                        name);
    if (o->density_per_nm3 != 0 && !(o->density_per_nm3 >= DENSITY_LEAST && o->density_per_nm3 <= DENSITY_MOST))
        return MRO_FAIL(e, MRO_EARG, "a density of %g atoms per nm^3 is none of a glass (%g to %g)%s",
                        o->density_per_nm3, DENSITY_LEAST, DENSITY_MOST,
                        o->density_per_nm3 > 0 && o->density_per_nm3 < DENSITY_LEAST
                            ? "; atoms per nm^3 are 602.2 times g/cm^3 over the mean atomic weight"
                            : "");
    if (!(o->density_se_per_nm3 >= 0 && o->density_se_per_nm3 < 0.3 * DENSITY_MOST))
        return MRO_FAIL(e, MRO_EARG, "the error of the density cannot be %g atoms per nm^3", o->density_se_per_nm3);
    if (!(o->r_max_A >= 4 && o->r_max_A <= 200))
        return MRO_FAIL(e, MRO_EARG, "G(r) can go to between 4 and 200 Angstrom, not %g", o->r_max_A);
    if (!(o->r_step_A >= 0.001 && o->r_step_A <= 0.1))
        return MRO_FAIL(e, MRO_EARG, "steps of r can be between 0.001 and 0.1 Angstrom, not %g", o->r_step_A);
    if (o->background < -1 || o->background > MRO_PDF_DEGREE)
        return MRO_FAIL(e, MRO_EARG, "the degree of the background can be -1 to %d, not %d", MRO_PDF_DEGREE,
                        o->background);
    if (o->draws < 50 || o->draws > 5000) return MRO_FAIL(e, MRO_EARG, "draws can be 50 to 5000, not %d", o->draws);
    if (!(o->beyond_A[0] > 0 && o->beyond_A[1] > o->beyond_A[0] + 1 && o->beyond_A[1] <= o->r_max_A))
        return MRO_FAIL(e, MRO_EARG,
                        "the strength of oscillations needs a range of r within G(r), to %g Angstrom, and over 1 "
                        "Angstrom wide, not %g to %g",
                        o->r_max_A, o->beyond_A[0], o->beyond_A[1]);
    if (!(o->damping_A2 >= 0 && o->damping_A2 < 10))
        return MRO_FAIL(e, MRO_EARG, "the damping exp(-b Q^2) cannot have b = %g A^2", o->damping_A2);
    if (!(o->connection_R_A <= 0 || (o->connection_R_A > 1.2 && o->connection_R_A < 5)))
        return MRO_FAIL(e, MRO_EARG, "the distance R of connection modes cannot be %g Angstrom", o->connection_R_A);
    return MRO_OK;
}

/* Standard deviation of one number over the draws, and its mean (may be NULL). */
static double sd_of(const double *number, size_t draws, size_t which, double *mean)
{
    double sum = 0, square = 0;
    size_t n = 0;
    for (size_t d = 0; d < draws; d++) {
        const double v = number[d * PDF_NUMBERS + which];
        if (!isfinite(v)) continue;
        sum += v;
        n++;
    }
    if (mean) *mean = n ? sum / (double)n : NAN;
    if (n < draws / 2 || n < 20) return NAN;
    for (size_t d = 0; d < draws; d++) {
        const double v = number[d * PDF_NUMBERS + which] - sum / (double)n;
        if (isfinite(v)) square += v * v;
    }
    return sqrt(square / (double)(n - 1));
}

static bool any_error(const struct mro_pdf_source *u, const struct mro_pdf_frame *f, size_t first)
{
    if (u->blocks) return true;
    for (size_t k = 0; k < f->n; k++)
        if (u->se[first + k] > 0) return true;
    return false;
}

/* What all analyses of one profile share. */
struct common {
    struct mro_pdf_axis axis;
    const struct mro_pdf_options *o;
    double damping_A2, density_per_nm3, slow;
    size_t first; /* point of the profile that the axis begins at */
};

/* One more analysis with something changed; numbers are NaN where it cannot be normalised. */
static enum mro_code again(const struct common *c, const struct mro_pdf_places *places, const struct mro_pdf_windows *w,
                           int background, double slow, size_t n, const double *values, double number[PDF_NUMBERS],
                           struct mro_error *e)
{
    struct mro_pdf_frame f;
    for (int i = 0; i < PDF_NUMBERS; i++) number[i] = NAN;
    MRO_TRY(mro_pdf_frame_make(&f, &c->axis, c->o, c->damping_A2, c->density_per_nm3, w, background, n, e));
    double *S = malloc((f.n + f.nr) * sizeof *S), x[MRO_PDF_MAX_TERMS];
    const enum mro_code rc = S ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "S(Q) of %zu points does not fit in memory", f.n);
    if (S && mro_pdf_normalise(&f, values + c->first, 1, slow, f.density_A3, S, x)) {
        mro_pdf_transform(f.G, S, S + f.n);
        /* A shell's edges move with the resolution; its area must not lose them. */
        mro_pdf_read(&f, S, S + f.n, places, number);
    }
    free(S);
    mro_pdf_frame_release(&f);
    return rc;
}

struct analysis {
    double value[PDF_NUMBERS], se[PDF_NUMBERS], systematic[MRO_PDF_CHOICES][PDF_NUMBERS];
    double chance[1 + MRO_PDF_SMALL]; /* mean over the draws of what is found in noise alone */
    double dof, noise;                /* noise: mean square error of G over the oscillation */
};

/* Numbers of which no error is known, nor what other choices give. */
static void without_errors(struct analysis *a)
{
    for (int i = 0; i < PDF_NUMBERS; i++) a->se[i] = NAN;
    for (int c = 0; c < MRO_PDF_CHOICES; c++)
        for (int i = 0; i < PDF_NUMBERS; i++) a->systematic[c][i] = NAN;
    for (int i = 0; i <= MRO_PDF_SMALL; i++) a->chance[i] = NAN;
    a->dof = INFINITY;
    a->noise = 0;
}

/* Of two changes the one of the larger size; NaN where one is not known. */
static double larger(double a, double b) { return isnan(a) || isnan(b) ? NAN : fabs(b) > fabs(a) ? b : a; }

static struct mro_pdf_number number_of(const struct analysis *a, size_t which)
{
    struct mro_pdf_number v = mro_pdf_number_of(a->value[which], a->se[which], a->dof);
    for (int c = 0; c < MRO_PDF_CHOICES; c++) v.systematic[c] = a->systematic[c][which];
    return v;
}

static void fill_shells(const struct analysis *a, struct mro_pdf_result *r)
{
    for (size_t k = 0; k < r->n_shells; k++) {
        r->shell[k].r_A = number_of(a, PDF_SHELL + 3 * k);
        r->shell[k].height = number_of(a, PDF_SHELL + 3 * k + 1);
        r->shell[k].area = number_of(a, PDF_SHELL + 3 * k + 2);
    }
}

/* Root mean square of G with the noise taken out, from the mean square. */
static struct mro_pdf_number oscillation_of(const struct analysis *a)
{
    const double t = gsl_cdf_tdist_Pinv(0.975, fmin(a->dof, 1e6));
    const double square = a->value[PDF_SQUARE] - a->noise, se = a->se[PDF_SQUARE];
    struct mro_pdf_number v = { sqrt(fmax(0, square)), NAN, { NAN, NAN }, { NAN, NAN, NAN } };
    if (!isfinite(square)) v.value = NAN;
    if (isfinite(se)) {
        v.ci95[0] = sqrt(fmax(0, square - t * se));
        v.ci95[1] = sqrt(fmax(0, square + t * se));
        v.se = v.value > 0 ? se / (2 * v.value) : NAN;
    }
    for (int c = 0; c < MRO_PDF_CHOICES; c++)
        v.systematic[c] = v.value > 0 ? a->systematic[c][PDF_SQUARE] / (2 * v.value) : NAN;
    return v;
}

static enum mro_code keep_curves(struct mro_pdf_result *r, const struct mro_pdf_frame *f, const double *S,
                                 const double *G, struct mro_error *e)
{
    r->n = f->n;
    r->n_r = f->nr;
    r->Q = malloc(f->n * sizeof *r->Q);
    r->S = malloc(f->n * sizeof *r->S);
    r->S_se = malloc(f->n * sizeof *r->S_se);
    r->r_A = malloc(f->nr * sizeof *r->r_A);
    r->G = malloc(f->nr * sizeof *r->G);
    r->G_se = malloc(f->nr * sizeof *r->G_se);
    r->g = f->density_A3 > 0 ? malloc(f->nr * sizeof *r->g) : NULL;
    if (!r->Q || !r->S || !r->S_se || !r->r_A || !r->G || !r->G_se || (f->density_A3 > 0 && !r->g))
        return MRO_FAIL(e, MRO_EMEMORY, "curves of %zu points do not fit in memory", f->n + f->nr);
    if (f->n) { /* not of a table of G(r) */
        memcpy(r->Q, f->Q, f->n * sizeof *S);
        memcpy(r->S, S, f->n * sizeof *S);
    }
    memcpy(r->r_A, f->r, f->nr * sizeof *S);
    memcpy(r->G, G, f->nr * sizeof *S);
    for (size_t k = 0; k < f->n; k++) r->S_se[k] = NAN;
    for (size_t j = 0; j < f->nr; j++) {
        r->G_se[j] = NAN;
        if (r->g) r->g[j] = 1 + G[j] / (4 * M_PI * f->density_A3 * f->r[j]);
    }
    return MRO_OK;
}

static enum mro_code keep_fit(struct mro_pdf_result *r, const struct mro_pdf_frame *f, const double *v,
                              const double *se, const double x[MRO_PDF_MAX_TERMS], struct mro_error *e)
{
    r->n_profile = f->n;
    r->s_inv_nm = malloc(f->n * sizeof *r->s_inv_nm);
    r->intensity = malloc(f->n * sizeof *r->intensity);
    r->intensity_se = malloc(f->n * sizeof *r->intensity_se);
    r->fit = malloc(f->n * sizeof *r->fit);
    if (!r->s_inv_nm || !r->intensity || !r->intensity_se || !r->fit)
        return MRO_FAIL(e, MRO_EMEMORY, "a fit of %zu points does not fit in memory", f->n);
    r->N = 1 / x[0];
    r->background = f->terms > 1 ? x[1] / x[0] : 0;
    for (size_t k = 0; k < f->n; k++) {
        double S = 1 - f->ratio[k];
        for (size_t i = 1; i < f->terms; i++) S += x[i] * f->basis[i * f->n + k];
        r->s_inv_nm[k] = f->s_inv_nm[k];
        r->intensity[k] = v[k];
        r->intensity_se[k] = se[k];
        r->fit[k] = (1 - S) * f->f1_2[k] / x[0]; /* the intensity that has S = 1 */
    }
    return MRO_OK;
}

/* Root mean square of what the low r misses the density's line by, over the line; `scale` (1/N): without what noise of
 * the intensities adds to it, 0: with it. */
static double low_r_miss(const struct mro_pdf_frame *f, const double *S, double density, double scale)
{
    double square = 0, line = 0;
    for (size_t j = 0; j < f->low->nr; j++) {
        const double *T = f->low->rows + j * f->n, want = -4 * M_PI * density * mro_pdf_r(f->low, j);
        double G = f->low->low0[j] + f->low->low1[j] * S[0];
        for (size_t k = 0; k < f->n; k++) G += T[k] * (S[k] - 1);
        square += (G - want) * (G - want);
        if (j < f->low_rules) square -= scale * scale * f->noise[j];
        line += want * want;
    }
    return sqrt(fmax(0, square) / line);
}

/* The size in S that the slow background may have. Inelastic scattering can be as strong as elastic, and falls about as
 * <f>^2 does: what is not let into the background is taken for elastic, so that S and all shells come out too low. Then
 * G at low r misses the line of the density. Where it does not, freedom would only add errors. */
static double slow_for(double miss)
{
    const double t = fmin(1, fmax(0, log(miss / GOOD_MISFIT) / log(BAD_MISFIT / GOOD_MISFIT)));
    return MRO_PDF_SLOW_LEAST * pow(MRO_PDF_SLOW_MOST / MRO_PDF_SLOW_LEAST, t);
}

/* Everything that is known of the quality of S(Q): its tail, and the low r. */
static void judge(struct mro_pdf_result *r, const struct mro_pdf_frame *f, const double *S, double density)
{
    double sum = 0;
    for (size_t k = f->tail; k < f->n; k++) sum += S[k];
    r->tail_mean = sum / (double)(f->n - f->tail);
    r->low_r_misfit = density > 0 ? low_r_miss(f, S, density, 0) : NAN;
}

static void find_coordination(const struct mro_pdf_frame *f, const double *G, double r1, const struct mro_pdf_result *r,
                              struct mro_pdf_places *p, char ***notes, size_t *n_notes)
{
    p->coordination[0] = p->coordination[1] = 0;
    if (r->n_shells == 0) return;
    if (!(f->density_A3 > 0) || r->density_estimated) {
        mro_note(notes, n_notes, "the coordination number needs the density; give `density` in atoms per nm^3");
        return;
    }
    if (f->normalise && fabs(r->tail_mean - 1) > 0.02) {
        mro_note(notes, n_notes,
                 "the coordination number is not given: S(Q) ends at a mean of %.3f, more than 2 %% from 1",
                 r->tail_mean);
        return;
    }
    if (r->low_r_misfit > 0.3) {
        mro_note(
            notes, n_notes,
            "the coordination number is not given: below the first shell G(r) misses the density's line by %.0f %%",
            100 * r->low_r_misfit);
        return;
    }
    /* From half way between r_min and the first shell to the first minimum of g after it. */
    double least = INFINITY, at = 0;
    for (size_t j = 0; j < f->nr && f->r[j] < 1.75 * r1; j++) {
        const double g = 1 + G[j] / (4 * M_PI * f->density_A3 * f->r[j]);
        if (f->r[j] <= r1 || g >= least) continue;
        least = g;
        at = f->r[j];
    }
    p->coordination[0] = 0.72 * r1;
    p->coordination[1] = at;
}

/* Chance of finding number `which` or more in a search through noise alone, whose finds have a mean and a standard
 * deviation over the draws (taken as a gamma distribution). A ripple of the transform moves when the largest Q does, so
 * that no more of it counts than there is with both. */
static double chance_of(const struct analysis *a, size_t which, size_t search)
{
    const double value = fmin(a->value[which], a->value[which] + a->systematic[MRO_PDF_BY_S_MAX][which]);
    const double mean = a->chance[search], sd = a->se[PDF_CHANCE + search], dof = a->dof;
    if (!(mean > 0 && sd > 0)) return NAN;
    const double p = value > 0 ? gsl_cdf_gamma_Q(value, mean * mean / (sd * sd), sd * sd / mean) : 1;
    return dof < 1e6 && p > 0 && p < 1 ? gsl_cdf_tdist_Q(gsl_cdf_ugaussian_Qinv(p), dof) : p;
}

static void fill_small(struct mro_pdf_result *r, const struct analysis *a, const struct mro_pdf_places *p)
{
    static const double near_A[MRO_PDF_SMALL] = { 4, 7 };
    for (int k = 0; k < MRO_PDF_SMALL; k++) {
        struct mro_pdf_small *m = &r->small[k];
        *m = (struct mro_pdf_small){ near_A[k], NAN, NAN, NAN, NAN };
        if (!(p->small[k][0] > 0)) continue;
        m->r_A = p->small[k][0];
        m->height = a->value[PDF_SMALL + k];
        m->se = a->se[PDF_SMALL + k];
        m->p = chance_of(a, PDF_SMALL + (size_t)k, 1 + (size_t)k);
    }
    struct mro_pdf_split *s = &r->second;
    *s = (struct mro_pdf_split){ false, { NAN, NAN }, NAN, NAN, NAN, NAN };
    if (!(p->split[0] > 0)) return;
    s->r_A[0] = p->split[0];
    s->r_A[1] = p->split[1];
    s->splitting_A = p->split[1] - p->split[0];
    s->dip = a->value[PDF_SPLIT];
    s->dip_se = a->se[PDF_SPLIT];
    s->p = chance_of(a, PDF_SPLIT, 0);
    s->split = s->p < 0.05;
}

static void note_density(struct mro_pdf_result *r, const struct mro_pdf_options *o)
{
    const double guess = mro_density_estimate(&o->composition);
    r->density_per_nm3 = o->density_per_nm3;
    if (o->density_per_nm3 > 0) {
        if (guess > 0 && fabs(log(o->density_per_nm3 / guess)) > log(1.4))
            mro_note(&r->warnings, &r->n_warnings,
                     "a density of %g atoms per nm^3 is far from %.0f, which the volumes of the elements give",
                     o->density_per_nm3, guess);
        return;
    }
    r->density_per_nm3 = guess;
    r->density_estimated = true;
    if (guess > 0)
        mro_note(
            &r->warnings, &r->n_warnings,
            "the density was estimated from the volumes of the elements as %.1f atoms per nm^3 (within some 8 %%); "
            "give `density`",
            guess);
    else
        mro_note(&r->warnings, &r->n_warnings,
                 "the density is not known and cannot be estimated for this composition; g(r) and areas in atoms are "
                 "left out; give `density`");
}

/* A background of a higher degree than r_min Q / pi would fit what atoms give (Juhas et al., J. Appl. Cryst. 46 (2013)
 * 560). */
static int degree_of(const struct mro_pdf_options *o, double density, double r_min_A, double Q)
{
    const int most = density > 0 ? (int)fmax(1, r_min_A * Q / M_PI) : ALONE_DEGREE;
    return o->background < most ? o->background : most;
}

/* Errors of all numbers, from draws within those of the profile. */
static enum mro_code draw_errors(const struct mro_pdf_frame *f, size_t first, const struct mro_pdf_source *u,
                                 const struct mro_pdf_options *o, double slow, const struct mro_pdf_places *places,
                                 const double *v, struct mro_pdf_result *r, struct analysis *a, struct mro_error *e)
{
    without_errors(a);
    r->dof = a->dof;
    r->draws = 0;
    if (!any_error(u, f, first)) {
        mro_note(&r->warnings, &r->n_warnings, "the profile has no errors, so no number has one");
        return MRO_OK;
    }
    double *numbers = malloc((size_t)o->draws * PDF_NUMBERS * sizeof *numbers);
    if (numbers == NULL) return MRO_FAIL(e, MRO_EMEMORY, "%d draws do not fit in memory", o->draws);
    const enum mro_code rc = mro_pdf_draw(f, first, u, o, slow, places, v, r->G, r->S_se, r->G_se, numbers, e);
    if (rc) goto done;
    r->draws = o->draws;
    r->blocks = u->blocks;
    if (u->blocks) r->dof = a->dof = (double)u->blocks - 1;
    for (size_t i = 0; i < PDF_NUMBERS; i++)
        a->se[i] = sd_of(numbers, (size_t)o->draws, i, i < PDF_CHANCE ? NULL : &a->chance[i - PDF_CHANCE]);
    size_t n = 0;
    for (size_t j = 0; j < f->nr; j++) {
        if (f->r[j] < o->beyond_A[0] || f->r[j] > o->beyond_A[1]) continue;
        a->noise += r->G_se[j] * r->G_se[j];
        n++;
    }
    a->noise /= (double)n;
done:
    free(numbers);
    return rc;
}

/* What other choices give. */
static enum mro_code try_choices(const struct mro_profile *p, const struct mro_profile *shifted,
                                 const struct mro_pdf_points *t, const struct mro_pdf_ranges *g, const struct common *c,
                                 const struct mro_pdf_places *places, const struct mro_pdf_frame *f,
                                 const struct mro_pdf_result *r, struct analysis *a, struct mro_error *e)
{
    double other[PDF_NUMBERS];
    struct mro_pdf_windows w = r->windows;
    w.s_inv_nm[1] *= 0.9;
    MRO_TRY(again(c, places, &w, r->background_degree, c->slow, f->n, t->v, other, e));
    for (int i = 0; i < PDF_NUMBERS; i++) a->systematic[MRO_PDF_BY_S_MAX][i] = other[i] - a->value[i];
    if (f->normalise) {
        w = r->windows;
        w.tail_inv_nm *= 0.93;
        size_t end = g->first;
        while (end < g->end && t->s[end] <= fmax(0.93 * r->windows.fit_inv_nm[1], r->windows.s_inv_nm[1])) end++;
        MRO_TRY(again(c, places, &w, r->background_degree, c->slow, end - g->first, t->v, other, e));
        for (int i = 0; i < PDF_NUMBERS; i++) a->systematic[MRO_PDF_BY_FIT][i] = other[i] - a->value[i];
        /* A background of another degree, and one of another freedom. */
        const double middle = sqrt(MRO_PDF_SLOW_LEAST * MRO_PDF_SLOW_MOST);
        const int degree[2] = { r->background_degree > 1 ? r->background_degree - 1 : r->background_degree + 1,
                                r->background_degree };
        for (int k = 0; k < 2; k++) {
            MRO_TRY(again(c, places, &r->windows, degree[k], k ? c->slow * (c->slow > middle ? 1.0 / 3 : 3) : c->slow,
                          f->n, t->v, other, e));
            for (int i = 0; i < PDF_NUMBERS; i++)
                a->systematic[MRO_PDF_BY_FIT][i] = larger(a->systematic[MRO_PDF_BY_FIT][i], other[i] - a->value[i]);
        }
    }
    if (shifted && shifted->intensity) {
        /* Its corners may lie a point nearer or farther. */
        double *moved = malloc((t->n + p->n) * sizeof *moved), *all = moved ? moved + t->n : NULL;
        if (moved == NULL) return MRO_FAIL(e, MRO_EMEMORY, "a profile of %zu points does not fit in memory", p->n);
        for (size_t k = 0; k < p->n; k++) all[k] = k < shifted->n ? shifted->intensity[k] : NAN;
        mro_pdf_gather(p, t, all, moved);
        for (size_t k = 0; k < t->n; k++)
            if (!isfinite(moved[k])) moved[k] = t->v[k];
        const enum mro_code rc = again(c, places, &r->windows, r->background_degree, c->slow, f->n, moved, other, e);
        free(moved);
        if (rc) return rc;
        for (int i = 0; i < PDF_NUMBERS; i++) a->systematic[MRO_PDF_BY_CENTRE][i] = other[i] - a->value[i];
    }
    return MRO_OK;
}

/* The numbers of the result, with their errors; Q1: where the first peak is. */
static void fill_numbers(const struct analysis *a, const struct mro_pdf_places *places, const struct mro_pdf_frame *f,
                         const double *S, double Q1, struct mro_pdf_result *r)
{
    r->fsdp.Q = number_of(a, PDF_FSDP_Q);
    r->fsdp.first_moment = number_of(a, PDF_FSDP_MOMENT);
    r->fsdp.area = number_of(a, PDF_FSDP_AREA);
    r->fsdp.fwhm = number_of(a, PDF_FSDP_FWHM);
    fill_shells(a, r);
    double peak = 0;
    for (size_t k = 0; k < f->n && f->Q[k] < 1.3 * Q1; k++) peak = fmax(peak, S[k]);
    if (S[0] > CUT_PEAK * peak) {
        const struct mro_pdf_number none = { NAN, NAN, { NAN, NAN }, { NAN, NAN, NAN } };
        r->fsdp.first_moment = r->fsdp.area = r->fsdp.fwhm = none;
        mro_note(&r->warnings, &r->n_warnings,
                 "the profile begins at s = %.3g 1/nm, within the first sharp peak: its moment, area and width are not "
                 "given, and G(r) lacks what is below; check the mask of the beam stop in the figure",
                 f->s_inv_nm[0]);
    }
    r->coordination = number_of(a, PDF_COORDINATION);
    r->oscillation = oscillation_of(a);
    fill_small(r, a, places);
}

static enum mro_code measure(const struct mro_profile *p, const struct mro_profile *shifted,
                             const struct mro_pdf_points *t, const struct mro_pdf_source *u, const char *name,
                             const struct mro_pdf_options *o, struct mro_pdf_tables *tables, struct mro_pdf_result *r,
                             struct mro_error *e)
{
    struct mro_pdf_ranges g = { 0 };
    struct mro_pdf_frame f = { 0 };
    struct mro_pdf_places places = { .beyond = { o->beyond_A[0], o->beyond_A[1] } };
    struct analysis a;
    double x[MRO_PDF_MAX_TERMS], *S = NULL;
    enum mro_code rc;
    r->windows = o->fixed;
    MRO_TRY(mro_pdf_choose_ranges(p, t, name, o, &r->windows, &g, e));
    note_density(r, o);
    if (p->quantity == MRO_QUANTITY_INTENSITY && o->composition.n && fabs(o->composition.sum - 100) > 0.6 &&
        fabs(o->composition.sum - 100) < 25)
        mro_note(&r->warnings, &r->n_warnings, "the numbers of the composition add up to %g, not to 100",
                 o->composition.sum);
    const double density = r->density_per_nm3 > 0 ? r->density_per_nm3 : 0;
    const double Q_top = r->windows.s_inv_nm[1] * MRO_PDF_TO_Q;
    r->damping = o->damping;
    r->damping_A2 =
        o->damping == MRO_DAMPING_GAUSSIAN && o->damping_A2 == 0 ? log(10) / (Q_top * Q_top) : o->damping_A2;
    r->s_end_inv_nm = t->s[g.end - 1];
    r->aperture = g.aperture;
    if (g.aperture)
        mro_note(&r->warnings, &r->n_warnings,
                 "the pattern is cut at s = %.3g 1/nm, as by an aperture; it is used to there", r->s_end_inv_nm);
    struct common c = { { tables, p->quantity == MRO_QUANTITY_INTENSITY, t->s + g.first, t->se + g.first,
                          t->f1_2 + g.first, t->ratio + g.first },
                        o,
                        r->damping_A2,
                        density,
                        MRO_PDF_SLOW_LEAST,
                        g.first };
    const double *v = t->v + g.first;
    r->background_degree = degree_of(o, density, r->windows.r_min_A, r->s_end_inv_nm * MRO_PDF_TO_Q);
    rc = mro_pdf_frame_make(&f, &c.axis, o, r->damping_A2, density, &r->windows, r->background_degree, g.end - g.first,
                            e);
    if (rc) return rc;
    r->windows.s_inv_nm[1] = f.s_inv_nm[f.nt - 1];
    const double Q_max = f.Q[f.nt - 1];
    r->resolution_A = mro_pdf_resolution(o->damping, r->damping_A2, Q_max);
    S = malloc((f.n + f.nr) * sizeof *S);
    if (S == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "S(Q) of %zu points does not fit in memory", f.n);
        goto done;
    }
    if (r->windows.background_size > 0)
        c.slow = r->windows.background_size;
    else if (f.low_rules && mro_pdf_normalise(&f, v, 1, c.slow, f.density_A3, S, x)) {
        const double miss = low_r_miss(&f, S, f.density_A3, x[0]);
        c.slow = slow_for(miss);
        if (miss > INELASTIC_MISFIT)
            mro_note(&r->warnings, &r->n_warnings,
                     "inelastic scattering is as strong as elastic, or stronger: heights and areas of shells can be 10 "
                     "to 40 %% too low, see their systematic part");
    }
    r->windows.background_size = c.slow;
    if (!mro_pdf_normalise(&f, v, 1, c.slow, f.density_A3, S, x)) {
        rc = MRO_FAIL(
            e, MRO_EDATA,
            "the intensities of '%s' cannot be normalised with this composition: the fit gives no positive scale",
            name);
        goto done;
    }
    mro_pdf_transform(f.G, S, S + f.n);
    rc = keep_curves(r, &f, S, S + f.n, e);
    if (rc == MRO_OK && f.normalise) rc = keep_fit(r, &f, v, c.axis.se, x, e);
    if (rc) goto done;
    judge(r, &f, S, f.density_A3);

    const double Q1 = t->s[g.peak] * MRO_PDF_TO_Q, r1 = 2.5 * M_PI / Q1;
    if (o->fsdp_Q[1] > o->fsdp_Q[0])
        memcpy(r->windows.fsdp_Q, o->fsdp_Q, sizeof o->fsdp_Q);
    else if (!(r->windows.fsdp_Q[1] > 0))
        mro_pdf_find_peak(&f, S, Q1, r->windows.fsdp_Q);
    if (!(r->windows.shell_A[0][1] > 0)) mro_pdf_find_shells(&f, r->G, r1, r->resolution_A, r->windows.shell_A);
    for (r->n_shells = 0; r->n_shells < MRO_PDF_SHELLS && r->windows.shell_A[r->n_shells][1] > 0;) r->n_shells++;
    if (r->n_shells == 0) mro_note(&r->warnings, &r->n_warnings, "G(r) shows no first shell near %.2f Angstrom", r1);
    places.w = r->windows;
    places.density_A3 = f.density_A3;
    mro_pdf_find_small(&f, r->G, &places);
    find_coordination(&f, r->G, r1, r, &places, &r->warnings, &r->n_warnings);
    r->coordination_to_A = places.coordination[1] > 0 ? places.coordination[1] : NAN;
    memcpy(r->beyond_A, o->beyond_A, sizeof r->beyond_A);
    mro_pdf_read(&f, S, r->G, &places, a.value);
    rc = draw_errors(&f, g.first, u, o, c.slow, &places, v, r, &a, e);
    if (rc == MRO_OK) rc = try_choices(p, shifted, t, &g, &c, &places, &f, r, &a, e);
    if (rc) goto done;
    fill_numbers(&a, &places, &f, S, Q1, r);
    rc = mro_pdf_connect_shells(r, &f, Q_max, o, e);
done:
    free(S);
    mro_pdf_frame_release(&f);
    return rc;
}

/* G(r) that was given: only what is read off it. */
static enum mro_code measure_G(const struct mro_profile *p, const char *name, const struct mro_pdf_options *o,
                               struct mro_pdf_result *r, struct mro_error *e)
{
    struct mro_pdf_frame f = { 0 };
    struct mro_pdf_places places = { .beyond = { o->beyond_A[0], o->beyond_A[1] } };
    struct analysis a;
    const double r_end = p->n ? p->r_A[p->n - 1] : 0;
    if (p->n < 32 || !(r_end > 4))
        return MRO_FAIL(e, MRO_EDATA, "G(r) of '%s' ends at %g Angstrom; its shells need more", name, r_end);
    note_density(r, o);
    f.nr = (size_t)(fmin(o->r_max_A, r_end) / o->r_step_A);
    f.density_A3 = r->density_per_nm3 > 0 ? r->density_per_nm3 / 1000 : 0;
    f.r = calloc(2 * f.nr, sizeof *f.r);
    if (f.r == NULL) return MRO_FAIL(e, MRO_EMEMORY, "G(r) of %zu points does not fit in memory", f.nr);
    double *G = f.r + f.nr;
    for (size_t j = 0; j < f.nr; j++) {
        f.r[j] = (double)(j + 1) * o->r_step_A;
        G[j] = mro_pdf_at(p->r_A, p->intensity, p->n, f.r[j]);
        if (!isfinite(G[j])) G[j] = -4 * M_PI * f.density_A3 * f.r[j]; /* before the table begins there are no atoms */
    }
    enum mro_code rc = keep_curves(r, &f, NULL, G, e);
    if (rc) goto done;
    /* The first shell is the highest point. */
    double r1 = 0, top = 0;
    for (size_t j = 0; j < f.nr && f.r[j] < 4.5; j++) {
        if (!(f.r[j] > 1.2 && G[j] > top)) continue;
        top = G[j];
        r1 = f.r[j];
    }
    r->windows = o->fixed;
    if (!(r->windows.shell_A[0][1] > 0) && r1 > 0) mro_pdf_find_shells(&f, G, r1, 0.3, r->windows.shell_A);
    while (r->n_shells < MRO_PDF_SHELLS && r->windows.shell_A[r->n_shells][1] > 0) r->n_shells++;
    places.w = r->windows;
    mro_pdf_find_small(&f, G, &places);
    mro_pdf_read(&f, NULL, G, &places, a.value);
    without_errors(&a);
    fill_shells(&a, r);
    memcpy(r->beyond_A, o->beyond_A, sizeof r->beyond_A);
    r->dof = INFINITY;
    r->oscillation = oscillation_of(&a);
    r->fsdp.Q = r->fsdp.first_moment = r->fsdp.area = r->fsdp.fwhm = r->coordination = number_of(&a, PDF_COORDINATION);
    fill_small(r, &a, &places);
    r->coordination_to_A = r->low_r_misfit = r->tail_mean = r->s_end_inv_nm = r->N = r->background = NAN;
    r->resolution_A = r->connection.R_A = NAN;
    for (int i = 0; i < MRO_PDF_MODES; i++) r->connection.mode[i].area = NAN;
    mro_note(&r->warnings, &r->n_warnings,
             "'%s' holds G(r) without its range of Q and its errors: only shells are read off it", name);
done:
    mro_pdf_frame_release(&f);
    return rc;
}

enum mro_code mro_pdf_measure(const struct mro_profile *p, const struct mro_profile *shifted, const char *name,
                              const struct mro_pdf_options *o, struct mro_pdf_result *r, struct mro_error *e)
{
    MRO_HOLD_GSL_ERRORS();
    struct mro_pdf_points t = { 0 };
    struct mro_pdf_source u = { 0 };
    struct mro_pdf_tables *own = NULL;
    memset(r, 0, sizeof *r);
    MRO_TRY(check(p, name, o, e));
    enum mro_code rc = MRO_OK;
    if (p->quantity == MRO_QUANTITY_G) {
        rc = measure_G(p, name, o, r, e);
    } else {
        if (o->tables == NULL) rc = mro_pdf_tables_new(&own, e);
        if (rc == MRO_OK) rc = mro_pdf_points_of(p, &o->composition, &t, e);
        if (rc == MRO_OK) rc = mro_pdf_source_of(&u, p, &t, e);
        if (rc == MRO_OK) rc = measure(p, shifted, &t, &u, name, o, own ? own : o->tables, r, e);
        mro_pdf_source_release(&u);
        mro_pdf_points_release(&t);
        mro_pdf_tables_free(own);
    }
    if (rc) mro_pdf_result_release(r);
    return rc;
}
