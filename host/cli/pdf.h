/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Parts of the verb pdf. */
#ifndef MRO_CLI_PDF_H
#define MRO_CLI_PDF_H

#include "cli/values.h"
#include "cli/verb.h"
#include "mroscope/pdf.h"
#include "mroscope/saed.h"

struct cli_pdf {
    struct cli_run run;
    struct mro_pdf_options o;
    struct mro_saed_options saed;
    struct mro_profile_options table;
    const char *composition, *mask, *reference, *values_text;
    int damping, abscissa, radiation;
    bool whole_mask, each, frame_figures;
    int frame_draws;
    struct cli_numbers centre, ellipse;
    int standard; /* enum mro_standard */
    const char *standard_file, *ellipse_file;
    struct mro_saed_standard calibrated;
    char standard_sha256[65], ellipse_sha256[65], step_text[200];
    size_t standard_shape[2]; /* ny, nx; 0 = there is none */
    bool have_geometry;       /* standard and ellipse are read */

    struct cli_values values; /* of the series */
    bool have_reference;
    struct mro_pdf_result against; /* the reference's */
    char reference_sha256[65];
    struct mro_image mask_image;
    unsigned char *mask_pixels;
    struct mro_profile *frame; /* of one stack, for taking them together */
    size_t n_frames;
    struct mro_saed_result stack; /* the mean of frames of the image that is being measured */
    bool have_stack;
    char *stack_why; /* NULL, or why its frames are fitted one by one */
    struct mro_saed_plan *plan[CLI_PLACES];
    struct mro_pdf_tables *tables[CLI_PLACES]; /* o.tables are those of CLI_CHOSEN */
    struct mro_pdf_windows stack_windows;      /* of that mean, for all frames that share its geometry; 0 = none */
    struct mro_pdf_series series;
    struct cli_file_id *ids;
};

/* One result on its way. */
struct cli_pdf_one {
    struct mro_saed_result saed;
    struct mro_profile table;
    struct mro_pdf_result pdf;
    struct mro_pdf_difference difference;
    struct mro_pdf_report report;
    char **warnings;
    size_t n_warnings;
};

/* -- pdf_patterns.c: measuring -------------------------------------------------------------------------- */

void cli_pdf_release(void *one);
void cli_pdf_forget_stack(struct cli_pdf *s);

/* From the profile on. A pattern without composition, or without a halo, still has its geometry and its profile. */
enum mro_code cli_pdf_from_profile(struct cli_pdf *s, const struct mro_profile *p, const struct mro_profile *shifted,
                                   const char *name, const struct mro_pdf_options *o, struct cli_pdf_one *r,
                                   struct mro_error *e);

/* A pattern, and with `shift` once more beside its centre. `r->saed` is filled already where `planned`. */
enum mro_code cli_pdf_measure_pattern(struct cli_pdf *s, struct mro_device *d, const struct mro_image *im,
                                      const char *name, bool shift, bool planned, const struct mro_pdf_options *numbers,
                                      struct cli_pdf_one *r, struct mro_error *e);

/* A frame by what its stack shares; *planned is false when it has to be fitted by itself. */
enum mro_code cli_pdf_measure_frame(struct cli_pdf *s, enum cli_place place, const struct cli_item *item,
                                    struct cli_pdf_one *r, bool *planned, struct mro_error *e);

/* -- pdf_beside.c: reading ------------------------------------------------------------------------------ */

bool cli_pdf_is_table(const char *path);
enum mro_code cli_pdf_read_table(struct cli_pdf *s, const char *path, struct mro_profile *p, char sha256[65],
                                 struct mro_error *e);

/* What options name, each once for the life of `s`; nothing where they name none. */
enum mro_code cli_pdf_read_mask(struct cli_pdf *s, struct mro_error *e);

/* Scale and ellipse from the patterns that were given for them. */
enum mro_code cli_pdf_read_geometry(struct cli_pdf *s, struct mro_error *e);

/* The state that differences are given to, whose windows the others take. */
enum mro_code cli_pdf_measure_reference(struct cli_pdf *s, struct mro_error *e);

#endif
