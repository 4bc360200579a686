/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Windowed autocorrelation around chosen centres. */
#include <stdlib.h>

#include "core/acf_window.h"
#include "gpu/primitives.h"
#include "kernels/acf.h"

#define BATCH_BYTES ((size_t)256 << 20) /* of window transforms at once */

_Static_assert(MRO_FRINGE_KERNELS == MRO_ACF_DIRECTIONS, "one kernel a direction");

/* A window on the host and on the device, with its own power in both. */
struct window {
    struct mro_acf_window of;
    float *power; /* host */
    struct mro_gpu_room room;
    const float *device_w;
};

static void window_release(struct window *v)
{
    free(v->power);
    mro_acf_window_release(&v->of);
    mro_gpu_room_release(&v->room);
}

static enum mro_code window_new(struct window *v, struct mro_device *d, const struct mro_grid *g, double width_nm,
                                struct mro_error *e)
{
    *v = (struct window){ .room = { .d = d } };
    struct mro_gpu_room room = { .d = d };
    mro_c32 *plane = NULL;
    enum mro_code rc = MRO_OK;
    if (!mro_acf_window_new(&v->of, g, width_nm))
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for an autocorrelation window of %g nm", width_nm);
    const size_t n = v->of.ny * v->of.nx, m = v->of.ny * v->of.half;
    plane = malloc(n * sizeof *plane);
    v->power = malloc(m * sizeof *v->power);
    if (plane == NULL || v->power == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for an autocorrelation window of %g nm", width_nm);
        goto done;
    }
    mro_acf_window_plane(&v->of, plane);
    mro_c32 *z;
    struct mro_acf_power_args power = { .planes = 1, .ny = v->of.ny, .nx = v->of.nx };
    if ((rc = mro_gpu_give(&room, &z, plane, n, sizeof *z, e))) goto done;
    if ((rc = mro_gpu_take(&room, &power.power, 2 * m, sizeof *power.power, e))) goto done;
    if ((rc = mro_gpu_transform(d, MRO_TRANSFORM_FORWARD, v->of.ny, v->of.nx, 1, z, z, e))) goto done;
    power.z = z;
    if ((rc = MRO_LAUNCH_EACH(d, acf_power, m, &power, e))) goto done;
    if ((rc = mro_gpu_fetch(d, v->power, power.power, m * sizeof *v->power, e))) goto done;
    rc = mro_gpu_give(&v->room, &v->device_w, v->of.w, (size_t)(2 * v->of.hy + 1) * (size_t)(2 * v->of.hx + 1),
                      sizeof *v->of.w, e);
done:
    free(plane);
    mro_gpu_room_release(&room);
    if (rc) window_release(v);
    return rc;
}

/* Powers of the windows around n centres, of which the room was taken: `z` for (n + 1) / 2 planes, `power` for
 * 2 ((n + 1) / 2) windows. */
static enum mro_code powers(struct mro_device *d, const struct window *v, const struct mro_grid *g,
                            const struct mro_buffer *field, const double *centres, size_t n, mro_c32 *z, float *power,
                            struct mro_error *e)
{
    const size_t planes = (n + 1) / 2;
    const struct mro_acf_fill_args fill = { .field = field->p,
                                            .field_ny = g->ny,
                                            .field_nx = g->nx,
                                            .step_y = v->of.step_y,
                                            .step_x = v->of.step_x,
                                            .w = v->device_w,
                                            .w_sum = v->of.sum,
                                            .hy = v->of.hy,
                                            .hx = v->of.hx,
                                            .centres = centres,
                                            .n = n,
                                            .z = z,
                                            .ny = v->of.ny,
                                            .nx = v->of.nx };
    const struct mro_acf_power_args split = {
        .z = z, .planes = planes, .ny = v->of.ny, .nx = v->of.nx, .power = power
    };
    MRO_TRY(MRO_LAUNCH(d, acf_fill, planes, &fill, e));
    MRO_TRY(mro_gpu_transform(d, MRO_TRANSFORM_FORWARD, v->of.ny, v->of.nx, planes, z, z, e));
    return MRO_LAUNCH_EACH(d, acf_power, planes * v->of.ny * v->of.half, &split, e);
}

/* Autocorrelations at all lags of `windows` powers on the device. */
struct lag_tables {
    const double *cy, *sy, *cx, *sx; /* device */
};
static enum mro_code correlate(struct mro_device *d, const struct window *v, const struct mro_acf_lags *l,
                               const struct lag_tables *t, const float *power, size_t windows, double *host,
                               struct mro_error *e)
{
    struct mro_gpu_room room = { .d = d };
    struct mro_acf_lags_y_args y = {
        .power = power, .windows = windows, .ny = v->of.ny, .half = v->of.half, .n = l->n, .cy = t->cy, .sy = t->sy
    };
    struct mro_acf_lags_x_args x = { .windows = windows, .half = v->of.half, .n = l->n, .cx = t->cx, .sx = t->sx };
    const size_t columns = windows * l->n * v->of.half, lags = windows * l->n * l->n;
    enum mro_code rc = mro_gpu_take(&room, &y.re, columns, sizeof(double), e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &y.im, columns, sizeof(double), e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &x.acf, lags, sizeof(double), e);
    x.re = y.re;
    x.im = y.im;
    if (rc == MRO_OK) rc = MRO_LAUNCH_EACH(d, acf_lags_y, columns, &y, e);
    if (rc == MRO_OK) rc = MRO_LAUNCH_EACH(d, acf_lags_x, lags, &x, e);
    if (rc == MRO_OK) rc = mro_gpu_fetch(d, host, x.acf, lags * sizeof *host, e);
    mro_gpu_room_release(&room);
    return rc;
}

enum mro_code mro_gpu_windowed_acf(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                   double window_nm, const double (*centres)[2], size_t n_centres, size_t n,
                                   double step_nm, float *tiles, struct mro_error *e)
{
    struct mro_gpu_room room = { .d = d };
    struct window v;
    struct mro_acf_lags l = { 0 };
    struct lag_tables t;
    const double *at;
    float *own_power, *power;
    mro_c32 *z;
    double *own = NULL, *seen = NULL;
    MRO_TRY(window_new(&v, d, g, window_nm, e));
    enum mro_code rc = MRO_OK;
    const size_t m = v.of.ny * v.of.half, plane = v.of.ny * v.of.nx, middle = n / 2 * n + n / 2;
    own = malloc(n * n * sizeof *own);
    seen = malloc(n * n * sizeof *seen);
    if (!own || !seen || !mro_acf_lags_new(&l, &v.of, n, step_nm)) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for autocorrelations of %zu x %zu lags", n, n);
        goto done;
    }
    if ((rc = mro_gpu_give(&room, &t.cy, l.cy, n * v.of.ny, sizeof(double), e))) goto done;
    if ((rc = mro_gpu_give(&room, &t.sy, l.sy, n * v.of.ny, sizeof(double), e))) goto done;
    if ((rc = mro_gpu_give(&room, &t.cx, l.cx, n * v.of.half, sizeof(double), e))) goto done;
    if ((rc = mro_gpu_give(&room, &t.sx, l.sx, n * v.of.half, sizeof(double), e))) goto done;
    if ((rc = mro_gpu_give(&room, &own_power, v.power, m, sizeof *v.power, e))) goto done;
    if ((rc = mro_gpu_take(&room, &power, 2 * m, sizeof *power, e))) goto done;
    if ((rc = mro_gpu_take(&room, &z, plane, sizeof *z, e))) goto done;
    if ((rc = correlate(d, &v, &l, &t, own_power, 1, own, e))) goto done;
    /* A few tiles are drawn: one after the other is soon enough. */
    for (size_t k = 0; k < n_centres; k++) {
        struct mro_gpu_room one = { .d = d };
        rc = mro_gpu_give(&one, &at, centres + k, 1, sizeof *centres, e);
        if (rc == MRO_OK) rc = powers(d, &v, g, field, at, 1, z, power, e);
        if (rc == MRO_OK) rc = correlate(d, &v, &l, &t, power, 1, seen, e);
        mro_gpu_room_release(&one);
        if (rc) goto done;
        for (size_t i = 0; i < n * n; i++)
            tiles[k * n * n + i] = mro_acf_estimate(seen[i], seen[middle], own[i], own[middle]);
    }
done:
    free(own);
    free(seen);
    mro_acf_lags_release(&l);
    mro_gpu_room_release(&room);
    window_release(&v);
    return rc;
}

struct fringe_job {
    struct mro_device *d;
    const struct window *v;
    const struct mro_grid *g;
    const struct mro_buffer *field;
    const float *kernel;   /* device */
    const double *centres; /* device */
    size_t n;
    float *score; /* device */
};

/* `batch` pairs of windows at a time. */
static enum mro_code run_fringes(void *context, size_t batch, struct mro_error *e)
{
    const struct fringe_job *j = context;
    const size_t m = j->v->of.ny * j->v->of.half;
    struct mro_gpu_room room = { .d = j->d };
    mro_c32 *z;
    float *power;
    enum mro_code rc = mro_gpu_take(&room, &z, batch * j->v->of.ny * j->v->of.nx, sizeof *z, e);
    if (rc == MRO_OK) rc = mro_gpu_take(&room, &power, 2 * batch * m, sizeof *power, e);
    for (size_t first = 0; rc == MRO_OK && first < j->n; first += 2 * batch) {
        const size_t here = j->n - first < 2 * batch ? j->n - first : 2 * batch;
        rc = powers(j->d, j->v, j->g, j->field, j->centres + 2 * first, here, z, power, e);
        const struct mro_fringe_score_args args = {
            .kernel = j->kernel, .power = power, .m = m, .score = j->score + first
        };
        if (rc == MRO_OK) rc = MRO_LAUNCH(j->d, fringe_score, here, &args, e);
    }
    mro_gpu_room_release(&room);
    return rc;
}

enum mro_code mro_gpu_acf_fringes(struct mro_device *d, const struct mro_grid *g, const struct mro_buffer *field,
                                  double window_nm, const double d_range_nm[2], const double (*centres)[2], size_t n,
                                  float *score, struct mro_error *e)
{
    struct mro_gpu_room room = { .d = d };
    struct window v;
    if (n == 0) return MRO_OK;
    MRO_TRY(window_new(&v, d, g, window_nm, e));
    struct fringe_job job = { .d = d, .v = &v, .g = g, .field = field, .n = n };
    const size_t m = v.of.ny * v.of.half, pairs = (n + 1) / 2, bytes = v.of.ny * v.of.nx * sizeof(mro_c32);
    enum mro_code rc = MRO_OK;
    float *kernel = mro_acf_fringe_kernels(&v.of, v.power, d_range_nm);
    if (kernel == NULL) {
        rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for an autocorrelation window of %g nm", window_nm);
        goto done;
    }
    if ((rc = mro_gpu_give(&room, &job.kernel, kernel, MRO_ACF_DIRECTIONS * m, sizeof *kernel, e))) goto done;
    if ((rc = mro_gpu_give(&room, &job.centres, centres, n, sizeof *centres, e))) goto done;
    if ((rc = mro_gpu_take(&room, &job.score, n, sizeof *job.score, e))) goto done;
    const size_t fit = BATCH_BYTES / bytes ? BATCH_BYTES / bytes : 1;
    if ((rc = mro_gpu_halving(run_fringes, &job, pairs < fit ? pairs : fit, e))) goto done;
    rc = mro_gpu_fetch(d, score, job.score, n * sizeof *score, e);
done:
    free(kernel);
    mro_gpu_room_release(&room);
    window_release(&v);
    return rc;
}
