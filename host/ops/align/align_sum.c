/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Sums of frames as they are, and shifted by parts of a pixel. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/team.h"
#include "mroscope/math/grid.h"
#include "ops/align/align_internal.h"

enum { TAPS = 16 };       /* of the resampling kernel */
#define KAISER_PIXELS 5.0 /* its window */

/* ------------------------------------------------------------------ sums of frames */

void mro_total_release(struct mro_total *t)
{
    free(t->sum);
    free(t->count);
    memset(t, 0, sizeof *t);
}

enum mro_code mro_total_new(struct mro_total *t, size_t ny, size_t nx, struct mro_error *e)
{
    *t = (struct mro_total){ ny, nx, calloc(ny * nx, sizeof *t->sum), calloc(ny * nx, sizeof *t->count) };
    if (t->sum && t->count) return MRO_OK;
    mro_total_release(t);
    return MRO_FAIL(e, MRO_EMEMORY, "no memory for the sum of frames of %zu x %zu pixels", nx, ny);
}

enum mro_code mro_total_mean(const struct mro_total *t, const struct mro_image *like, struct mro_image *out,
                             struct mro_error *e)
{
    MRO_TRY(mro_image_alloc(out, t->ny, t->nx, e));
    for (int i = 0; i < 2; i++) {
        const size_t size = out->axis[i].size;
        out->axis[i] = like->axis[i];
        out->axis[i].size = size;
    }
    out->kind = like->kind;
    out->beam_kv = like->beam_kv;
    size_t none = 0;
#pragma omp parallel for simd schedule(static) reduction(+ : none)
    for (size_t i = 0; i < t->ny * t->nx; i++) {
        none += t->count[i] == 0;
        out->px[i] = t->count[i] ? (float)(t->sum[i] / t->count[i]) : NAN;
    }
    out->not_finite = none;
    return MRO_OK;
}

enum mro_code mro_align_check_shape(const struct mro_image *im, size_t ny, size_t nx, const char *name, size_t frame,
                                    struct mro_error *e)
{
    if (im->ny == ny && im->nx == nx) return MRO_OK;
    return MRO_FAIL(e, MRO_EDATA, "'%s': frame %zu has %zu x %zu pixels, those before it %zu x %zu", name, frame,
                    im->nx, im->ny, nx, ny);
}

struct mro_image mro_align_head(const struct mro_image *im)
{
    struct mro_image head = *im;
    head.px = NULL;
    return head;
}

enum mro_code mro_align_no_frames(const char *name, struct mro_error *e)
{
    return MRO_FAIL(e, MRO_EDATA, "'%s' has no frames to take the mean of", name);
}

enum mro_code mro_frames_mean(const struct mro_frames *frames, const char *name, struct mro_reduced *r,
                              struct mro_error *e)
{
    const struct mro_image *im;
    struct mro_image like = { 0 };
    struct mro_total t = { 0 };
    size_t frame;
    memset(r, 0, sizeof *r);
    enum mro_code rc = frames->rewind(frames->context, e);
    while (rc == MRO_OK && (rc = frames->next(frames->context, &im, &frame, e)) == MRO_OK && im) {
        if (r->frames++ == 0) {
            like = mro_align_head(im);
            rc = mro_total_new(&t, im->ny, im->nx, e);
        } else {
            rc = mro_align_check_shape(im, t.ny, t.nx, name, frame, e);
        }
        if (rc) break;
        const float *px = im->px;
#pragma omp parallel for simd schedule(static)
        for (size_t i = 0; i < t.ny * t.nx; i++) {
            const bool known = px[i] == px[i];
            t.sum[i] += known ? px[i] : 0;
            t.count[i] += known;
        }
    }
    if (rc == MRO_OK && r->frames == 0) rc = mro_align_no_frames(name, e);
    if (rc == MRO_OK) rc = mro_total_mean(&t, &like, &r->image, e);
    r->used = r->frames;
    mro_total_release(&t);
    if (rc) mro_reduced_release(r);
    return rc;
}

void mro_reduced_release(struct mro_reduced *r)
{
    if (r == NULL) return;
    mro_image_release(&r->image);
    free(r->shift);
    memset(r, 0, sizeof *r);
}

/* ------------------------------------------------------------------ shifted frames */

static double bessel_i0(double x)
{
    double sum = 1, term = 1;
    for (int k = 1; k < 60 && term > 1e-17 * sum; k++) {
        term *= x / (2.0 * k) * (x / (2.0 * k));
        sum += term;
    }
    return sum;
}

double mro_align_kernel(double t, double half, double beta)
{
    const double r = t / half;
    if (!(r * r < 1)) return 0;
    if (fabs(t - nearbyint(t)) < 1e-9) return fabs(t) < 0.5; /* whole pixels stay as they are, to the bit */
    const double s = sin(MRO_PI * t) / (MRO_PI * t);
    return s * bessel_i0(beta * sqrt(1 - r * r)) / bessel_i0(beta);
}

static size_t mirrored(ptrdiff_t i, size_t n)
{
    const ptrdiff_t last = (ptrdiff_t)n - 1;
    if (i < 0) i = -i;
    if (i > last) i = 2 * last - i;
    return (size_t)(i < 0 ? 0 : i);
}

/* Weights of the pixels floor(t) - TAPS/2 + 1 and on for the value at t; their sum is 1. */
static void taps(double fraction, float *w)
{
    double v[TAPS], sum = 0;
    for (int i = 0; i < TAPS; i++) sum += v[i] = mro_align_kernel(fraction + TAPS / 2 - 1 - i, TAPS / 2, KAISER_PIXELS);
    for (int i = 0; i < TAPS; i++) w[i] = (float)(v[i] / sum);
}

enum mro_code mro_total_add_shifted(struct mro_total *t, const struct mro_image *im, const double from[2],
                                    struct mro_error *e)
{
    const double whole[2] = { floor(from[0]), floor(from[1]) };
    const ptrdiff_t y0 = (ptrdiff_t)whole[0], x0 = (ptrdiff_t)whole[1];
    float wy[TAPS], wx[TAPS];
    taps(from[0] - whole[0], wy);
    taps(from[1] - whole[1], wx);
    const size_t wide = t->nx + TAPS; /* columns that the kernel reaches */
    float fill = 0;
    bool failed = false;
    if (im->not_finite) {
        double sum = 0;
        size_t n = 0;
        for (size_t i = 0; i < im->ny * im->nx; i++)
            if (im->px[i] == im->px[i]) sum += im->px[i], n++;
        fill = n ? (float)(sum / (double)n) : 0;
    }
#pragma omp parallel
    {
        float *line = malloc((2 * wide + t->nx) * sizeof *line), *spoilt = line + wide, *out = spoilt + wide;
        size_t *column = malloc(wide * sizeof *column);
        const bool ready = line && column;
        if (!ready) mro_raise(&failed);
        for (size_t x = 0; ready && x < wide; x++) column[x] = mirrored(x0 + (ptrdiff_t)x - (TAPS / 2 - 1), im->nx);
#pragma omp for schedule(static)
        for (size_t y = 0; y < t->ny; y++) {
            if (!ready) continue;
            memset(line, 0, 2 * wide * sizeof *line);
            for (int j = 0; j < TAPS; j++) {
                const float *row = im->px + mirrored(y0 + (ptrdiff_t)y + j - (TAPS / 2 - 1), im->ny) * im->nx;
                const bool close = j == TAPS / 2 - 1 || j == TAPS / 2;
                if (wy[j] == 0 && !(close && im->not_finite)) continue;
                if (im->not_finite == 0) {
                    for (size_t x = 0; x < wide; x++) line[x] += wy[j] * row[column[x]];
                    continue;
                }
                for (size_t x = 0; x < wide; x++) {
                    const float v = row[column[x]];
                    line[x] += wy[j] * (v == v ? v : fill);
                    if (close && v != v) spoilt[x] = 1;
                }
            }
            memset(out, 0, t->nx * sizeof *out);
            for (int i = 0; i < TAPS; i++) {
                const float w = wx[i], *in = line + i;
                if (w == 0) continue;
#pragma omp simd
                for (size_t x = 0; x < t->nx; x++) out[x] += w * in[x];
            }
            double *sum = t->sum + y * t->nx;
            uint32_t *count = t->count + y * t->nx;
            const float *bad = spoilt + TAPS / 2 - 1;
#pragma omp simd
            for (size_t x = 0; x < t->nx; x++) {
                const bool known = bad[x] == 0 && bad[x + 1] == 0;
                sum[x] += known ? out[x] : 0;
                count[x] += known;
            }
        }
        free(line);
        free(column);
    }
    return failed ? MRO_FAIL(e, MRO_EMEMORY, "no memory to shift a frame of %zu x %zu pixels", im->nx, im->ny) : MRO_OK;
}

size_t mro_frames_mean_bytes(size_t ny, size_t nx)
{
    return ny * nx * (sizeof(double) + sizeof(uint32_t) + sizeof(float)); /* sums, counts, and the mean of both */
}
