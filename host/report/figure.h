/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The figures of mroscope: one page as PNG (300 dpi), SVG and PDF.
 *
 * All take a path without suffix and write <path_stem>.png, .svg and .pdf, complete or none of them. `width_mm` is that
 * of the page, from MRO_FIGURE_LEAST to MRO_FIGURE_MOST: type, lines and scale bars stay as large as they are, and
 * narrower pages have fewer panels side by side.
 * Inputs are read only. Errors: MRO_EIO naming the file that cannot be written, MRO_EMEMORY.
 * Threads: calls are independent of each other.
 */
#ifndef MRO_REPORT_FIGURE_H
#define MRO_REPORT_FIGURE_H

#include "mroscope/crystal.h"
#include "mroscope/eds.h"
#include "mroscope/haadf.h"
#include "mroscope/image.h"
#include "mroscope/indent.h"
#include "mroscope/mro.h"
#include "mroscope/shearband.h"
#include "report/json.h"

#define MRO_FIGURE_WIDTH 180.0 /* two columns of a journal */
#define MRO_FIGURE_LEAST 80.0  /* one column */
#define MRO_FIGURE_MOST 190.0

/* The MRO measurement of one frame: (a) `im` with the objects of `r`, (b) the band-passed image, (c) the
 * score map, (d) autocorrelations of the strongest cells, (e) survival of the score; the numbers below.
 * r->filtered covers the same field as `im`, on any grid. Where the field is so large that fringes would be
 * finer than print, (b) shows a part around the strongest cell, marked in (a).
 * `title` (file and frame; may be NULL) opens the caption. Any part of `r` may be empty, as after a
 * constant image: its panel and its number read "not measured". */
enum mro_code mro_figure_order(const char *path_stem, double width_mm, const struct mro_image *im, const char *title,
                               const struct mro_order_result *r, struct mro_error *e);

/* The heterogeneity of one frame: (a) `im`, (b) its contrast with the outlines of regions that are more than chance,
 * (c) histogram in the band, (d) radial spectrum with the band of a falling one, (e) autocorrelation; the numbers
 * below. */
enum mro_code mro_figure_haadf(const char *path_stem, double width_mm, const struct mro_image *im, const char *title,
                               const struct mro_haadf_result *r, struct mro_error *e);

/* The crystals of one frame: (a) `im` with each outlined and numbered, (b) its spectrum with the spots indexed, (c) the
 * image of the spots alone, (d to g) the strain of a part with the largest crystals; the numbers below. */
enum mro_code mro_figure_lattice(const char *path_stem, double width_mm, const struct mro_image *im, const char *title,
                                 const struct mro_crystal_result *r, const struct mro_crystal_options *o,
                                 struct mro_error *e);

/* An image before and after a band-pass of `band_inv_nm` (1/d in nm^-1), side by side; of fields too
 * large for their fringes to print, the middle. */
enum mro_code mro_figure_image(const char *path_stem, double width_mm, const struct mro_image *before,
                               const struct mro_image *after, const double band_inv_nm[2], const char *title,
                               struct mro_error *e);

/* Composition along a line: for each element (six at most) the profile with what counting alone would scatter, and its
 * spectrum with red noise and the best wave; below, where there are maps, the maps with the line (three at most), the
 * HAADF image with bright and dark regions outlined, and what the composition of bright regions differs by.
 * `maps` and `haadf` may be NULL. */
enum mro_code mro_figure_eds(const char *path_stem, double width_mm, const char *title, const struct mro_eds_report *r,
                             const struct mro_eds_field *maps, const struct mro_image *haadf, struct mro_error *e);

/* Shear bands: (a) `im` with centre lines and edges of the bands and their segments; then for each band (four at most)
 * the straightened band, its mean profile with the fit, and width and depth along it, or (with maps) the composition
 * across it. Without bands the image alone, and the verdict. */
enum mro_code mro_figure_shearband(const char *path_stem, double width_mm, const struct mro_image *im,
                                   const char *title, const struct mro_shearband_result *r, struct mro_error *e);

/* Indents: (a) the map on its own grid, holes hatched, contour lines where neighbours are alike; (b) histogram with the
 * Gaussian and the kernel estimate; (c) each value against the mean of its neighbours; (d) means and widths against the
 * distance from an edge, where bins were made. */
enum mro_code mro_figure_indent(const char *path_stem, double width_mm, const char *title,
                                const struct mro_indent_result *r, struct mro_error *e);

/* States compared by one metric: (a) means with intervals, single images as dots, (b) ratios to the reference with p,
 * (c) the trend with strain or another value where there is one; the sentences below. `title` may be NULL. */
enum mro_code mro_figure_compare(const char *path_stem, double width_mm, const char *title,
                                 const struct mro_compare_report *c, struct mro_error *e);

/* A pair distribution: (a) the pattern with centre, ellipse through the first halo and what is left out, (b) the mean
 * around the centre with its fit, (c) S(Q), (d) G(r) with its 95 % band, (e) the second shell with its modes, (f) the
 * first halo by direction; panels without data are left out. `im` is the pattern (NULL = a table). A report with a
 * series alone gives first moment, area of the first sharp peak, and areas of shells against value. */
enum mro_code mro_figure_pdf(const char *path_stem, double width_mm, const struct mro_image *im, const char *title,
                             const struct mro_pdf_report *r, struct mro_error *e);

#endif
