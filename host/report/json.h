/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Results as JSON and CSV, in the order and under the names of the output contract: same result, same
 * bytes. Numbers are written with the fewest digits that read back exactly; NaN is null. */
#ifndef MRO_REPORT_JSON_H
#define MRO_REPORT_JSON_H

#include <jansson.h>

#include "core/provenance.h"
#include "mroscope/align.h"
#include "mroscope/bandpass.h"
#include "mroscope/crystal.h"
#include "mroscope/eds.h"
#include "mroscope/file.h"
#include "mroscope/haadf.h"
#include "mroscope/indent.h"
#include "mroscope/mro.h"
#include "mroscope/pdf.h"
#include "mroscope/saed.h"
#include "mroscope/shearband.h"
#include "report/compare_text.h"

/* What every result says beside its own numbers. Nothing is owned. */
struct mro_result_head {
    const char *verb;
    const char *file; /* as given */
    size_t image;     /* index in the file */
    bool has_frame;   /* false: all frames together, "frame": null */
    size_t frame;
    const struct mro_image_info *info;
    double pixel_nm[2]; /* y, x; NaN = unknown */
    const char *const *warnings;
    size_t n_warnings;
    const struct mro_provenance *provenance;
    json_t *options; /* borrowed; NULL = none */
};

/* Each returns a new object, or NULL with MRO_EMEMORY in `e`. The caller drops it with json_decref. */
json_t *mro_json_order(const struct mro_result_head *h, const struct mro_order_result *r, struct mro_error *e);
json_t *mro_json_bandpass(const struct mro_result_head *h, const struct mro_bandpass_options *o,
                          const struct mro_bandpass_result *r, struct mro_error *e);
/* Files that a result of several was made from: what each is, its name, its checksum. */
struct mro_result_inputs {
    size_t n;
    const char *const *role, *const *file, *const *sha256;
};
/* What an EDS result was made from, and its parts. Parts that are NULL are null. */
struct mro_eds_report {
    const struct mro_eds_result *along;
    const struct mro_eds_line *line; /* of maps; with `across_line` and `across` for the line at a right angle */
    const struct mro_eds_line *across_line;
    const struct mro_eds_result *across;
    struct mro_eds_alike {
        double r, p;               /* correlation of the two lines, and its p */
    } alike[MRO_EDS_MAX_ELEMENTS]; /* of each element, with `across` */
    const struct mro_eds_groups *groups;
    struct mro_result_inputs inputs;
};
json_t *mro_json_eds(const struct mro_result_head *h, const struct mro_eds_report *r, struct mro_error *e);
json_t *mro_json_haadf(const struct mro_result_head *h, const struct mro_haadf_result *r, struct mro_error *e);
/* `o`: what the result was measured with; its phases are named. */
json_t *mro_json_crystals(const struct mro_result_head *h, const struct mro_crystal_result *r,
                          const struct mro_crystal_options *o, struct mro_error *e);
/* What a pair distribution was made from, and its parts; parts that are NULL are null. */
struct mro_pdf_report {
    const struct mro_saed_result *pattern; /* NULL: a table */
    const struct mro_profile *profile;
    const struct mro_pdf_result *pdf;
    const struct mro_composition *composition;
    const struct mro_pdf_difference *difference;
    const struct mro_pdf_result *reference; /* that `difference` is to; drawn beside the result */
    const char *reference_file, *reference_sha256;
    const struct mro_pdf_series *series;
    const struct mro_saed_standard *standard; /* that gave scale and ellipse; NULL: none */
    const char *standard_name, *standard_file, *standard_sha256;
    const char *ellipse_file, *ellipse_sha256; /* pattern that gave the ellipse; NULL: none */
    const char *step_text;                     /* the calibration in words, in place of the pattern's; may be NULL */
};
json_t *mro_json_pdf(const struct mro_result_head *h, const struct mro_pdf_report *r, struct mro_error *e);
json_t *mro_json_indent(const struct mro_result_head *h, const struct mro_indent_result *r, struct mro_error *e);
/* `maps` are the files of maps, or NULL. */
json_t *mro_json_shearband(const struct mro_result_head *h, const struct mro_shearband_result *r,
                           const struct mro_result_inputs *maps, struct mro_error *e);
/* One metric of a comparison; `h` says verb, file (the folder or table), warnings, provenance and options. */
json_t *mro_json_compare(const struct mro_result_head *h, const struct mro_compare_report *c, struct mro_error *e);
/* `statistics` has one entry an image, or is NULL when pixels were not decoded (numbers are null). */
json_t *mro_json_info(const struct mro_result_head *h, const struct mro_file *f,
                      const struct mro_statistics *statistics, struct mro_error *e);
/* `output` is the file written, of `frames` frames. */
json_t *mro_json_convert(const struct mro_result_head *h, const char *output, size_t frames, struct mro_error *e);
json_t *mro_json_devices(struct mro_error *e);

/* Tables of an MRO result as RFC 4180 text; free() it. NULL when out of memory. */
char *mro_csv_objects(const struct mro_order_result *r, struct mro_error *e);
char *mro_csv_sweep(const struct mro_order_result *r, struct mro_error *e);
char *mro_csv_survival(const struct mro_order_result *r, struct mro_error *e);

/* Tables of an EDS result: the points (at.%, its standard deviation by counting), and the spectra. */
char *mro_csv_eds_profile(const struct mro_eds_result *r, struct mro_error *e);
char *mro_csv_eds_spectrum(const struct mro_eds_result *r, struct mro_error *e);

/* A line for every set of fringes of every crystal, likewise. */
char *mro_csv_crystals(const struct mro_crystal_result *r, const struct mro_crystal_options *o, struct mro_error *e);
/* Tables of a pair distribution: the profile, S(Q), G(r), differences to a reference, a series. */
char *mro_csv_pdf_profile(const struct mro_profile *p, struct mro_error *e);
char *mro_csv_pdf_S(const struct mro_pdf_result *r, const struct mro_pdf_difference *d, struct mro_error *e);
char *mro_csv_pdf_G(const struct mro_pdf_result *r, const struct mro_pdf_difference *d, struct mro_error *e);
char *mro_csv_pdf_series(const struct mro_pdf_series *s, struct mro_error *e);
/* Tables of indents: places with the mean of their neighbours; bins of distance. Lengths in um, or columns and rows. */
char *mro_csv_indent_places(const struct mro_indent_result *r, struct mro_error *e);
char *mro_csv_indent_bins(const struct mro_indent_result *r, struct mro_error *e);

/* Tables of shear bands: mean profiles along the normals with their fits, segments along the bands, and (with maps) the
 * composition across them. */
char *mro_csv_shearband_profile(const struct mro_shearband_result *r, struct mro_error *e);
char *mro_csv_shearband_segments(const struct mro_shearband_result *r, struct mro_error *e);
char *mro_csv_shearband_elements(const struct mro_shearband_result *r, struct mro_error *e);

/* Shifts of the frames of an aligned stack, likewise. In pixels, and in nm where pixel_nm (y, x) is a number. */
char *mro_csv_shifts(const struct mro_frame_shift *s, size_t n, const double pixel_nm[2], struct mro_error *e);

/* Sources of both axes in words: "ImageJ", or "vendor metadata (y), unknown (x)". */
void mro_calibration_text(const struct mro_axis *y, const struct mro_axis *x, char *text, size_t size);

#endif
