/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Proof and timing of a device: every primitive of the backend table against a reference device, a planted image
 * measured, then stages timed. Answers come before speed: see host/cli/cmd_bench.c. */
#ifndef MRO_OPS_BENCH_H
#define MRO_OPS_BENCH_H

#include "core/backend.h"
#include "mroscope/mro.h"
#include "ops/bench/limits.h"

#define MRO_BENCH_ROWS 48
#define MRO_BENCH_SEED 20 /* streams 1 to 3 make the image, those from 4 what else is read */
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
    double ms;       /* median of the runs */
    double floor_ms; /* below which the machine cannot do it (ops/bench/limits.h); 0 = not counted */
    double pixels;   /* of the image it works for; 0 = does not depend on an image */
    double bytes;    /* moved through memory at least; 0 = not counted */
};

/* One stage of a whole measurement of one image. */
struct mro_bench_part {
    const char *measurement; /* "mro" */
    char name[40];           /* of the primitive; "on the host" for what no primitive does; "all" for the whole */
    double calls;            /* 0 where it makes no sense */
    double ms, floor_ms;     /* 0 = not counted */
};
#define MRO_BENCH_PARTS 160

struct mro_bench {
    struct mro_bench_check check[MRO_BENCH_ROWS];
    size_t checks;
    struct mro_bench_stage stage[MRO_BENCH_ROWS];
    size_t stages;
    struct mro_bench_part part[MRO_BENCH_PARTS];
    size_t parts;
    struct mro_rates rates; /* of the device; all 0 = not known */
};

enum mro_bench_planted { MRO_BENCH_GLASS, MRO_BENCH_CLUSTERS, MRO_BENCH_CRYSTALS };

/* A micrograph of n x n pixels of 0.02 nm: speckle of a glass and, as `planted`, ordered clusters of 1.8 to 2.4 nm over
 * an eighth of the area, or up to sixteen crystals of 4 to 8 nm, seen through a lens of MRO_BENCH_CS_MM. The same image
 * for the same n. `spheres` (n_spheres rows of y, x, diameter in nm; free() it) may be NULL. MRO_EARG (n < 256),
 * MRO_EMEMORY. Release `im`. */
enum mro_code mro_bench_image(size_t n, enum mro_bench_planted planted, struct mro_image *im, double (**spheres)[3],
                              size_t *n_spheres, struct mro_error *e);

/* Area of the spheres inside a region x0 y0 x1 y1 over that of the region. They do not overlap. */
double mro_bench_planted_fraction(double (*spheres)[3], size_t n, const double region[4]);

/* Fills b->check: all primitives and a whole measurement of `d` against `reference`, and planted and empty images
 * against what was planted. `exact`: both run the same backend, and must agree to the byte; else within 1e-4.
 * *passed = every check passed. Errors are those of the primitives. */
enum mro_code mro_bench_prove(struct mro_device *d, struct mro_device *reference, bool exact, struct mro_bench *b,
                              bool *passed, struct mro_error *e);

/* Appends to b->stage the median time of `runs` runs of the plan, of every stage of measuring `im`, and of the whole,
 * the latter after one run that is not counted, with their floors where b->rates is known. `im` must be calibrated. */
enum mro_code mro_bench_time(struct mro_device *d, const struct mro_image *im, int runs, struct mro_bench *b,
                             struct mro_error *e);

/* Appends to b->part how whole measurements of one image split into primitives: `mro` and `bandpass` of `im`, and of
 * made-up data of `n` x `n` pixels `haadf`, `lattice`, `shearband` and `pdf` (a pattern of a stack); n = 0: not those.
 * Each after one run that is not counted; of `runs` runs the one of median time. */
enum mro_code mro_bench_measurements(struct mro_device *d, const struct mro_image *im, size_t n, int runs,
                                     struct mro_bench *b, struct mro_error *e);

/* Appends one stage with the median of `runs` times in seconds; reorders them. `work`: the least of one run; NULL = not
 * counted. */
void mro_bench_add(struct mro_bench *b, const char *name, double *seconds, int runs, double pixels,
                   const struct mro_work *work);

#endif
