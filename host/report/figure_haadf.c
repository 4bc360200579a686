/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The figure of a heterogeneity measurement. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/axes.h"
#include "report/figure.h"
#include "report/plot.h"

#define PLOT_HEIGHT 46.0
#define PLOT_HEIGHT_ALONE 36.0 /* of one that is as wide as the page */
#define BAR_ROOM 14.0          /* for the colour bar of the image */
#define E_TO_MINUS_1 0.36787944117144233

struct haadf_page {
    const struct mro_haadf_result *r;
    double pixel_nm[2], field_nm[2];
    struct mro_raster raw, flat;
    double flat_range[2]; /* percent */
    double panel_w, panel_h;
    size_t plots; /* side by side */
    char *caption;
};

/* -- plots ---------------------------------------------------------------------------------------- */

static void draw_histogram(struct mro_canvas *c, const struct haadf_page *page, struct mro_box b)
{
    const struct mro_haadf_result *r = page->r;
    mro_fig_heading(c, b.x - PLOT_LEFT, b.y, "c", "Contrast in the band");
    if (r->n_histogram == 0) {
        mro_fig_placeholder(c, b, "not measured");
        return;
    }
    const double reach = r->histogram_step * (double)r->n_histogram;
    struct mro_plot p = { .b = b };
    p.x[0] = 100 * (r->histogram_lo + 0.14 * reach);
    p.x[1] = 100 * (r->histogram_lo + 0.86 * reach);
    /* The Gaussian is that of the peak alone: fitted in height to its upper half, as the highest of the bars is so by
     * chance; without the noise as large in area, so narrower. */
    const double middle = 100 * r->histogram_mode, seen = 100 * r->histogram_sd[0];
    const double noiseless = isfinite(r->noise_sd) ? 100 * r->histogram_sd[1] : NAN;
    double peak = 0, shared = 0, square = 0, height[2] = { 0 };
    for (size_t i = 0; i + 1 < r->n_histogram; i += 2) {
        const double v = 0.5 * (r->histogram[i] + r->histogram[i + 1]) / 100;
        const double t = (100 * (r->histogram_lo + (double)(i + 1) * r->histogram_step) - middle) / seen;
        peak = fmax(peak, v);
        if (!(exp(-0.5 * t * t) > 0.5)) continue;
        shared += v * exp(-0.5 * t * t);
        square += exp(-t * t);
    }
    height[0] = square > 0 ? shared / square : 0;
    height[1] = noiseless > 0 ? height[0] * seen / noiseless : 0;
    p.y[1] = 1.4 * fmax(peak, fmax(height[0], height[1]));
    mro_plot_begin(c, &p);
    cairo_move_to(c->cr, mro_plot_x(&p, 100 * r->histogram_lo), mro_plot_y(&p, 0));
    for (size_t i = 0; i + 1 < r->n_histogram; i += 2) {
        const double v = 0.5 * (r->histogram[i] + r->histogram[i + 1]) / 100;
        for (int k = 0; k < 2; k++)
            cairo_line_to(c->cr,
                          mro_plot_x(&p, 100 * (r->histogram_lo + (double)(i + 2 * (size_t)k) * r->histogram_step)),
                          mro_plot_y(&p, v));
    }
    cairo_line_to(c->cr, mro_plot_x(&p, 100 * (r->histogram_lo + reach)), mro_plot_y(&p, 0));
    mro_fig_rgb(c->cr, 0xd0d0d0, 1);
    cairo_fill_preserve(c->cr);
    mro_plot_stroke(c, GREY, 0.5, 0);
    static const unsigned colours[2] = { BLUE, ORANGE };
    for (int k = 0; k < 2; k++) {
        const double sd = k ? noiseless : seen;
        if (!(sd > 0)) continue;
        double x[201], y[201];
        for (int i = 0; i <= 200; i++) {
            x[i] = p.x[0] + (p.x[1] - p.x[0]) * i / 200;
            y[i] = height[k] * exp(-0.5 * pow((x[i] - middle) / sd, 2));
        }
        mro_plot_curve(c, &p, x, y, 201);
        mro_plot_stroke(c, colours[k], k ? 1.3 : 1.0, k ? 0 : 1.0);
    }
    mro_plot_end(c);
    mro_plot_axes(c, &p, "Contrast (%)", "Probability density (1/%)");
    mro_plot_legend(c, b.x + 1.6, b.y + 3.6, GREY, 1.6, 0, "image");
    mro_plot_legend(c, b.x + 1.6, b.y + 6.9, BLUE, 1.0, 1.0, "Gaussian, same FWHM");
    if (noiseless > 0) mro_plot_legend(c, b.x + 1.6, b.y + 10.2, ORANGE, 1.3, 0, "the same without noise");
}

static void draw_spectrum(struct mro_canvas *c, const struct haadf_page *page, struct mro_box b)
{
    const struct mro_haadf_result *r = page->r;
    mro_fig_heading(c, b.x - PLOT_LEFT, b.y, "d", "Radial power spectrum");
    if (r->n_rings < 3) {
        mro_fig_placeholder(c, b, "not measured");
        return;
    }
    struct mro_plot p = { .b = b, .log_x = true, .log_y = true };
    p.x[0] = fmin(r->ring[0].q_inv_nm, r->band_inv_nm[0]) * 0.9;
    p.x[1] = r->ring[r->n_rings - 1].q_inv_nm * 1.05;
    double lo = INFINITY, hi = 0;
    for (size_t i = 0; i < r->n_rings; i++) {
        if (r->ring[i].power > 0) lo = fmin(lo, r->ring[i].power);
        hi = fmax(hi, r->ring[i].power);
    }
    if (r->noise_power > 0) lo = fmin(lo, r->noise_power);
    p.y[1] = fmax(hi * 2, lo * 30);
    p.y[0] = 0.7 * lo * pow(lo / p.y[1], 0.22); /* the legend stands below the values */
    mro_plot_begin(c, &p);
    const double left = mro_plot_x(&p, r->band_inv_nm[0]), right = mro_plot_x(&p, r->band_inv_nm[1]);
    mro_fig_rgb(c->cr, 0xf2f2f2, 1);
    cairo_rectangle(c->cr, left, b.y, right - left, b.h);
    cairo_fill(c->cr);
    for (size_t k = 0; k < 2 * r->n_rings; k++) { /* there along the upper limit, and back along the lower one */
        const bool upper = k < r->n_rings;
        const struct mro_haadf_ring *ring = r->ring + (upper ? k : 2 * r->n_rings - 1 - k);
        const double y = fmax(upper ? ring->hi : ring->lo, p.y[0] * 1e-3);
        if (k)
            cairo_line_to(c->cr, mro_plot_x(&p, ring->q_inv_nm), mro_plot_y(&p, y));
        else
            cairo_move_to(c->cr, mro_plot_x(&p, ring->q_inv_nm), mro_plot_y(&p, y));
    }
    cairo_close_path(c->cr);
    mro_fig_rgb(c->cr, 0x9ecae1, 0.7);
    cairo_fill(c->cr);
    if (r->noise_power > 0) {
        cairo_move_to(c->cr, b.x, mro_plot_y(&p, r->noise_power));
        cairo_line_to(c->cr, b.x + b.w, mro_plot_y(&p, r->noise_power));
        mro_plot_stroke(c, GREY, 0.8, 1.0);
    }
    if (r->wavelength_nm > 0) mro_plot_vertical(c, &p, 1 / r->wavelength_nm, ORANGE, 0.8, 0.6);
    for (size_t i = 0; i < r->n_rings; i++) {
        const double x = mro_plot_x(&p, r->ring[i].q_inv_nm), y = mro_plot_y(&p, fmax(r->ring[i].power, p.y[0] * 1e-3));
        cairo_new_sub_path(c->cr);
        cairo_arc(c->cr, x, y, r->n_rings > 60 ? 0.32 : 0.45, 0, 2 * M_PI);
    }
    mro_fig_rgb(c->cr, INK, 1);
    cairo_fill(c->cr);
    mro_plot_end(c);
    mro_plot_axes(c, &p,
                  "Spatial frequency 1/" TEXT_ITALIC "d" TEXT_ITALIC " (nm" TEXT_SUPER TEXT_MINUS "1" TEXT_SUPER ")",
                  "Power (nm" TEXT_SUPER "2" TEXT_SUPER ")");
    const double y = b.y + b.h - 1.6;
    mro_plot_legend(c, b.x + 1.6, y - 3.3, 0x9ecae1, 4, 0, "falling spectrum, 95" TEXT_NBSP "%");
    mro_plot_legend(c, b.x + 1.6, y, GREY, 0.8, 1.0, r->noise_power > 0 ? "noise" : "noise: not measured");
}

static void draw_acf(struct mro_canvas *c, const struct haadf_page *page, struct mro_box b)
{
    const struct mro_haadf_result *r = page->r;
    mro_fig_heading(c, b.x - PLOT_LEFT, b.y, "e",
                    isfinite(r->noise_sd) ? "Autocorrelation, noise taken out" : "Autocorrelation, noise included");
    if (r->n_acf == 0 || !isfinite(r->correlation_length_nm)) {
        mro_fig_placeholder(c, b, "not measured");
        return;
    }
    double least = 0;
    for (size_t i = 0; i < r->n_acf; i++) least = fmin(least, r->acf[i]);
    struct mro_plot p = { .b = b };
    p.x[1] = fmin((double)(r->n_acf - 1) * r->acf_step_nm,
                  fmax(6 * r->correlation_length_nm, 2.2 * (r->wavelength_nm > 0 ? r->wavelength_nm : 0)));
    p.y[0] = fmin(-0.15, 1.2 * least);
    p.y[1] = 1.05;
    mro_plot_begin(c, &p);
    cairo_move_to(c->cr, b.x, mro_plot_y(&p, 0));
    cairo_line_to(c->cr, b.x + b.w, mro_plot_y(&p, 0));
    mro_plot_stroke(c, GREY, 0.5, 0);
    cairo_move_to(c->cr, b.x, mro_plot_y(&p, E_TO_MINUS_1));
    cairo_line_to(c->cr, mro_plot_x(&p, r->correlation_length_nm), mro_plot_y(&p, E_TO_MINUS_1));
    cairo_line_to(c->cr, mro_plot_x(&p, r->correlation_length_nm), mro_plot_y(&p, p.y[0]));
    mro_plot_stroke(c, GREY, 0.8, 1.0);
    for (size_t i = 0; i < r->n_acf; i++) {
        if (i)
            cairo_line_to(c->cr, mro_plot_x(&p, (double)i * r->acf_step_nm), mro_plot_y(&p, r->acf[i]));
        else
            cairo_move_to(c->cr, mro_plot_x(&p, 0), mro_plot_y(&p, r->acf[i]));
    }
    mro_plot_stroke(c, ORANGE, 1.3, 0);
    mro_plot_end(c);
    mro_plot_axes(c, &p, "Lag (nm)", "Autocorrelation");
    char text[96], length[64];
    mro_text_number(length, sizeof length, r->correlation_length_nm, 2, "nm");
    snprintf(text, sizeof text, "1/" TEXT_ITALIC "e" TEXT_ITALIC " at %s", length);
    mro_canvas_text(c, mro_plot_x(&p, r->correlation_length_nm) + 1.2, mro_plot_y(&p, E_TO_MINUS_1) - 0.8, PT, MRO_LEFT,
                    0, INK, text);
}

/* -- the page ------------------------------------------------------------------------------------- */

static bool is_dark(const void *map, size_t j, size_t i)
{
    const struct mro_image *m = map;
    return m->px[j * m->nx + i] == -1;
}

static bool is_bright(const void *map, size_t j, size_t i)
{
    const struct mro_image *m = map;
    return m->px[j * m->nx + i] == 1;
}

static double draw_haadf(struct mro_canvas *c, const void *data)
{
    const struct haadf_page *p = data;
    const struct mro_haadf_result *r = p->r;
    const bool dark = r->dark.p_value < 0.01, bright = r->bright.p_value < 0.01;
    const struct mro_heading headings[] = {
        { MARGIN, p->panel_w, "a", "Image" },
        { MARGIN + p->panel_w + GAP, p->panel_w + BAR_ROOM, "b",
          dark || bright ? "Background and scan lines out, regions outlined"
                         : "Background and scan lines out; no regions beyond chance" },
    };
    const double x0 = headings[0].x, x1 = headings[1].x, top = MARGIN + HEAD - 0.6,
                 y0 = mro_fig_under_headings(c, top, headings, 2);
    const struct mro_box a = mro_fig_fit(x0, y0, p->panel_w, p->panel_h, p->field_nm);
    const struct mro_box b = { x1, a.y, a.w, a.h };
    const double scale = p->pixel_nm[1] > 0 ? a.w / p->field_nm[1] : 0;
    mro_fig_set_heading(c, top, &headings[0]);
    mro_fig_hatch(c->cr, a);
    mro_canvas_raster(c, &p->raw, a.x, a.y, a.w, a.h);
    mro_fig_frame(c->cr, a, 0.5);
    mro_fig_scale_bar(c, a, scale, 0.25);
    mro_fig_set_heading(c, top, &headings[1]);
    if (p->flat.surface) {
        mro_fig_hatch(c->cr, b);
        mro_canvas_raster(c, &p->flat, b.x, b.y, b.w, b.h);
        const double line = fmin(0.7 * MM_PER_PT, fmax(0.12, b.w / (double)r->mask.nx));
        if (dark) mro_fig_outline(c->cr, is_dark, &r->mask, r->mask.ny, r->mask.nx, b, 0xf0a000, line);
        if (bright) mro_fig_outline(c->cr, is_bright, &r->mask, r->mask.ny, r->mask.nx, b, 0x56b4e9, line);
        mro_fig_frame(c->cr, b, 0.5);
        mro_fig_scale_bar(c, b, scale, 0.25);
        const struct mro_box bar = { b.x + b.w + 1.8, b.y, 2.4, b.h };
        mro_fig_colour_bar(c, bar, &mro_map_grey, p->flat_range[0], p->flat_range[1], false, NAN, "Contrast (%)");
    } else {
        mro_fig_placeholder(c, b, "not measured");
    }
    const double ly = y0 + p->panel_h + 3.9, lx = p->plots == 3 ? x1 : x0;
    if (dark) mro_plot_legend(c, lx, ly, 0xf0a000, 1.2, 0, "dark regions");
    if (bright) mro_plot_legend(c, lx + (dark ? 26 : 0), ly, 0x56b4e9, 1.2, 0, "bright regions");
    const double width = mro_fig_column_width(c->width_mm, p->plots),
                 high = p->plots == 1 ? PLOT_HEIGHT_ALONE : PLOT_HEIGHT, row = high + PLOT_BELOW + 2.4 + HEAD;
    double y = ly + 2.4 + HEAD;
    for (size_t i = 0; i < 3; i++) {
        if (i && i % p->plots == 0) y += row;
        const struct mro_box plot = { x0 + (double)(i % p->plots) * (width + GAP) + PLOT_LEFT, y,
                                      width - PLOT_LEFT - 0.5, high };
        (i == 0 ? draw_histogram : i == 1 ? draw_spectrum : draw_acf)(c, p, plot);
    }
    return y + high + 11.6;
}

static enum mro_code make_caption(struct haadf_page *p, const char *title, struct mro_error *e)
{
    const struct mro_haadf_result *r = p->r;
    struct mro_words w = { 0 };
    char a[96], b[96], line[512];
    mro_fig_say_title(&w, title);
    mro_text_percent_within(a, sizeof a, r->contrast_sd, r->contrast_sd_ci95);
    mro_text_interval(b, sizeof b, r->contrast_sd_ci95);
    snprintf(line, sizeof line,
             TEXT_BOLD "Contrast (standard deviation) %s" TEXT_BOLD " (95" TEXT_NBSP
                       "%% interval %s) between %.3g and %.3g" TEXT_NBSP "nm" TEXT_SUPER TEXT_MINUS "1" TEXT_SUPER
                       ", noise %s. ",
             a, b, r->band_inv_nm[0], r->band_inv_nm[1], isfinite(r->noise_sd) ? "taken out" : "included");
    mro_fig_say(&w, line);
    mro_text_percent(a, sizeof a, r->noise_sd);
    snprintf(line, sizeof line, "Noise of a pixel: %s. ", a);
    mro_fig_say(&w, line);
    mro_text_number(a, sizeof a, r->correlation_length_nm, 2, "nm");
    mro_text_number(b, sizeof b, r->wavelength_nm, 2, "nm");
    snprintf(line, sizeof line, "Correlation length: %s; wavelength: %s. ", a, b);
    mro_fig_say(&w, line);
    for (int k = 0; k < 2; k++) {
        const struct mro_haadf_regions *one = k ? &r->bright : &r->dark;
        if (!isfinite(one->p_value)) continue;
        mro_text_p_at_most(a, sizeof a, one->p_value, one->p_at_most);
        mro_text_percent(b, sizeof b, one->area_fraction);
        snprintf(line, sizeof line,
                 "%s regions: %zu beyond %.2g standard deviation%s, %s of the area, against a random field of this "
                 "spectrum %s",
                 k ? "Bright" : "Dark", one->count, one->threshold_sd, one->threshold_sd == 1 ? "" : "s", b, a);
        mro_fig_say(&w, line);
        if (isfinite(one->diameter_nm)) {
            mro_text_number(a, sizeof a, one->diameter_nm, 1, "nm");
            snprintf(line, sizeof line, ", diameter %s", a);
            mro_fig_say(&w, line);
        }
        mro_fig_say(&w, ". ");
    }
    mro_fig_say_sentence(&w, "Verdict: ", r->verdict);
    if (!isfinite(r->contrast_sd) && r->n_warnings > 0)
        mro_fig_say_sentence(&w, " Reason: ", r->warnings[r->n_warnings - 1]);
    if (w.failed) {
        free(w.p);
        return MRO_FAIL(e, MRO_EMEMORY, "the caption of the figure does not fit in memory");
    }
    p->caption = w.p;
    return MRO_OK;
}

enum mro_code mro_figure_haadf(const char *path_stem, double width_mm, const struct mro_image *im, const char *title,
                               const struct mro_haadf_result *r, struct mro_error *e)
{
    static const double ends[2] = { 0.005, 0.995 };
    struct haadf_page p = { .r = r, .plots = mro_fig_columns(width_mm, 3, COLUMN) };
    enum mro_code rc;
    mro_fig_pixel_size(im, r->pixel_nm, p.pixel_nm);
    for (int i = 0; i < 2; i++) p.field_nm[i] = (double)(i ? im->nx : im->ny) * (p.pixel_nm[i] > 0 ? p.pixel_nm[i] : 1);
    p.panel_w = (width_mm - 2 * MARGIN - GAP - BAR_ROOM) / 2;
    p.panel_h = mro_fig_panel_height(p.panel_w, p.field_nm);
    const size_t whole[4] = { 0, 0, im->nx, im->ny };
    rc = mro_fig_grey_raster(&p.raw, im, whole, false, e);
    if (rc) goto done;
    if (r->flat.px) {
        const size_t all[4] = { 0, 0, r->flat.nx, r->flat.ny };
        rc = mro_quantiles(r->flat.px, r->flat.ny * r->flat.nx, ends, 2, p.flat_range, e);
        if (rc) goto done;
        for (int i = 0; i < 2; i++) p.flat_range[i] *= 100;
        rc = mro_fig_grey_raster(&p.flat, &r->flat, all, true, e);
        if (rc) goto done;
    }
    rc = make_caption(&p, title, e);
    if (rc) goto done;
    rc = mro_fig_write(path_stem, title, width_mm, p.caption, draw_haadf, &p, e);
done:
    free(p.caption);
    mro_raster_release(&p.raw);
    mro_raster_release(&p.flat);
    return rc;
}
