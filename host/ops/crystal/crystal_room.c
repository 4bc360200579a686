/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where fringes are demodulated: windows of the map, which cost the same in a field of any size, and the noise that
 * fringes stand out of. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/select.h"
#include "core/sizes.h"
#include "mroscope/math/grid.h"
#include "ops/crystal/crystal_internal.h"

#define QUARTER 0.28768207 /* ln(4 / 3): the lower quartile of an exponential of mean 1 */
#define FILLED 3.0         /* times the power around a spot: more than the speckle changes from place to place */
#define APART_WIDTHS 1.5   /* of the mask in real space between places that noise is measured at */

/* As many places tell noise to 2.5 %: in large fields those of PARTS x PARTS parts of it. */
enum { PARTS = 4, PLACES = 12 };

struct mro_grid mro_fringe_map(double ly, double lx, double step)
{
    return (struct mro_grid){ mro_smooth_size((size_t)ceil(ly / step) + 4),
                              mro_smooth_size((size_t)ceil(lx / step) + 4), ly, lx };
}

static void room_release(struct mro_device *d, struct fringe_room *room)
{
    d->ops->release(d, &room->h);
    d->ops->release(d, &room->slope);
    free(room->v);
    free(room->state);
    free(room->list);
    memset(room, 0, sizeof *room);
}

/* Room for n points. */
static enum mro_code room_for(struct crystal_work *w, size_t n, struct mro_error *e)
{
    struct mro_device *d = w->d;
    struct fringe_room *room = w->room;
    if (n <= room->most) return MRO_OK;
    room_release(d, room);
    room->v = malloc(n * sizeof *room->v);
    room->state = calloc(n, 1);
    room->list = malloc(n * sizeof *room->list);
    enum mro_code rc = MRO_OK;
    if (!room->v || !room->state || !room->list) rc = MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    if (rc == MRO_OK) rc = d->ops->alloc(d, &room->h, n * sizeof *room->v, e);
    if (rc == MRO_OK) rc = d->ops->alloc(d, &room->slope, 2 * n * sizeof(float), e);
    if (rc)
        room_release(d, room);
    else
        room->most = n;
    return rc;
}

enum mro_code mro_fringe_rooms_new(struct crystal_work *w, struct mro_error *e)
{
    w->n_rooms = w->d->ops->concurrent && w->d->threads > 1 ? (size_t)w->d->threads : 1;
    w->room = calloc(w->n_rooms, sizeof *w->room);
    return w->room ? MRO_OK : MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
}

void mro_fringe_release(struct fringe_set *s)
{
    free(s->f.v);
    free(s->f.slope[0]);
    free(s->f.inside);
    memset(&s->f, 0, sizeof s->f);
}

void mro_crystal_work_release(struct crystal_work *w)
{
    for (size_t i = 0; w->room && i < w->n_rooms; i++) room_release(w->d, w->room + i);
    free(w->room);
    w->d->ops->release(w->d, &w->spectrum);
    w->d->ops->release(w->d, &w->field);
    free(w->usable);
    free(w->level);
    free(w->gain);
    for (size_t i = 0; i < w->sets.n; i++) mro_fringe_release(&w->sets.v[i]);
    free(w->sets.v);
}

/* The fringes at points of a window of `out`, into the room. */
static enum mro_code demodulate(struct crystal_work *w, const double g[2], double mask, const struct mro_grid *out,
                                const struct mro_window *at, struct mro_error *e)
{
    struct mro_device *d = w->d;
    const size_t n = at->ny * at->nx;
    MRO_TRY(room_for(w, n, e));
    w->room->at = *at;
    MRO_TRY(d->ops->demodulate(d, &w->grid, &w->field, g, mask, out, at, &w->room->h, NULL, e));
    return d->ops->download(d, w->room->v, &w->room->h, n * sizeof *w->room->v, e);
}

enum mro_code mro_fringe_demodulate(struct crystal_work *w, const double g[2], double mask, const struct mro_window *at,
                                    struct mro_error *e)
{
    /* The lens slopes across the wide spot of a small crystal, and would shift its centre by 1 % at 2 nm. The whitened
     * field takes that out, and with it the slope of the halo, which the spot does not have: see tilt_of. */
    MRO_TRY(demodulate(w, g, mask, &w->map, at, e));
    w->room->unit = sqrt((double)mro_fringe_level(w, g)); /* as at the middle of the mask */
    return MRO_OK;
}

enum mro_code mro_fringe_slopes(struct crystal_work *w, const double g[2], double mask, struct fringe_field *f,
                                struct mro_error *e)
{
    struct mro_device *d = w->d;
    const struct mro_window at = { f->y0, f->x0, f->h, f->w };
    const size_t n = f->h * f->w;
    MRO_TRY(room_for(w, n, e));
    w->room->at = at;
    if ((f->slope[0] = malloc(2 * n * sizeof(float))) == NULL)
        return MRO_FAIL(e, MRO_EMEMORY, "out of memory for '%s'", w->name);
    f->slope[1] = f->slope[0] + n;
    MRO_TRY(d->ops->demodulate(d, &w->grid, &w->field, g, mask, &w->map, &at, &w->room->h, &w->room->slope, e));
    return d->ops->download(d, f->slope[0], &w->room->slope, 2 * n * sizeof(float), e);
}

float mro_fringe_level(const struct crystal_work *w, const double g[2])
{
    const struct mro_grid *s = &w->grid;
    return w->level ? w->level[mro_cyclic((ptrdiff_t)lround(g[0] * s->ly), s->ny) * s->nx +
                               mro_cyclic((ptrdiff_t)lround(g[1] * s->lx), s->nx)]
                    : 1;
}

double mro_crystal_gain(const struct crystal_work *w, double y_nm, double x_nm)
{
    return w->gain ? (double)w->gain[mro_map_point(w, y_nm, x_nm)] : 1;
}

/* One axis of the places: where part k of them begins, and how many it has. */
static size_t part_of(size_t n, size_t k, size_t *count)
{
    *count = n > PARTS * PLACES ? PLACES : n;
    return n > PARTS * PLACES ? (2 * k + 1) * n / (2 * PARTS) - PLACES / 2 : 0;
}

enum mro_code mro_fringe_noise(struct crystal_work *w, const double g[2], double mask, double *noise,
                               struct mro_error *e)
{
    const double ly = w->grid.ly, lx = w->grid.lx, apart = APART_WIDTHS * mro_wave_width(mask);
    const struct mro_grid places = { (size_t)ceil(ly / apart), (size_t)ceil(lx / apart), ly, lx };
    const size_t parts_y = places.ny > PARTS * PLACES ? PARTS : 1, parts_x = places.nx > PARTS * PLACES ? PARTS : 1;
    float v[PARTS * PLACES * PARTS * PLACES];
    size_t n = 0;
    *noise = w->speckle * mask;
    if (w->speckle > 0) return MRO_OK;
    for (size_t k = 0; k < parts_y * parts_x; k++) {
        struct mro_window part;
        part.y0 = part_of(places.ny, k / parts_x, &part.ny);
        part.x0 = part_of(places.nx, k % parts_x, &part.nx);
        MRO_TRY(demodulate(w, g, mask, &places, &part, e));
        for (size_t i = 0; i < part.ny * part.nx; i++) {
            const double y = (double)(part.y0 + i / part.nx) * ly / (double)places.ny,
                         x = (double)(part.x0 + i % part.nx) * lx / (double)places.nx;
            const size_t point = mro_map_point(w, y, x);
            if (w->usable[point]) v[n++] = square_of(w->room->v[i]) / (w->gain ? w->gain[point] : 1);
        }
    }
    /* From the lower quartile: crystals may cover much of the field. One that fills it leaves no quiet place: then the
     * spectrum around its spot tells. */
    const double quiet = n ? (double)mro_select(v, n, n / 4) / QUARTER : 0;
    const double around = MRO_PI * mask * mask * ly * lx / ((double)w->grid.ny * (double)w->grid.nx);
    *noise = sqrt(quiet > FILLED * around ? around : quiet);
    return MRO_OK;
}
