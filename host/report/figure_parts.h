/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the figures share: frames, headings, scale and colour bars, rasters of images, captions. Lengths are mm. */
#ifndef MRO_REPORT_FIGURE_PARTS_H
#define MRO_REPORT_FIGURE_PARTS_H

#include <cairo.h>
#include <stdbool.h>
#include <stddef.h>

#include "mroscope/image.h"
#include "report/canvas.h"
#include "report/raster.h"

#define MARGIN 1.5
#define PT 7.0       /* type size; letters of panels are one point larger */
#define HEAD 4.4     /* room for the letter and title above a panel */
#define LEADING 3.25 /* lines of the caption */
#define GAP 4.0      /* between panels */
#define COLUMN 53.0  /* plots with their axes are at least so wide */
#define RASTER 840   /* samples of an embedded panel: 1.25 times what 300 dpi can show */
#define INK 0x000000
#define SOFT 0x505050

/* Rectangle on the page, mm. */
struct mro_box {
    double x, y, w, h;
};

/* Text that grows; a caption holds sentences of others, so no fixed size fits. */
struct mro_words {
    char *p;
    size_t n;
    bool failed;
};

void mro_fig_rgb(cairo_t *cr, unsigned colour, double alpha);
void mro_fig_frame(cairo_t *cr, struct mro_box b, double pt);
/* Letter and title above a panel whose upper left corner is (x, y), in one line. */
void mro_fig_heading(struct mro_canvas *c, double x, double y, const char *letter, const char *title);
/* Headings of panels side by side, whose titles take more lines where `room`, in mm from x on, is short: `y` is the
 * upper edge of panels under titles of one line, and mro_fig_under_headings returns where it is under all of these. */
struct mro_heading {
    double x, room;
    const char *letter, *title;
};
double mro_fig_under_headings(struct mro_canvas *c, double y, const struct mro_heading *h, size_t n);
void mro_fig_set_heading(struct mro_canvas *c, double y, const struct mro_heading *h);
/* How many panels, at most `most`, stand side by side on a page without one narrower than `least` mm, and the width of
 * each then. */
size_t mro_fig_columns(double page_mm, size_t most, double least);
double mro_fig_column_width(double page_mm, size_t columns);
/* `middle` of a level text, moved so far that the text stays on the page. */
double mro_fig_on_page(struct mro_canvas *c, double middle, const char *text);
/* Grey with diagonal lines: nothing was measured here. Any image goes on top. */
void mro_fig_hatch(cairo_t *cr, struct mro_box b);
void mro_fig_placeholder(struct mro_canvas *c, struct mro_box b, const char *text);
/* Largest frame of a field's shape (y, x) inside a panel, at its upper left. */
struct mro_box mro_fig_fit(double x, double y, double w, double h, const double field[2]);
/* Scale bar in the lower left of `b`, `mm_per_nm` there; text and bar on a backing that reads on any
 * image. Returns the backing's box. */
struct mro_box mro_fig_scale_bar(struct mro_canvas *c, struct mro_box b, double mm_per_nm, double share);
/* Part of an image around (or near, at its rim) a centre: first column and row, columns, rows. `size_nm`
 * and `centre_nm` are y, x; steps of 0 count pixels. */
void mro_fig_window_of(const struct mro_image *im, const double step[2], const double centre_nm[2],
                       const double size_nm[2], size_t window[4]);
/* A window (first column and row, columns, rows) of an image in grey, stretched between its 0.5 and 99.5 % quantiles,
 * brought to at most RASTER samples by area averages; small ones get more pixels: `smooth` (band-limited) by
 * interpolation, else by repeating. */
enum mro_code mro_fig_grey_raster(struct mro_raster *out, const struct mro_image *im, const size_t window[4],
                                  bool smooth, struct mro_error *e);
/* Vertical colour bar from lo (bottom) to hi with ticks; `over`: values above hi exist; `mark`: a value
 * to be marked across the bar, NaN = none. */
void mro_fig_colour_bar(struct mro_canvas *c, struct mro_box b, const struct mro_colour_map *map, double lo, double hi,
                        bool over, double mark, const char *label);
void mro_fig_text_band(char *out, size_t size, const double band[2]);
void mro_fig_say(struct mro_words *w, const char *text);
/* A sentence of others, with a full stop. */
void mro_fig_say_sentence(struct mro_words *w, const char *before, const char *text);
/* Opens a caption with the title (may be NULL) in bold. */
void mro_fig_say_title(struct mro_words *w, const char *title);
/* Pixel size along y and x in nm; 0, 0 when the image's and the result's are both unknown. */
void mro_fig_pixel_size(const struct mro_image *im, const double *also, double pixel_nm[2]);
/* Outlines the samples of a map of ny x nx that `inside(map, j, i)` names, row j, column i, along their edges; the map
 * fills `b`. */
void mro_fig_outline(cairo_t *cr, bool (*inside)(const void *map, size_t j, size_t i), const void *map, size_t ny,
                     size_t nx, struct mro_box b, unsigned colour, double width_mm);
/* Writes a page of `width_mm` as mro_canvas_write does: what `draw` draws, and under it the caption, its first baseline
 * as many mm from the upper edge as `draw` returns. `title` (may be NULL) is cleaned. */
enum mro_code mro_fig_write(const char *path_stem, const char *title, double width_mm, const char *caption,
                            double (*draw)(struct mro_canvas *c, const void *page), const void *page,
                            struct mro_error *e);
/* Largest field (nm) whose fringes in the middle of the band still have 4 dots each in a panel printed at 300 dpi;
 * beyond it a figure would show moire instead of order. */
double mro_fig_finest_field(double panel_mm, const double band_inv_nm[2]);
/* Height of a panel of width `w` for a field; bounded, so that strips and columns still make a page. */
double mro_fig_panel_height(double w, const double field[2]);

#endif
