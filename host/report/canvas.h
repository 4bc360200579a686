/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A page to draw on once, written as PNG (300 dpi), SVG and PDF.
 *
 * Lengths are mm, origin top-left, y down; type sizes are points. Rasters are embedded as images,
 * everything else stays vector and text stays text. cairo turns the text of SVG into outlines, so for
 * SVG the page keeps its texts and sets them as <text> on top of all drawing: draw no shape over a text.
 * Threads: a canvas belongs to one thread.
 */
#ifndef MRO_REPORT_CANVAS_H
#define MRO_REPORT_CANVAS_H

#include <stdbool.h>
#include <stddef.h>

#include "mroscope/error.h"
#include "report/raster.h"

/* Markup inside texts: each toggles its style. Text of others goes through mro_text_clean, which takes
 * such bytes out. */
#define TEXT_BOLD "\002"
#define TEXT_ITALIC "\003"
#define TEXT_SUPER "\004"
#define TEXT_NBSP "\xc2\xa0"
#define TEXT_MINUS "\xe2\x88\x92"
#define TEXT_TIMES "\xc3\x97"
#define TEXT_DASH "\xe2\x80\x93"
#define TEXT_DEGREE "\xc2\xb0"
#define TEXT_PLUS_MINUS TEXT_NBSP "\xc2\xb1" TEXT_NBSP

#define MM_PER_PT (25.4 / 72)

struct mro_canvas {
    struct _cairo *cr;     /* cairo_t in mm; the drawing may use it directly for shapes */
    double width_mm;       /* of the page */
    bool pixels;           /* the PNG page */
    struct mro_sink *text; /* the SVG page: its <text> elements; else NULL */
    bool failed;           /* no memory for a part of the drawing: the page is not written */
};

/* Room for n numbers of a drawing; free() it. NULL: no memory, and the page has failed. */
double *mro_canvas_room(struct mro_canvas *c, size_t n);

enum mro_align { MRO_LEFT, MRO_CENTRE, MRO_RIGHT };

/* Sets `text` (one line, UTF-8 with markup) with its baseline at (x, y), turned by `turn` quarter turns
 * counter-clockwise around that point. `rgb` = 0xRRGGBB. */
void mro_canvas_text(struct mro_canvas *c, double x, double y, double pt, enum mro_align align, int turn, unsigned rgb,
                     const char *text);

/* Width of a line of text in mm. */
double mro_canvas_text_width(struct mro_canvas *c, double pt, const char *text);

/* Leaves out the middle of a line of plain text (below 500 bytes), for an ellipsis, so that it is at most `width` mm
 * wide. */
void mro_canvas_shorten(struct mro_canvas *c, double pt, char *text, double width);

/* Breaks `text` at blanks (longer words anywhere) into lines of at most `width` mm and sets them from
 * the first baseline y down, `leading` mm apart. Returns the number of lines. `draw` false: counts only. */
size_t mro_canvas_paragraph(struct mro_canvas *c, double x, double y, double width, double leading, double pt,
                            const char *text, bool draw);

/* Raster for embedding, made once and drawn on every page. */
struct mro_raster {
    struct _cairo_surface *surface; /* cairo_surface_t; NULL = none */
    size_t nx, ny;
};

/* Paints v (ny * nx, NaN transparent) from lo to hi by a colour map. Sides of at most 32767 pixels.
 * Errors: MRO_EARG, MRO_EMEMORY. Release with mro_raster_release. */
enum mro_code mro_raster_make(struct mro_raster *r, const float *v, size_t ny, size_t nx, double lo, double hi,
                              const struct mro_colour_map *map, struct mro_error *e);
void mro_raster_release(struct mro_raster *r); /* {0} is fine */

/* Draws a raster into the rectangle. */
void mro_canvas_raster(struct mro_canvas *c, const struct mro_raster *r, double x, double y, double w, double h);

/* A page of nothing, for measuring text, or all that is drawn, before the height of the real page is known. What was
 * measured holds if the end, which releases it, does not fail. MRO_EMEMORY. */
enum mro_code mro_canvas_measure_begin(struct mro_canvas *c, double width_mm, struct mro_error *e);
enum mro_code mro_canvas_measure_end(struct mro_canvas *c, struct mro_error *e);

/* Draws the page of width_mm by height_mm three times and writes `path_stem`.png, .svg and .pdf, each
 * under a temporary name that is renamed when all three are complete; `title` (may be NULL) goes into the
 * files' metadata. Errors: MRO_EIO naming the file, MRO_EMEMORY; then none of the three is left behind. */
enum mro_code mro_canvas_write(const char *path_stem, const char *title, double width_mm, double height_mm,
                               void (*draw)(struct mro_canvas *c, void *data), void *data, struct mro_error *e);

/* Whether all objects of a PDF that cairo wrote are in it: fonts and contents that it had no memory for are left out
 * (cairo 1.16), and it reports success. */
bool mro_canvas_pdf_whole(const char *p, size_t n);

#endif
