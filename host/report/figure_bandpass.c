/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The figure of an image before and after a filter. */
#include <stdio.h>

#include "report/axes.h"
#include "report/figure.h"
#include "report/figure_parts.h"

struct image_page {
    double pixel_nm[2], field_nm[2];
    struct mro_raster raster[2];
    bool part; /* field_nm is the middle of a larger image */
    double panel_w, panel_h;
    char caption[800], after[160];
};

static double draw_image(struct mro_canvas *c, const void *data)
{
    const struct image_page *p = data;
    const struct mro_heading headings[] = {
        { MARGIN, p->panel_w, "a", p->part ? "Image, detail from the middle" : "Image" },
        { MARGIN + p->panel_w + GAP, p->panel_w, "b", p->after },
    };
    const double top = MARGIN + HEAD - 0.6, y0 = mro_fig_under_headings(c, top, headings, 2);
    for (int i = 0; i < 2; i++) {
        const struct mro_box b = mro_fig_fit(headings[i].x, y0, p->panel_w, p->panel_h, p->field_nm);
        mro_fig_set_heading(c, top, &headings[i]);
        mro_fig_hatch(c->cr, b);
        mro_canvas_raster(c, &p->raster[i], b.x, b.y, b.w, b.h);
        mro_fig_frame(c->cr, b, 0.5);
        mro_fig_scale_bar(c, b, p->pixel_nm[1] > 0 ? b.w / p->field_nm[1] : 0, 0.25);
    }
    return y0 + p->panel_h + 4.2;
}

enum mro_code mro_figure_image(const char *path_stem, double width_mm, const struct mro_image *before,
                               const struct mro_image *after, const double band_inv_nm[2], const char *title,
                               struct mro_error *e)
{
    struct image_page p = { 0 };
    char name[256], band[96];
    enum mro_code rc;
    mro_fig_pixel_size(before, NULL, p.pixel_nm);
    for (int i = 0; i < 2; i++)
        p.field_nm[i] = (double)(i ? before->nx : before->ny) * (p.pixel_nm[i] > 0 ? p.pixel_nm[i] : 1);
    const double whole[2] = { p.field_nm[0], p.field_nm[1] };
    p.panel_w = mro_fig_column_width(width_mm, 2);
    p.panel_h = mro_fig_panel_height(p.panel_w, p.field_nm);
    const double finest = mro_fig_finest_field(p.panel_w, band_inv_nm),
                 across = fmax(whole[0] * p.panel_w / p.panel_h, whole[1]);
    p.part = p.pixel_nm[1] > 0 && across > finest;
    for (int i = 0; i < 2 && p.part; i++) p.field_nm[i] *= 0.8 * finest / across;
    mro_text_clean(name, sizeof name, title);
    mro_fig_text_band(band, sizeof band, band_inv_nm);
    snprintf(p.after, sizeof p.after, "Pass band %s", band);
    snprintf(p.caption, sizeof p.caption,
             TEXT_BOLD "%s%s" TEXT_BOLD "Before and after a band-pass in 1/" TEXT_ITALIC "d" TEXT_ITALIC
                       " of %s (" TEXT_ITALIC "d" TEXT_ITALIC " from %.3f to %.3f" TEXT_NBSP
                       "nm). Grey levels from the 0.5" TEXT_NBSP "%% to the 99.5" TEXT_NBSP "%% quantile of each.",
             name, name[0] ? ". " : "", band, 1 / band_inv_nm[1], 1 / band_inv_nm[0]);
    for (int i = 0; i < 2; i++) {
        const struct mro_image *im = i ? after : before;
        const double step[2] = { whole[0] / (double)im->ny, whole[1] / (double)im->nx };
        const double centre[2] = { whole[0] / 2, whole[1] / 2 };
        size_t window[4];
        mro_fig_window_of(im, step, centre, p.field_nm, window);
        rc = mro_fig_grey_raster(&p.raster[i], im, window, i == 1, e);
        if (rc) goto done;
    }
    rc = mro_fig_write(path_stem, title, width_mm, p.caption, draw_image, &p, e);
done:
    mro_raster_release(&p.raster[0]);
    mro_raster_release(&p.raster[1]);
    return rc;
}
