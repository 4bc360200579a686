/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Proof and timing of a device: every primitive of the backend table against a reference device, a planted image
 * measured, then stages timed. Answers come before speed: see host/cli/cmd_bench.c. */
#ifndef MRO_OPS_BENCH_H
#define MRO_OPS_BENCH_H

#include "core/backend.h"
#include "mroscope/mro.h"

#define MRO_BENCH_ROWS 48
#define MRO_BENCH_KV 200.0
#define MRO_BENCH_CS_MM 1.2 /* an uncorrected lens: the rings are there to fit, and the phase flip has to work */

/* One thing that was compared. */
struct mro_bench_check {
    char name[40];
    double error, tolerance; /* largest difference over the root mean square of the reference; 0 = the same bytes */
    bool passed;
    char text[120]; /* what was found, where a number says too little; "" else */
};

/* One stage, timed. */
struct mro_bench_stage {
    char name[40];
    double ms;     /* median of the runs */
    double pixels; /* of the image it works for; 0 = does not depend on an image */
    double bytes;  /* moved through memory at least; 0 = not counted */
};

struct mro_bench {
    struct mro_bench_check check[MRO_BENCH_ROWS];
    size_t checks;
    struct mro_bench_stage stage[MRO_BENCH_ROWS];
    size_t stages;
};

/* A micrograph of n x n pixels of 0.02 nm: speckle of a glass and, when `planted`, ordered spheres of 1.8 to 2.4 nm
 * over an eighth of the area, seen through a lens of MRO_BENCH_CS_MM. The same image for the same n. `spheres`
 * (n_spheres rows of y, x, diameter in nm; free() it) may be NULL. MRO_EARG (n < 256), MRO_EMEMORY. Release `im`. */
enum mro_code mro_bench_image(size_t n, bool planted, struct mro_image *im, double (**spheres)[3], size_t *n_spheres,
                              struct mro_error *e);

/* Fills b->check: all primitives and a whole measurement of `d` against `reference`, and planted and empty images
 * against what was planted. `exact`: both run the same backend, and must agree to the byte; else within 1e-4.
 * *passed = every check passed. Errors are those of the primitives. */
enum mro_code mro_bench_prove(struct mro_device *d, struct mro_device *reference, bool exact, struct mro_bench *b,
                              bool *passed, struct mro_error *e);

/* Appends to b->stage the median time of `runs` runs of the plan, of every stage of measuring `im`, and of the whole,
 * the latter after one run that is not counted. `im` must be calibrated. */
enum mro_code mro_bench_time(struct mro_device *d, const struct mro_image *im, int runs, struct mro_bench *b,
                             struct mro_error *e);

/* Seconds of a clock that only runs forward. */
double mro_bench_now(void);

/* Appends one stage with the median of `runs` times in seconds; reorders them. */
void mro_bench_add(struct mro_bench *b, const char *name, double *seconds, int runs, double pixels, double bytes);

#endif
