/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The search for shear bands: contrast over a background, stripes one after the other, and which of them are beyond
 * chance. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/first_error.h"
#include "ops/shearband/shearband_internal.h"

#define COARSE 128.0    /* samples along a square field, of the grid that is searched */
#define QUICK 19        /* random fields that a stripe has to beat before it is looked at closely */
#define FIRST 8         /* of those, for the noise of the filters alone */
#define LINE_TURN 0.06  /* radians that a given line may be off */
#define FEW_OUTSIDE 0.2 /* of the field beside bands: the background is not known */
#define EVEN 0.4        /* of the contrast that each part of a stripe needs */
#define MOST_PARTS 7
#define AHEAD 2     /* stripes that are looked at before chance may end the search: one hides another */
#define STRAYED 2.8 /* times that the width of a fit may differ from that of its stripe */

/* Inside of a band's stripe, widened by `more` widths of the edge. */
static bool inside(const struct mro_sb_band *b, double more, double x, double y)
{
    double t;
    const double s = mro_sb_offset(b, x, y, &t);
    return t >= b->t[0] && t <= b->t[1] && fabs(s) <= b->fit.width / 2 + more * b->fit.edge;
}

enum mro_code mro_sb_contrast(struct mro_sb_work *w, bool *done, struct mro_error *e)
{
    const size_t n = w->raw.ny * w->raw.nx;
    unsigned char *use = malloc(n);
    *done = false;
    if (use == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for %zu x %zu samples", w->raw.nx, w->raw.ny);
    size_t outside = 0;
#pragma omp parallel for schedule(static) num_threads(w->d->threads) reduction(+ : outside)
    for (size_t y = 0; y < w->raw.ny; y++)
        for (size_t x = 0; x < w->raw.nx; x++) {
            bool clear = true;
            for (size_t k = 0; k < w->n && clear; k++)
                clear =
                    !inside(&w->band[k], 2.5, ((double)x + 0.5) * w->raw.step[1], ((double)y + 0.5) * w->raw.step[0]);
            use[y * w->raw.nx + x] = clear;
            outside += clear;
        }
    memcpy(w->fine.v, w->raw.v, n * sizeof *w->fine.v);
    /* With little left beside the bands a curved background would follow them. */
    const bool few = (double)outside < FEW_OUTSIDE * (double)n;
    enum mro_code rc = MRO_OK;
    for (int degree = few && w->o->polynomial > 1 ? 1 : w->o->polynomial; degree >= 0 && !*done && !rc; degree--)
        rc = mro_sb_flatten(w->fine.v, w->raw.ny, w->raw.nx, few ? NULL : use, degree, true, w->d->threads, done, e);
    free(use);
    if (!*done) return rc;
    free(w->coarse.v);
    const double h =
        fmax(sqrt((double)n * w->raw.step[0] * w->raw.step[1]) / COARSE, fmax(w->raw.step[0], w->raw.step[1]));
    const size_t ny = (size_t)fmax(8, fmin((double)w->raw.ny, round((double)w->raw.ny * w->raw.step[0] / h))),
                 nx = (size_t)fmax(8, fmin((double)w->raw.nx, round((double)w->raw.nx * w->raw.step[1] / h)));
    return mro_sb_grid_shrink(w->fine.v, w->raw.ny, w->raw.nx, w->raw.step, ny, nx, 0, w->d->threads, &w->coarse, e);
}

/* Coarse contrast less the models of the first `n` bands. */
static void take_out(const struct mro_sb_work *w, const struct mro_sb_band *band, size_t n, float *v)
{
    const struct mro_sb_grid *g = &w->coarse;
    for (size_t y = 0; y < g->ny; y++)
        for (size_t x = 0; x < g->nx; x++)
            for (size_t k = 0; k < n; k++)
                v[y * g->nx + x] -=
                    (float)mro_sb_model(&band[k], ((double)x + 0.5) * g->step[1], ((double)y + 0.5) * g->step[0]);
}

static enum mro_code strongest(const struct mro_sb_scan *s, const struct mro_sb_grid *g, const double *sd,
                               struct mro_sb_stripe *best, struct mro_error *e)
{
    const size_t n = g->ny * g->nx;
    float *space = mro_sb_scan_space(s, 1), *v = malloc(n * sizeof *v);
    if (space && v) {
        for (size_t i = 0; i < n; i++) v[i] = g->v[i] == g->v[i] ? g->v[i] : 0;
        mro_sb_scan_run(s, 1, v, sd, NULL, NULL, space, best);
    }
    const bool ready = space && v;
    free(space);
    free(v);
    return ready ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "out of memory for line sums");
}

/* One stage: the field that was searched (bands found before are left out), and its strongest stripe. */
struct stage {
    struct mro_sb_grid field;
    struct mro_sb_stripe stripe;
};

/* How much of the variance of a field a stripe explains, beside a background that is fitted anew: a gap between two
 * bands is a stripe for its own sides, but explains little of the rest. 0 for one whose parts differ: two bands and
 * what lies between them. */
static enum mro_code explained(const struct mro_sb_grid *g, const struct mro_sb_stripe *s, int polynomial, double *gain,
                               struct mro_error *e)
{
    const size_t n = g->ny * g->nx;
    const double c = cos(s->azimuth), m = sin(s->azimuth);
    float *v = malloc(n * sizeof *v);
    double product = 0, square = 0, sum[MOST_PARTS] = { 0 }, count[MOST_PARTS] = { 0 }, flank[2] = { 0 },
           of_flank[2] = { 0 };
    /* As many parts as noise lets tell apart. */
    const int parts = s->z > 12 ? MOST_PARTS : s->z > 8 ? 5 : 3;
    *gain = 0;
    if (v == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory for a stripe");
    for (size_t y = 0; y < g->ny; y++)
        for (size_t x = 0; x < g->nx; x++) {
            const size_t i = y * g->nx + x;
            const double at =
                (((double)x + 0.5) * g->step[1] * c + ((double)y + 0.5) * g->step[0] * m - s->position_nm) /
                s->width_nm;
            v[i] = g->v[i] == g->v[i] ? (float)(fabs(at) < 0.5) : NAN;
            if (!(v[i] == v[i]) || fabs(at) > 1) continue;
            if (v[i] > 0) {
                const int part = (int)fmin(parts - 1, parts * (at + 0.5));
                sum[part] += g->v[i];
                count[part]++;
            } else {
                flank[at > 0] += g->v[i];
                of_flank[at > 0]++;
            }
        }
    const double beside = 0.5 * (flank[0] / of_flank[0] + flank[1] / of_flank[1]);
    bool alike = of_flank[0] > 0 && of_flank[1] > 0;
    for (int k = 0; k < parts; k++) alike &= count[k] > 0 && (sum[k] / count[k] - beside) / s->contrast > EVEN;
    bool flat = false;
    const enum mro_code rc = alike ? mro_sb_flatten(v, g->ny, g->nx, NULL, polynomial, false, 1, &flat, e) : MRO_OK;
    if (flat) {
        for (size_t i = 0; i < n; i++) {
            if (!(v[i] == v[i])) continue;
            product += (double)v[i] * g->v[i];
            square += (double)v[i] * v[i];
        }
        *gain = square > 0 && product * s->contrast > 0 ? product * product / square : 0;
    }
    free(v);
    return rc;
}

/* Of the strongest stripes of each width that beat `least`: the one that explains most; the strongest where none does.
 */
static enum mro_code choose(const struct mro_sb_grid *g, const struct mro_sb_stripe *stripe, size_t n, double least,
                            int polynomial, int threads, struct mro_sb_stripe *best, struct mro_error *e)
{
    double gain[MRO_SB_WIDTHS] = { 0 }, most = 0;
    struct mro_first_error first = { 0 };
    size_t at = 0;
    for (size_t k = 0; k < n; k++)
        if (stripe[k].z > stripe[at].z) at = k;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t k = 0; k < n; k++) {
        struct mro_error mine;
        if (!(stripe[k].z > least)) continue;
        mro_first_keep(&first, k, explained(g, &stripe[k], polynomial, &gain[k], &mine), &mine);
    }
    MRO_TRY(mro_first_code(&first, e));
    for (size_t k = 0; k < n; k++)
        if (gain[k] > most) {
            most = gain[k];
            at = k;
        }
    *best = stripe[at];
    return MRO_OK;
}

static void start_band(const struct mro_shearband_options *o, const double field[2], const struct mro_sb_stripe *s,
                       struct mro_sb_band *b)
{
    memset(b, 0, sizeof *b);
    mro_sb_aim(b, s->azimuth);
    b->position = s->position_nm;
    b->fit.width = s->width_nm;
    b->fit.amplitude = s->contrast;
    b->middle[0] = field[1] / 2;
    b->middle[1] = field[0] / 2;
    b->limit[0] = -INFINITY;
    b->limit[1] = INFINITY;
    if (!o->has_line) return;
    double t[2];
    for (int i = 0; i < 2; i++)
        t[i] = (o->line_nm[2 * i + 1] - b->middle[1]) * cos(b->azimuth) -
               (o->line_nm[2 * i] - b->middle[0]) * sin(b->azimuth);
    b->limit[0] = fmin(t[0], t[1]);
    b->limit[1] = fmax(t[0], t[1]);
}

/* Is the band that was fitted still the stripe that was found? */
static bool is_of(const struct mro_sb_band *b, const struct mro_sb_stripe *s)
{
    const double c = cos(b->azimuth - s->azimuth), across = fabs(b->position - (c > 0 ? 1 : -1) * s->position_nm);
    return b->fit.width > s->width_nm / STRAYED && b->fit.width < STRAYED * s->width_nm && fabs(c) > cos(0.15) &&
           across < s->width_nm + 0.15 * hypot(b->middle[0], b->middle[1]) && b->fit.amplitude * s->contrast > 0;
}

/* What the line says where stripes are looked for. */
static struct mro_sb_near near_line(const struct mro_shearband_options *o)
{
    const double dx = o->line_nm[2] - o->line_nm[0], dy = o->line_nm[3] - o->line_nm[1];
    double azimuth = atan2(dx, -dy);
    if (azimuth < 0) azimuth += M_PI;
    if (azimuth >= M_PI) azimuth -= M_PI;
    const double x = 0.5 * (o->line_nm[0] + o->line_nm[2]), y = 0.5 * (o->line_nm[1] + o->line_nm[3]);
    return (struct mro_sb_near){ azimuth, x * cos(azimuth) + y * sin(azimuth), LINE_TURN };
}

/* Blanks what a given line does not reach. */
static void keep_line(const struct mro_shearband_options *o, struct mro_sb_grid *g)
{
    const double dx = o->line_nm[2] - o->line_nm[0], dy = o->line_nm[3] - o->line_nm[1], l2 = dx * dx + dy * dy;
    for (size_t y = 0; y < g->ny; y++)
        for (size_t x = 0; x < g->nx; x++) {
            const double px = ((double)x + 0.5) * g->step[1] - o->line_nm[0],
                         py = ((double)y + 0.5) * g->step[0] - o->line_nm[1], t = (px * dx + py * dy) / l2;
            if (t < 0 || t > 1) g->v[y * g->nx + x] = NAN;
        }
}

bool mro_sb_beyond(double p, const struct mro_shearband_options *o) { return p > o->alpha * (1 + 1e-9); }

/* Do two fields of one size have values at the same places? */
static bool same_places(const struct mro_sb_grid *a, const struct mro_sb_grid *b)
{
    bool same = a->ny == b->ny && a->nx == b->nx;
    for (size_t i = 0; same && i < a->ny * a->nx; i++) same = (a->v[i] == a->v[i]) == (b->v[i] == b->v[i]);
    return same;
}

/* All stages against one set of whole fields, with what the bands leave of the spectrum. Those that chance explains are
 * dropped, and the rest judged anew: they must not profit from what was taken out in vain. */
static enum mro_code judge(struct mro_sb_work *w, const struct stage *stage, const struct mro_sb_near *near,
                           struct mro_shearband_result *r, struct mro_error *e)
{
    struct mro_sb_stripe stripe[MRO_SB_WIDTHS];
    size_t of[MRO_SHEARBAND_MOST];
    enum mro_code rc = MRO_OK;
    for (size_t k = 0; k < w->n; k++) of[k] = k;
    for (bool again = true; again && rc == MRO_OK;) {
        struct mro_sb_grid residual = { 0 }, whole = { 0 };
        struct mro_sb_scan *scan = NULL;
        struct mro_sb_null null = { 0 };
        const size_t judged = w->n ? w->n : 1;
        again = false;
        rc = mro_sb_grid_copy(&w->coarse, &residual, e);
        if (rc == MRO_OK) rc = mro_sb_grid_copy(&w->coarse, &whole, e);
        if (rc == MRO_OK) {
            take_out(w, w->band, w->n, residual.v);
            if (near) keep_line(w->o, &whole);
            rc = mro_sb_scan_new(&scan, &whole, w->width, near, w->d->threads, e);
        }
        if (rc == MRO_OK)
            rc = mro_sb_null_draw(w->d, &residual, (double)w->n, &whole, scan, w->o->polynomial,
                                  (size_t)w->o->surrogates, w->o->seed, &null, e);
        const struct mro_sb_grid *scanned = &whole; /* what the filters are for: they follow from where values are */
        size_t kept = 0;
        double least = 1;
        for (size_t k = 0; k < judged && rc == MRO_OK; k++) {
            const struct stage *s = stage + (w->n ? of[k] : 0);
            if (!same_places(scanned, &s->field)) {
                mro_sb_scan_free(scan);
                scan = NULL;
                rc = mro_sb_scan_new(&scan, &s->field, w->width, near, w->d->threads, e);
                scanned = &s->field;
            }
            if (rc == MRO_OK) rc = strongest(scan, &s->field, null.sd, stripe, e);
            if (rc) break;
            const double z = mro_sb_most(stripe, mro_sb_scan_widths(scan));
            size_t reached = 0;
            for (size_t i = 0; i < null.n; i++) reached += null.most[i] >= z;
            const double p = (1 + (double)reached) / (1 + (double)null.n);
            least = fmin(least, p);
            if (w->n == 0 || mro_sb_beyond(p, w->o)) continue;
            w->band[kept] = w->band[k];
            of[kept] = of[k];
            w->p[kept++] = p;
        }
        r->p_value = least;
        again = kept && kept < w->n;
        w->n = kept;
        free(residual.v);
        free(whole.v);
        mro_sb_scan_free(scan);
        mro_sb_null_release(&null);
    }
    return rc;
}

enum mro_code mro_sb_search(struct mro_sb_work *w, struct mro_shearband_result *r, struct mro_error *e)
{
    const struct mro_shearband_options *o = w->o;
    const size_t most = o->has_line ? 1 : MRO_SHEARBAND_MOST;
    const double field[2] = { r->field_nm[0], r->field_nm[1] };
    struct stage *stage = calloc(most, sizeof *stage);
    struct mro_sb_scan *scan = NULL;
    struct mro_sb_null null = { 0 };
    struct mro_sb_grid residual = { 0 };
    const struct mro_sb_near near = o->has_line ? near_line(o) : (struct mro_sb_near){ 0 };
    const struct mro_sb_near *nearby = o->has_line ? &near : NULL;
    struct mro_sb_stripe stripe[MRO_SB_WIDTHS];
    size_t stages = 0;
    enum mro_code rc = stage ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "out of memory for bands");
    bool go_on = rc == MRO_OK;
    while (go_on && stages < most) {
        struct stage *s = stage + stages;
        bool found = false;
        go_on = false;
        mro_sb_scan_free(scan);
        scan = NULL;
        free(residual.v);
        residual.v = NULL;
        mro_sb_null_release(&null);
        if ((rc = mro_sb_grid_copy(&w->coarse, &s->field, e))) break;
        stages++;
        take_out(w, w->band, w->n, s->field.v);
        for (size_t y = 0; y < s->field.ny; y++)
            for (size_t x = 0; x < s->field.nx; x++)
                for (size_t k = 0; k < w->n; k++)
                    if (inside(&w->band[k], 2, ((double)x + 0.5) * s->field.step[1],
                               ((double)y + 0.5) * s->field.step[0]))
                        s->field.v[y * s->field.nx + x] = NAN;
        if (o->has_line) keep_line(o, &s->field);
        if ((rc = mro_sb_scan_new(&scan, &s->field, w->width, nearby, w->d->threads, e))) break;
        const size_t widths = mro_sb_scan_widths(scan);
        /* How noisy the filters are is known from the spectrum of what the band leaves, and that from the filters:
         * twice is enough. */
        for (int pass = 0; pass < 2; pass++) {
            struct mro_sb_band *b = w->band + w->n;
            if ((rc = strongest(scan, &s->field, pass ? null.sd : NULL, stripe, e))) break;
            double least = 0;
            for (size_t k = 0; k < null.n; k++) least = fmax(least, null.most[k]);
            if ((rc = choose(&s->field, stripe, widths, least, o->polynomial, w->d->threads, &s->stripe, e))) break;
            if (!(s->stripe.z > 0)) break;
            start_band(o, field, &s->stripe, b);
            if ((rc = mro_sb_refine(&w->fine, o, w->band, w->n, w->d->threads, b, NULL, &found, e))) break;
            found = found && is_of(b, &s->stripe);
            free(residual.v);
            residual.v = NULL;
            if ((rc = mro_sb_grid_copy(&w->coarse, &residual, e))) break;
            take_out(w, w->band, w->n + found, residual.v);
            mro_sb_null_release(&null);
            if ((rc = mro_sb_null_draw(w->d, &residual, (double)(w->n + found), &s->field, scan, o->polynomial,
                                       pass ? QUICK : FIRST, o->seed, &null, e)))
                break;
        }
        if (rc || !(s->stripe.z > 0)) break;
        size_t reached = 0;
        for (size_t k = 0; k < null.n; k++) reached += null.most[k] >= s->stripe.z;
        if (!found || (reached && stages > AHEAD)) break;
        w->n++;
        if (reached && stages == AHEAD) break;
        if (stages == most) break;
        if ((rc = mro_sb_contrast(w, &go_on, e))) break; /* no longer pulled at by this band */
    }
    if (rc == MRO_OK && stages) rc = judge(w, stage, nearby, r, e);
    for (size_t k = 0; k < stages; k++) free(stage[k].field.v);
    free(stage);
    free(residual.v);
    mro_sb_scan_free(scan);
    mro_sb_null_release(&null);
    return rc;
}
