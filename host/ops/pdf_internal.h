/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Parts of the pair distribution measurement: the frame that everything is computed in, and the numbers read off. */
#ifndef MRO_OPS_PDF_INTERNAL_H
#define MRO_OPS_PDF_INTERNAL_H

#include "mroscope/pdf.h"

#define MRO_PDF_MAX_TERMS (2 + MRO_PDF_DEGREE) /* of the normalisation: 1/N, C/N, the polynomial */

/* What depends on ranges, composition and density, not on intensities. Arrays are owned. */
struct mro_pdf_frame {
    size_t n;       /* points of the fit */
    size_t nt;      /* of them are transformed, from the first on */
    size_t first;   /* of the profile's points */
    bool normalise; /* false: the values are S(Q) */
    size_t terms;   /* that are fitted */
    double *Q, *s_inv_nm;
    double *f1_2, *ratio; /* <f>^2 in A^2; <f^2> / <f>^2 */
    double *basis;        /* terms * n: what the terms add to S; row 0 is to be multiplied by intensities */
    size_t nr;
    double *r, *T, *low0, *low1; /* G = T (S - 1) + low1 S[0] + low0; T is nr * nt */
    size_t nl;                   /* low r: the same over the whole fit, damped after Lorch */
    double *rl, *Tl, *low0l, *low1l;
    size_t tail; /* first point of it */
    double density_A3, r_min;
    double slow; /* size of the slow background's terms in S that needs no other reason */
};

/* Numbers that are read off one S(Q) and G(r), in this order. */
enum {
    PDF_FSDP_Q,
    PDF_FSDP_MOMENT,
    PDF_FSDP_AREA,
    PDF_FSDP_FWHM,
    PDF_SHELL,                                  /* r, height, area of each */
    PDF_SPLIT = PDF_SHELL + 3 * MRO_PDF_SHELLS, /* dip, distance */
    PDF_SMALL = PDF_SPLIT + 2,                  /* height of each */
    PDF_COORDINATION = PDF_SMALL + MRO_PDF_SMALL,
    PDF_SQUARE, /* mean square of G over beyond_A */
    PDF_NUMBERS
};

/* Where numbers are read off, beside the windows. */
struct mro_pdf_places {
    struct mro_pdf_windows w;
    double beyond[2];
    double split[3];                /* r of the two maxima and of the dip; split[0] 0 = none */
    double small[MRO_PDF_SMALL][3]; /* r of the maximum and of the higher minimum beside it; small[i][0] 0 = none */
    double coordination[2];         /* from, to; 0, 0 = not allowed */
    double density_A3;
};

/* Reads all numbers; S over f->Q, G over f->r (f->Q may be empty when only G is known). */
void mro_pdf_read(const struct mro_pdf_frame *f, const double *S, const double *G, const struct mro_pdf_places *p,
                  double number[PDF_NUMBERS]);

/* The window of the first sharp peak around Q1: the minima to either side. Then the shells: first near r1. */
void mro_pdf_find_peak(const struct mro_pdf_frame *f, const double *S, double Q1, double window[2]);
size_t mro_pdf_find_shells(const struct mro_pdf_frame *f, const double *G, double r1, double resolution_A,
                           double shell[MRO_PDF_SHELLS][2]);

/* Splitting of the second shell, and shallow maxima near 4 and 7 Angstrom. */
void mro_pdf_find_small(const struct mro_pdf_frame *f, const double *G, struct mro_pdf_places *p);

/* Value of a curve at x by straight lines between its points; NaN outside. */
double mro_pdf_at(const double *x, const double *y, size_t n, double at);

/* Weight of Q in the transform. */
double mro_pdf_weight(enum mro_damping damping, double damping_A2, double Q, double Q_max);

/* Full width at half maximum of a sharp distance after it. */
double mro_pdf_resolution(enum mro_damping damping, double damping_A2, double Q_max);

/* Cholesky's factor of a symmetric matrix (m * m, lower half used) in its place; false when it is not positive
 * definite. Then solves for b in its place. */
bool mro_pdf_factor(double *A, size_t m);
void mro_pdf_solve(const double *factor, size_t m, double *b);

/* A number with its errors: 95 % by Student's t with `dof` degrees of freedom. */
struct mro_pdf_number mro_pdf_number_of(double value, double se, double dof);

#endif
