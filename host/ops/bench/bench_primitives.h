/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A call of every primitive of the backend table, at the sizes of one image: what the proof compares and the benchmark
 * times. */
#ifndef MRO_OPS_BENCH_PRIMITIVES_H
#define MRO_OPS_BENCH_PRIMITIVES_H

#include "core/backend.h"
#include "mroscope/mro.h"

/* One image on one device, with what the primitives read and where they write. */
struct mro_bed {
    struct mro_device *d;
    const struct mro_image *im;
    struct mro_grid grid, cells;
    const struct mro_order_plan *plan;
    double pixel[2];
    struct mro_buffer spectrum, field;                              /* read */
    struct mro_buffer complex_out, plane_out, cells_out, which_out; /* written */
    float *gain;                                                    /* host, grid */
    float *filtered;                                                /* host, image */
    struct mro_patch *start, *patches;                              /* host */
    double (*at)[2];                                                /* host: their places */
    float *tiles, *fringes;                                         /* host */
    float *plane;                                                   /* host: the field, to be divided */
    float *counted;                                                 /* host: sums and counts */
    size_t n_counted;
    size_t n_patches, n_tiles;
};

/* The first six are written on the device, the others on the host. */
enum mro_bench_output {
    BENCH_COMPLEX,
    BENCH_WINDOW,
    BENCH_SLOPES,
    BENCH_PLANE,
    BENCH_CELLS,
    BENCH_BANK,
    BENCH_PATCHES,
    BENCH_IMAGE,
    BENCH_TILED,
    BENCH_FRINGES,
    BENCH_COUNTED
};

struct mro_bench_primitive {
    const char *name;
    enum mro_code (*call)(struct mro_bed *b, int k, struct mro_error *e);
    int k; /* window of the bank */
    enum mro_bench_output output;
};
enum { MRO_BENCH_PRIMITIVES = 25 };
extern const struct mro_bench_primitive mro_bench_primitives[MRO_BENCH_PRIMITIVES];

static inline size_t mro_bed_samples(const struct mro_grid *g) { return g->ny * g->nx; }

/* A bed for the image, which is calibrated, and the plan; both are kept by their addresses. */
enum mro_code mro_bed_make(struct mro_bed *b, struct mro_device *d, const struct mro_image *im,
                           const struct mro_order_plan *plan, struct mro_error *e);
void mro_bed_free(struct mro_bed *b); /* {0} is fine */

/* Fills what the primitives of `to` read, by the device of `from`: the same numbers for all devices. */
enum mro_code mro_bed_inputs(struct mro_bed *from, struct mro_bed *to, struct mro_error *e);

/* The spectrum of the contrast, of which the rings of the lens are fitted: one of the calls. */
enum mro_code mro_bed_contrast(struct mro_bed *b, int k, struct mro_error *e);

/* Waits for a device that runs behind its calls. */
enum mro_code mro_bed_settle(struct mro_bed *b, enum mro_bench_output o, struct mro_error *e);

/* What a primitive wrote, as floats on the host; free() it. The choices of a bank follow its powers;
 * slopes are weighted by the power of their fringes. */
enum mro_code mro_bed_collect(struct mro_bed *b, enum mro_bench_output o, float **v, size_t *n, struct mro_error *e);

#endif
