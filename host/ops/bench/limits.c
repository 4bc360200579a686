/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ops/bench/limits.h"

#include <math.h>

#include "core/bank.h"
#include "mroscope/math/lattice.h"
#include "mroscope/math/wave.h"

#define WAVE_FLOPS 24.0  /* sine and cosine, or logarithm and root, of one number: polynomials of that length */
#define DRAW_FLOPS 90.0  /* four random numbers: ten rounds of two wide products and four exclusive ors */
#define MEDIAN_FLOPS 3.0 /* comparisons and moves a number, of selection */

double mro_floor_s(const struct mro_work *w, const struct mro_rates *r)
{
    const double arithmetic = w->flops / r->flops + w->transform / r->transform;
    const double link = w->link > 0 && r->link > 0 ? w->link / r->link : 0;
    return fmax(arithmetic, fmax(w->bytes / r->bytes, link));
}

void mro_work_add(struct mro_work *sum, const struct mro_work *w)
{
    sum->flops += w->flops;
    sum->transform += w->transform;
    sum->bytes += w->bytes;
    sum->link += w->link;
}

static double area(const struct mro_grid *g) { return (double)g->ny * (double)g->nx; }

/* A complex plane; a plane of real numbers takes half. */
static double plane_flops(double ny, double nx) { return 5 * ny * nx * log2(fmax(ny * nx, 2)); }

struct mro_work mro_work_contrast_spectrum(size_t ny, size_t nx, const struct mro_grid *g)
{
    const double n = (double)ny * (double)nx, kept = (double)(g->nx / 2 + 1);
    return (struct mro_work){
        /* Spikes: two differences of neighbours and their maximum. */
        .flops = n * (6 + 12),
        .transform = 2.5 * n * log2((double)nx) + 5 * kept * (double)ny * log2((double)ny),
        .bytes = 2 * 4 * n + 4 * 8 * kept * (double)ny + 8 * area(g) / 2,
    };
}

struct mro_work mro_work_local_power(const struct mro_grid *g, double radius_inv_nm, double lo, double hi)
{
    const struct mro_lattice l = mro_lattice_of(g->ny, g->nx, g->ly, g->lx, radius_inv_nm, lo, hi);
    const struct mro_disc disc = mro_lattice_disc(&l, 0, 0);
    const double discs = M_PI * (l.outer * l.outer - l.inner * l.inner) / (l.step * l.step) / 2; /* even: half */
    const double in_disc = M_PI * disc.ry * disc.rx / (double)disc.stride;
    const double ring = M_PI * (hi * hi - lo * lo) * g->ly * g->lx / 2;
    return (struct mro_work){ .flops = MEDIAN_FLOPS * discs * in_disc + 3 * area(g) / 2 + 9 * ring,
                              .bytes = 8 * area(g) / 2 + 4 * ring };
}

struct mro_work mro_work_multiply(const struct mro_grid *g)
{
    return (struct mro_work){ .flops = 2 * area(g) / 2, .bytes = (2 * 8 + 4) * area(g) / 2 };
}

struct mro_work mro_work_noise_spectrum(const struct mro_grid *g, const double band_inv_nm[2], double edge_inv_nm)
{
    const double hi = band_inv_nm[1] + edge_inv_nm, lo = fmax(band_inv_nm[0] - edge_inv_nm, 0);
    const double drawn = fmin(M_PI * (hi * hi - lo * lo) * g->ly * g->lx, area(g)) / 2;
    return (struct mro_work){ .flops = (DRAW_FLOPS / 2 + 2 * WAVE_FLOPS) * drawn, .bytes = 8 * area(g) / 2 };
}

struct mro_work mro_work_transform(const struct mro_grid *g)
{
    /* Rows and columns: half a plane of complex numbers is written and read in between. */
    return (struct mro_work){ .transform = plane_flops((double)g->ny, (double)g->nx) / 2,
                              .bytes = (4 + 3 * 4) * area(g) };
}

struct mro_work mro_work_correlate(const struct mro_grid *g)
{
    return (struct mro_work){ .flops = 6 * area(g) / 2, .bytes = 3 * 8 * area(g) / 2 };
}

struct mro_work mro_work_add_moved(const struct mro_grid *g)
{
    return (struct mro_work){ .flops = 14 * area(g) / 2, .bytes = 3 * 8 * area(g) / 2 };
}

struct mro_work mro_work_demodulate(const struct mro_grid *g, double sigma_inv_nm, const struct mro_grid *out,
                                    const struct mro_window *window, bool slope)
{
    /* A Gaussian to either side: first along y, real numbers at the columns that the points take, then along x, complex
     * ones; for slopes another sum along y, and two along x. */
    const double reach = 2 * MRO_WAVE_REACH * mro_wave_width(sigma_inv_nm);
    const double py = (double)g->ny / g->ly, px = (double)g->nx / g->lx; /* samples a nm */
    const double rows = (double)window->ny * py * out->ly / (double)out->ny + reach * py,
                 columns = (double)window->nx * px * out->lx / (double)out->nx + reach * px;
    const double points = (double)window->ny * (double)window->nx, along_y = slope ? 2 : 1, along_x = slope ? 3 : 1;
    return (struct mro_work){ .flops = 4 * (along_y * (double)window->ny * columns * reach * py +
                                            along_x * points * reach * px),
                              .bytes = 4 * rows * columns + (slope ? 16 : 8) * points };
}

struct mro_work mro_work_local_mean_square(const struct mro_grid *g, double s_nm, const struct mro_grid *out)
{
    /* A Gaussian of 3 s to either side, first along y at the rows that are wanted, then along x; where it is wide for
     * the points, one as wide as they are apart, and what is left from points to points. */
    const double ny = (double)g->ny, nx = (double)g->nx, my = (double)out->ny, mx = (double)out->nx;
    const double wide = fmin(s_nm * my / g->ly, s_nm * mx / g->lx), first = wide < 2 ? s_nm : s_nm / wide;
    const double rest = wide < 2 ? 0 : sqrt(wide * wide - 1);
    const double ty = fmin(6 * first * ny / g->ly, ny), tx = fmin(6 * first * nx / g->lx, nx);
    return (struct mro_work){ .flops = area(g) + 2 * my * nx * ty + 2 * area(out) * (tx + 2 * 6 * rest),
                              .bytes = 4 * area(g) + 4 * area(out) };
}

struct mro_work mro_work_bank_maximum(const struct mro_grid *g, const struct mro_bank *bank, const struct mro_grid *out)
{
    const struct mro_bank_window w = mro_bank_window_of(bank, g);
    const double box = (2.0 * (double)w.hy + 1) * (2.0 * (double)w.hx + 1), ny = (double)out->ny, nx = (double)out->nx;
    const double rows = fmin(2.0 * (double)w.hy + 1, ny), waves = (double)bank->n_g;
    return (struct mro_work){ .flops = waves * (M_PI / 4 * 5 * box + 5 * area(out)),
                              .transform = waves * (5 * rows * nx * log2(nx) + 5 * nx * ny * log2(ny)),
                              .bytes = 8 * area(g) / 2 + 8 * area(out) };
}

struct mro_work mro_work_refine_patches(const struct mro_grid *g, const struct mro_patch_search *s, size_t n)
{
    /* All sizes before and after one climb of three rounds, three powers along each of four axes. */
    const double pitch = g->ly / (double)g->ny * g->lx / (double)g->nx;
    double all = 0;
    for (int k = 0; k < MRO_PATCH_SIZES; k++) all += M_PI / 4 * s->diameter_nm[k] * s->diameter_nm[k] / pitch;
    return (struct mro_work){ .flops = (double)n * 7 * (2 * all + (1 + 3 * 4 * 3) * all / MRO_PATCH_SIZES) };
}

struct mro_work mro_work_windowed_acf(const struct mro_grid *g, double window_nm, size_t n_centres, size_t lags)
{
    /* Padded to twice the window, there and back; lags that are wanted interpolated from four. */
    const double ny = 2 * window_nm * (double)g->ny / g->ly, nx = 2 * window_nm * (double)g->nx / g->lx;
    return (struct mro_work){ .flops = (double)n_centres * (3 * ny * nx / 2 + 7 * (double)lags),
                              .transform = (double)n_centres * plane_flops(ny, nx),
                              .bytes = 4 * area(g) };
}

struct mro_work mro_work_block_sums(size_t ny, size_t nx)
{
    const double n = (double)ny * (double)nx;
    return (struct mro_work){ .flops = 3 * n, .bytes = 4 * n };
}

struct mro_work mro_work_divide_polynomial(size_t ny, size_t nx, int degree)
{
    const double n = (double)ny * (double)nx;
    return (struct mro_work){ .flops = (2 * degree + 3) * n, .bytes = 2 * 4 * n };
}

struct mro_work mro_work_histogram(size_t n)
{
    return (struct mro_work){ .flops = 3 * (double)n, .bytes = 4 * (double)n };
}

struct mro_work mro_work_regions(size_t ny, size_t nx)
{
    const double n = (double)ny * (double)nx; /* runs of a row hold little: the labels stay in the cache */
    return (struct mro_work){ .flops = 3 * n, .bytes = 4 * n };
}

struct mro_work mro_work_strip_sums(size_t n_maps, const struct mro_strip *s)
{
    const double pixels = (double)s->bins * s->step * s->width / (s->pixel_y * s->pixel_x);
    return (struct mro_work){ .flops = (8 + 2 * (double)n_maps) * pixels, .bytes = 4 * (double)n_maps * pixels };
}

struct mro_work mro_work_ring_sums(const struct mro_ring_map *t, size_t n_frames, bool limits)
{
    /* Sums of clipped pixels differ by those that are left out: next to none. */
    const double n = limits ? 0 : (double)n_frames * (double)t->n_pixels;
    return (struct mro_work){ .flops = 11 * n, .bytes = 4 * n + (limits ? 0 : 8 * (double)t->n_pixels) };
}

struct mro_work mro_work_bandpass(size_t ny, size_t nx, double pixel_x_nm, double hi, double edge)
{
    /* Rows; columns that the band keeps there, gain, columns back; rows. */
    const double n = (double)ny * (double)nx;
    const double kept = fmin((hi + edge / 2) * (double)nx * pixel_x_nm, (double)(nx / 2)) + 1;
    return (struct mro_work){ .flops = 2 * kept * (double)ny,
                              .transform = 2 * (2.5 * n * log2((double)nx) + 5 * kept * (double)ny * log2((double)ny)),
                              .bytes = 2 * 4 * n + 4 * 8 * kept * (double)ny };
}

struct mro_work mro_work_upload(double bytes) { return (struct mro_work){ .link = bytes }; }

struct mro_work mro_work_read(double stored, double pixels)
{
    /* The system copies the file into the program's memory, and each pixel is turned to a float. */
    return (struct mro_work){ .flops = pixels, .bytes = 3 * stored + 4 * pixels };
}

struct mro_work mro_work_write(double pixels) { return (struct mro_work){ .bytes = 2 * 4 * pixels }; }
