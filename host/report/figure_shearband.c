/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The figure of shear bands. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/axes.h"
#include "report/figure.h"
#include "report/plot.h"

enum { SHOWN = 4 }; /* bands with a row of their own */
#define ROW 37.0    /* height of a band's plots */
#define STRAIGHT_WIDTH 38.0
#define STRAIGHT_NARROW 30.0 /* on a page of one column */

static const unsigned colours[SHOWN] = { ORANGE, 0x56b4e9, GREEN, 0xcc79a7 };

struct page {
    const struct mro_shearband_result *r;
    double pixel_nm[2], field_nm[2], panel_w, panel_h;
    struct mro_raster raw, straight[SHOWN];
    size_t rows;
    char *caption;
};

static unsigned colour_of(size_t k) { return colours[k % SHOWN]; }

static void draw_bands(struct mro_canvas *c, const struct page *p, struct mro_box b)
{
    const struct mro_shearband_result *r = p->r;
    const double scale = b.w / p->field_nm[1];
    cairo_save(c->cr);
    cairo_rectangle(c->cr, b.x, b.y, b.w, b.h);
    cairo_clip(c->cr);
    for (size_t k = 0; k < r->n_bands; k++) {
        const struct mro_shearband *q = &r->band[k];
        const double a = q->normal_azimuth_deg * M_PI / 180, dx = cos(a), dy = sin(a);
        const double half = isfinite(q->width_nm) ? q->width_nm / 2 : 0;
        const double mx = 0.5 * (q->line_nm[0] + q->line_nm[2]), my = 0.5 * (q->line_nm[1] + q->line_nm[3]);
        for (int side = -1; side <= 1; side += 2) {
            for (int i = 0; i <= 40; i++) {
                const double u = q->length_nm * (i / 40.0 - 0.5);
                const double s = q->path[0] + u * (q->path[1] + u * (q->path[2] + u * q->path[3])) + side * half;
                const double x = b.x + scale * (mx - u * dy + s * dx), y = b.y + scale * (my + u * dx + s * dy);
                if (i)
                    cairo_line_to(c->cr, x, y);
                else
                    cairo_move_to(c->cr, x, y);
            }
            mro_plot_stroke(c, colour_of(k), 0.9, half > 0 ? 0 : 1.2);
        }
        for (size_t i = 0; i < q->n_segments; i++) {
            const struct mro_shearband_segment *g = &q->segment[i];
            const double w = isfinite(g->width_nm) ? g->width_nm / 2 : 0;
            cairo_move_to(c->cr, b.x + scale * (g->x_nm - w * dx), b.y + scale * (g->y_nm - w * dy));
            cairo_line_to(c->cr, b.x + scale * (g->x_nm + w * dx), b.y + scale * (g->y_nm + w * dy));
        }
        mro_plot_stroke(c, colour_of(k), 0.4, 0);
    }
    cairo_restore(c->cr);
}

static void draw_profile(struct mro_canvas *c, const struct mro_shearband *q, unsigned colour, struct mro_box b,
                         enum mro_shearband_signal signal)
{
    struct mro_plot p = { .b = b };
    double lo = INFINITY, hi = -INFINITY;
    if (q->n_profile < 2) {
        mro_fig_placeholder(c, b, "not measured");
        return;
    }
    double *v = mro_canvas_room(c, 3 * q->n_profile);
    if (v == NULL) return;
    for (size_t i = 0; i < q->n_profile; i++) {
        const double se = isfinite(q->contrast_se[i]) ? q->contrast_se[i] : 0;
        v[i] = 100 * q->contrast[i];
        v[q->n_profile + i] = 100 * (q->contrast[i] - 1.96 * se);
        v[2 * q->n_profile + i] = 100 * (q->contrast[i] + 1.96 * se);
        lo = fmin(lo, v[i]);
        hi = fmax(hi, v[i]);
    }
    p.x[0] = q->offset_nm[0];
    p.x[1] = q->offset_nm[q->n_profile - 1];
    p.y[0] = lo - 0.12 * (hi - lo);
    p.y[1] = hi + 0.25 * (hi - lo) + 1e-9;
    mro_plot_begin(c, &p);
    mro_plot_band(c, &p, q->offset_nm, v + q->n_profile, v + 2 * q->n_profile, q->n_profile, GREY, 0.3);
    mro_plot_horizontal(c, &p, 0, GREY, 0.5, 0);
    if (isfinite(q->width_nm))
        for (int side = -1; side <= 1; side += 2) mro_plot_vertical(c, &p, side * q->width_nm / 2, colour, 0.6, 0.9);
    mro_plot_curve(c, &p, q->offset_nm, v, q->n_profile);
    mro_plot_stroke(c, INK, 0.8, 0);
    for (size_t i = 0; i < q->n_profile; i++) v[i] = 100 * q->fit[i];
    mro_plot_curve(c, &p, q->offset_nm, v, q->n_profile);
    mro_plot_stroke(c, colour, 1.4, 0);
    mro_plot_end(c);
    mro_plot_axes(c, &p, "Offset (nm)", signal == MRO_SHEARBAND_MEAN ? "Contrast (%)" : "Change of variance (%)");
    static const char mean[] = "mean, 95" TEXT_NBSP "%";
    mro_plot_legend(c, b.x + 1.6, b.y + 3.4, INK, 0.8, 0, mean);
    mro_plot_legend(c, b.x + fmax(b.w / 2 + 2, 8.4 + mro_canvas_text_width(c, PT, mean)), b.y + 3.4, colour, 1.4, 0,
                    "fit");
    free(v);
}

static void draw_along(struct mro_canvas *c, const struct mro_shearband *q, unsigned colour, struct mro_box b)
{
    struct mro_plot p = { .b = b };
    double most = isfinite(q->width_ci95[1]) ? q->width_ci95[1] : 0;
    for (size_t i = 0; i < q->n_segments; i++)
        if (isfinite(q->segment[i].width_nm)) most = fmax(most, q->segment[i].width_nm);
    if (!(most > 0)) {
        mro_fig_placeholder(c, b, "not measured");
        return;
    }
    p.x[0] = -q->length_nm / 2;
    p.x[1] = q->length_nm / 2;
    p.y[1] = 1.35 * most;
    mro_plot_begin(c, &p);
    if (isfinite(q->width_ci95[0])) {
        const double x[2] = { p.x[0], p.x[1] }, lo[2] = { q->width_ci95[0], q->width_ci95[0] },
                     hi[2] = { q->width_ci95[1], q->width_ci95[1] };
        mro_plot_band(c, &p, x, lo, hi, 2, colour, 0.35);
    }
    mro_plot_horizontal(c, &p, q->width_nm, colour, 1.2, 0);
    for (size_t i = 0; i < q->n_segments; i++)
        if (isfinite(q->segment[i].width_nm))
            mro_plot_dot(c, &p, q->segment[i].along_nm, q->segment[i].width_nm, 0.6, INK);
    mro_plot_end(c);
    mro_plot_axes(c, &p, "Along the band (nm)", "Width (nm)");
    mro_plot_legend(c, b.x + 1.6, b.y + 3.4, colour, 1.2, 0, "of the mean profile, 95" TEXT_NBSP "%");
}

static void draw_elements(struct mro_canvas *c, const struct mro_shearband *q, const struct mro_shearband_elements *el,
                          struct mro_box b)
{
    static const unsigned ink[] = { BLUE, ORANGE, GREEN, 0xcc79a7, 0x56b4e9, INK };
    const struct mro_eds_result *s = &el->profile;
    struct mro_plot p = { .b = b };
    double lo = INFINITY, hi = -INFINITY;
    const size_t shown = el->n < 6 ? el->n : 6;
    double *v = mro_canvas_room(c, 4 * s->points);
    if (v == NULL) return;
    for (size_t j = 0; j < shown; j++)
        for (size_t i = 0; i < s->points; i++) {
            lo = fmin(lo, s->element[j].at[i] - s->element[j].mean_at);
            hi = fmax(hi, s->element[j].at[i] - s->element[j].mean_at);
        }
    p.x[0] = s->x_nm[0] - el->centre_nm;
    p.x[1] = s->x_nm[s->points - 1] - el->centre_nm;
    p.y[0] = lo - 0.1 * (hi - lo);
    p.y[1] = hi + 0.3 * (hi - lo) + 1e-9;
    mro_plot_begin(c, &p);
    for (int side = -1; side <= 1; side += 2) mro_plot_vertical(c, &p, side * q->width_nm / 2, GREY, 0.6, 0.9);
    for (size_t j = 0; j < shown; j++) {
        const struct mro_eds_element *one = &s->element[j];
        for (size_t i = 0; i < s->points; i++) {
            const double se = one->se ? one->se[i] : 0;
            v[i] = s->x_nm[i] - el->centre_nm;
            v[s->points + i] = one->at[i] - one->mean_at;
            v[2 * s->points + i] = v[s->points + i] - se;
            v[3 * s->points + i] = v[s->points + i] + se;
        }
        mro_plot_band(c, &p, v, v + 2 * s->points, v + 3 * s->points, s->points, ink[j], 0.2);
        mro_plot_curve(c, &p, v, v + s->points, s->points);
        mro_plot_stroke(c, ink[j], 0.9, 0);
    }
    mro_plot_end(c);
    mro_plot_axes(c, &p, "Offset (nm)", "at.%");
    for (size_t j = 0; j < shown; j++)
        mro_plot_legend(c, b.x + 1.6 + 10.5 * (double)j, b.y + 3.4, ink[j], 1.2, 0, s->element[j].symbol);
    free(v);
}

/* The row, or on a narrow page the two rows, of a band, whose panels begin at `y`. Returns where those of the next do.
 */
static double draw_band(struct mro_canvas *c, const struct page *p, size_t k, double y)
{
    const struct mro_shearband_result *r = p->r;
    const struct mro_shearband *q = &r->band[k];
    const struct mro_shearband_elements *el = r->elements && r->elements[k].n ? &r->elements[k] : NULL;
    const bool wide = mro_fig_columns(c->width_mm, 3, COLUMN) == 3;
    const double straight = wide ? STRAIGHT_WIDTH : STRAIGHT_NARROW, left = MARGIN + straight + GAP,
                 width = (c->width_mm - MARGIN - left - (wide ? GAP : 0)) / (wide ? 2 : 1);
    const char letters[3][2] = { { (char)('c' + 3 * k), 0 }, { (char)('d' + 3 * k), 0 }, { (char)('e' + 3 * k), 0 } };
    char text[96];
    snprintf(text, sizeof text, "Straightened, at %.1f" TEXT_NBSP "nm", q->position_nm);
    const struct mro_heading headings[] = {
        { MARGIN, straight + GAP, letters[0], text },
        { left, width, letters[1], "Profile along the normal" },
        { wide ? left + width + GAP : MARGIN, wide ? width : c->width_mm - 2 * MARGIN, letters[2],
          el ? "Composition less its mean, counting error" : "Width along the band" },
    };
    const double top = y;
    y = mro_fig_under_headings(c, top, headings, wide ? 3 : 2);
    const double field[2] = { (double)q->straight.ny, (double)q->straight.nx };
    const struct mro_box s = mro_fig_fit(MARGIN, y, straight, ROW, field);
    mro_fig_set_heading(c, top, &headings[0]);
    mro_fig_hatch(c->cr, s);
    mro_canvas_raster(c, &p->straight[k], s.x, s.y, s.w, s.h);
    mro_fig_frame(c->cr, s, 0.5);
    mro_fig_rgb(c->cr, colour_of(k), 1);
    cairo_rectangle(c->cr, s.x, s.y - 0.9, s.w, 0.7);
    cairo_fill(c->cr);
    mro_fig_scale_bar(c, s, s.w / ((double)q->straight.nx * q->straight.axis[1].step), 0.4);
    const double high = ROW - PLOT_BELOW;
    mro_fig_set_heading(c, top, &headings[1]);
    draw_profile(c, q, colour_of(k), (struct mro_box){ left + PLOT_LEFT, y, width - PLOT_LEFT - 0.5, high }, r->signal);
    if (!wide) y += ROW + HEAD + 2;
    mro_fig_set_heading(c, wide ? top : y, &headings[2]);
    const struct mro_box last = { headings[2].x + PLOT_LEFT, y, headings[2].room - PLOT_LEFT - 0.5, high };
    if (el)
        draw_elements(c, q, el, last);
    else
        draw_along(c, q, colour_of(k), last);
    return y + ROW + HEAD + 2;
}

static double draw(struct mro_canvas *c, const void *data)
{
    const struct page *p = data;
    const struct mro_shearband_result *r = p->r;
    const double x0 = MARGIN, y0 = MARGIN + HEAD - 0.6;
    const struct mro_box a = mro_fig_fit(x0, y0, p->panel_w, p->panel_h, p->field_nm);
    const struct mro_box b = { x0 + p->panel_w + GAP, a.y, a.w, a.h };
    mro_fig_heading(c, x0, y0, "a", "Image");
    mro_fig_heading(c, b.x, y0, "b", r->n_bands ? "Bands and their segments" : "No band");
    for (int i = 0; i < 2; i++) {
        const struct mro_box box = i ? b : a;
        mro_fig_hatch(c->cr, box);
        mro_canvas_raster(c, &p->raw, box.x, box.y, box.w, box.h);
        if (i) draw_bands(c, p, box);
        mro_fig_frame(c->cr, box, 0.5);
        mro_fig_scale_bar(c, box, p->pixel_nm[1] > 0 ? box.w / p->field_nm[1] : 0, 0.25);
    }
    double y = y0 + p->panel_h + 3 + HEAD;
    for (size_t k = 0; k < p->rows; k++) y = draw_band(c, p, k, y);
    return y - HEAD + (p->rows ? 2.6 : 1);
}

static enum mro_code make_caption(struct page *p, const char *title, struct mro_error *e)
{
    const struct mro_shearband_result *r = p->r;
    struct mro_words w = { 0 };
    char line[512], a[96];
    mro_fig_say_title(&w, title);
    for (size_t k = 0; k < r->n_bands; k++) {
        const struct mro_shearband *b = &r->band[k];
        if (isfinite(b->width_nm)) {
            const int decimals = b->width_nm < 1 ? 2 : 1;
            char depth[3][32];
            mro_text_number(depth[0], sizeof depth[0], 100 * b->depth, 2, "");
            for (int i = 0; i < 2; i++) mro_text_number(depth[1 + i], sizeof depth[0], 100 * b->depth_ci95[i], 2, "");
            snprintf(line, sizeof line,
                     TEXT_BOLD "Band at %.1f" TEXT_NBSP "nm: width %.*f" TEXT_NBSP "nm" TEXT_BOLD " (95" TEXT_NBSP
                               "%% interval %.*f to %.*f), depth %s" TEXT_NBSP
                               "%% (%s to %s), normal at %.1f" TEXT_DEGREE ". ",
                     b->position_nm, decimals, b->width_nm, decimals, b->width_ci95[0], decimals, b->width_ci95[1],
                     depth[0], depth[1], depth[2], b->normal_azimuth_deg);
        } else
            snprintf(line, sizeof line,
                     TEXT_BOLD "Edge at %.1f" TEXT_NBSP "nm" TEXT_BOLD " of a band that leaves the field. ",
                     b->position_nm);
        mro_fig_say(&w, line);
    }
    if (r->n_bands > p->rows) {
        snprintf(line, sizeof line, "The first %zu bands are shown. ", p->rows);
        mro_fig_say(&w, line);
    }
    if (r->n_bands)
        mro_fig_say(&w, "Positions are distances of centre lines from the top-left corner along the normal; widths are "
                        "projected. ");
    if (r->n_bands && r->signal == MRO_SHEARBAND_VARIANCE)
        mro_fig_say(&w, "Depths are of the variance within 1" TEXT_NBSP "nm over the squared mean. ");
    mro_fig_say_sentence(&w, "Verdict: ", r->verdict);
    if (isnan(r->p_value) && r->n_warnings) mro_fig_say_sentence(&w, " Reason: ", r->warnings[0]);
    (void)a;
    if (w.failed) {
        free(w.p);
        return MRO_FAIL(e, MRO_EMEMORY, "the caption of the figure does not fit in memory");
    }
    p->caption = w.p;
    return MRO_OK;
}

enum mro_code mro_figure_shearband(const char *path_stem, double width_mm, const struct mro_image *im,
                                   const char *title, const struct mro_shearband_result *r, struct mro_error *e)
{
    struct page p = { .r = r, .rows = r->n_bands < SHOWN ? r->n_bands : SHOWN };
    enum mro_code rc;
    mro_fig_pixel_size(im, r->pixel_nm, p.pixel_nm);
    for (int i = 0; i < 2; i++) p.field_nm[i] = (double)(i ? im->nx : im->ny) * (p.pixel_nm[i] > 0 ? p.pixel_nm[i] : 1);
    p.panel_w = mro_fig_column_width(width_mm, 2);
    p.panel_h = mro_fig_panel_height(p.panel_w, p.field_nm);
    const size_t whole[4] = { 0, 0, im->nx, im->ny };
    if ((rc = mro_fig_grey_raster(&p.raw, im, whole, false, e))) goto done;
    for (size_t k = 0; k < p.rows; k++) {
        const struct mro_image *s = &r->band[k].straight;
        const size_t all[4] = { 0, 0, s->nx, s->ny };
        if ((rc = mro_fig_grey_raster(&p.straight[k], s, all, false, e))) goto done;
    }
    if ((rc = make_caption(&p, title, e))) goto done;
    rc = mro_fig_write(path_stem, title, width_mm, p.caption, draw, &p, e);
done:
    free(p.caption);
    mro_raster_release(&p.raw);
    for (size_t k = 0; k < SHOWN; k++) mro_raster_release(&p.straight[k]);
    return rc;
}
