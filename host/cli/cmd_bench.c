/* SPDX-License-Identifier: GPL-3.0-or-later */
#define _DEFAULT_SOURCE /* mkstemps */
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/inputs.h"
#include "io/json_text.h"
#include "ops/bench/bench.h"

struct bench {
    struct cli_common common;
    int size, runs;
    bool processor_time;
};

static const struct cli_option bench_rows[] = {
    { "size", 0, "N", "", "pixels a side of the synthetic image", CLI_INT, offsetof(struct bench, size), true, 256,
      65536 },
    { "runs", 0, "K", "", "runs of every stage, after one that is not counted; their median is printed", CLI_INT,
      offsetof(struct bench, runs), true, 1, 1000 },
    { "processor-time", 0, NULL, "", "count processor time, on one thread: for a machine that others use as well",
      CLI_FLAG, offsetof(struct bench, processor_time), false, 0, 0 },
};
static const struct cli_option output_rows[] = {
    { "json", 0, NULL, "", "print one JSON object in place of the tables", CLI_FLAG, offsetof(struct cli_common, json),
      false, 0, 0 },
};

static const char about[] =
    "Proves the answers of a device, then times it. Every primitive must agree with the CPU reference within 1e-4 of "
    "its root mean square (the CPU with itself at another number of threads: to the byte), and a synthetic micrograph "
    "must be measured within its interval; if not, nothing is timed and the exit code is 1. Timed are the primitives "
    "at "
    "the sizes of a synthetic micrograph of 0.02 nm pixels, or of the first image of FILE, and whole measurements "
    "split "
    "into primitives. 'floor' is the time below which this machine cannot do it: fewest operations and bytes over what "
    "the machine does at best; 'ratio' is the time over it.";
static const char notes[] = "Examples\n"
                            "  mroscope bench\n"
                            "  mroscope bench --size 4096 --runs 9 --threads 4\n"
                            "  mroscope bench --pixel 0.02 image.tif";

/* Opens the device to prove and the one that it is held against: the CPU, at another number of threads when the
 * device is the CPU itself. */
static int open_devices(const struct bench *opt, struct mro_device **d, struct mro_device **reference, bool *exact)
{
    struct mro_error e;
    struct cli_common common = opt->common;
    if (opt->processor_time) common.threads = 1;
    const int rc = cli_open_device(&common, "bench", d);
    if (rc) return rc;
    (*d)->processor_time = opt->processor_time;
    *exact = strcmp(mro_device_backend(*d), "cpu") == 0;
    if (mro_device_open(reference, "cpu", *exact ? ((*d)->threads == 1 ? 2 : 1) : 0, opt->common.memory, &e) == MRO_OK)
        return 0;
    cli_complain(&e);
    return 1;
}

/* First frame of the first image of a file; the time of opening and decoding goes into the table. */
static enum mro_code read_file(const struct bench *opt, const struct mro_device *d, const char *path,
                               struct mro_bench *b, struct mro_image *im, struct mro_error *e)
{
    double *t = malloc((size_t)opt->runs * sizeof *t);
    struct mro_work work = { 0 };
    enum mro_code rc = MRO_OK;
    if (t == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    for (int k = -1; k < opt->runs && rc == MRO_OK; k++) {
        struct mro_file *f = NULL;
        size_t first = 0;
        mro_image_release(im);
        const double start = mro_seconds(d);
        if ((rc = mro_file_open(&f, path, opt->common.memory, e))) break;
        const size_t n = mro_file_images(f);
        while (first < n && mro_file_info(f, first)->kind != MRO_KIND_IMAGE) first++;
        if (first == n)
            rc = MRO_FAIL(e, MRO_EDATA, "'%s' holds no image to measure; see 'mroscope info'", path);
        else
            rc = mro_file_read(f, first, 0, im, e);
        if (k >= 0) t[k] = mro_seconds(d) - start;
        if (rc == MRO_OK) {
            const double pixels = (double)im->ny * (double)im->nx;
            work = mro_work_read(pixels * (double)mro_dtype_size(mro_file_info(f, first)->dtype), pixels);
        }
        mro_file_close(f);
    }
    if (rc == MRO_OK) mro_bench_add(b, "read and decode", t, opt->runs, (double)im->ny * (double)im->nx, &work);
    if (rc == MRO_OK && opt->common.pixel_nm[0] > 0)
        rc = mro_image_set_pixels_nm(im, (double[]){ opt->common.pixel_nm[1], opt->common.pixel_nm[0] },
                                     MRO_SOURCE_COMMAND_LINE, e);
    double pixel[2];
    if (rc == MRO_OK) rc = mro_image_pixel_nm(im, path, pixel, e);
    free(t);
    return rc;
}

/* A map of the image's size, written as results are. */
static enum mro_code write_map(const struct bench *opt, const struct mro_device *d, const struct mro_image *im,
                               struct mro_bench *b, struct mro_error *e)
{
    const double pixels = (double)im->ny * (double)im->nx;
    const struct mro_work work = mro_work_write(pixels);
    const char *set = getenv("TMPDIR"), *folder = set && *set ? set : "/tmp";
    double *t = malloc((size_t)opt->runs * sizeof *t);
    char path[4096];
    enum mro_code rc = MRO_OK;
    if (t == NULL) return MRO_FAIL(e, MRO_EMEMORY, "out of memory");
    const int n = snprintf(path, sizeof path, "%s/mroscope-bench-XXXXXX.tif", folder);
    const int fd = n > 0 && (size_t)n < sizeof path ? mkstemps(path, 4) : -1;
    if (fd < 0) {
        free(t);
        return MRO_FAIL(e, MRO_EIO, "cannot write to the temporary folder '%s': %s", folder, strerror(errno));
    }
    close(fd);
    for (int k = -1; k < opt->runs && rc == MRO_OK; k++) {
        const double start = mro_seconds(d);
        rc = mro_write_tiff(path, im, e);
        if (k >= 0) t[k] = mro_seconds(d) - start;
    }
    unlink(path);
    if (rc == MRO_OK) mro_bench_add(b, "write a map of the image", t, opt->runs, pixels, &work);
    free(t);
    return rc;
}

static void print_checks(const struct mro_bench *b)
{
    printf("%-32s %-10s %-10s %s\n", "proof", "difference", "allowed", "");
    for (size_t i = 0; i < b->checks; i++) {
        const struct mro_bench_check *c = b->check + i;
        char error[24] = "same bytes", allowed[24] = "";
        if (c->error > 0 || c->tolerance > 0 || isnan(c->tolerance)) snprintf(error, sizeof error, "%.1e", c->error);
        if (!isnan(c->tolerance)) snprintf(allowed, sizeof allowed, "%.3g", c->tolerance);
        printf("%-32s %-10s %-10s %s%s%s\n", c->name, error, allowed, c->passed ? "passed" : "FAILED",
               c->text[0] ? "; " : "", c->text);
    }
}

static void print_row(const char *name, const char *middle, double ms, double floor_ms)
{
    char floor[24] = "", ratio[24] = "";
    if (floor_ms > 0) {
        snprintf(floor, sizeof floor, "%.3f", floor_ms);
        snprintf(ratio, sizeof ratio, "%.1f", ms / floor_ms);
    }
    printf("%-32s %10s %10.2f %10s %8s\n", name, middle, ms, floor, ratio);
}

static void print_stages(const struct mro_bench *b)
{
    if (b->rates.flops > 0) {
        printf("\nthe device at best, %s:\n%.0f Gflop/s float32, %.1f Gflop/s of transforms, %.1f GB/s of memory",
               b->rates.basis, 1e-9 * b->rates.flops, 1e-9 * b->rates.transform, 1e-9 * b->rates.bytes);
        if (b->rates.link > 0) printf(", %.1f GB/s to and from it", 1e-9 * b->rates.link);
        puts("\n(floors: tools/bench/LIMITS.md)");
    }
    printf("\n%-32s %10s %10s %10s %8s\n", "stage", "Mpixel/s", "ms", "floor ms", "ratio");
    for (size_t i = 0; i < b->stages; i++) {
        const struct mro_bench_stage *s = b->stage + i;
        char rate[24] = "";
        if (s->pixels > 0) snprintf(rate, sizeof rate, "%.1f", 1e-3 * s->pixels / s->ms);
        print_row(s->name, rate, s->ms, s->floor_ms);
    }
    const char *last = "";
    for (size_t i = 0; i < b->parts; i++) {
        const struct mro_bench_part *p = b->part + i;
        char calls[24] = "";
        if (strcmp(last, p->measurement) != 0)
            printf("\n%-32s %10s %10s %10s %8s\n", p->measurement, "calls", "ms", "floor ms", "ratio");
        last = p->measurement;
        if (p->calls > 0) snprintf(calls, sizeof calls, "%.0f", p->calls);
        print_row(p->name, calls, p->ms, p->floor_ms);
    }
}

static json_t *number(double v) { return isfinite(v) && v >= 0 ? json_real(v) : json_null(); }

static json_t *bench_json(const struct bench *opt, const struct mro_bench *b, const struct mro_device *d,
                          const char *file, const struct mro_image *im, bool passed)
{
    json_t *proof = json_array(), *stages = json_array(), *parts = json_array();
    for (size_t i = 0; i < b->checks; i++) {
        const struct mro_bench_check *c = b->check + i;
        json_array_append_new(proof,
                              json_pack("{s:s, s:o, s:o, s:b, s:s}", "name", c->name, "difference", number(c->error),
                                        "allowed", number(c->tolerance), "passed", (int)c->passed, "text", c->text));
    }
    for (size_t i = 0; i < b->stages; i++) {
        const struct mro_bench_stage *s = b->stage + i;
        json_array_append_new(stages, json_pack("{s:s, s:f, s:o, s:o, s:o}", "name", s->name, "ms", s->ms, "floor_ms",
                                                number(s->floor_ms > 0 ? s->floor_ms : NAN), "mpixel_per_s",
                                                number(s->pixels > 0 ? 1e-3 * s->pixels / s->ms : NAN), "gb_per_s",
                                                number(s->bytes > 0 ? 1e-6 * s->bytes / s->ms : NAN)));
    }
    for (size_t i = 0; i < b->parts; i++) {
        const struct mro_bench_part *p = b->part + i;
        json_array_append_new(parts, json_pack("{s:s, s:s, s:o, s:f, s:o}", "measurement", p->measurement, "stage",
                                               p->name, "calls", number(p->calls > 0 ? p->calls : NAN), "ms", p->ms,
                                               "floor_ms", number(p->floor_ms > 0 ? p->floor_ms : NAN)));
    }
    const bool known = b->rates.flops > 0;
    json_t *rates = json_pack("{s:o, s:o, s:o, s:o, s:s}", "gflop_per_s", number(known ? 1e-9 * b->rates.flops : NAN),
                              "transform_gflop_per_s", number(known ? 1e-9 * b->rates.transform : NAN),
                              "memory_gb_per_s", number(known ? 1e-9 * b->rates.bytes : NAN), "link_gb_per_s",
                              number(b->rates.link > 0 ? 1e-9 * b->rates.link : NAN), "basis", b->rates.basis);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:b, s:s?, s:[I,I], s:i, s:b, s:o, s:o, s:o, s:o}", "schema",
                     "mroscope.bench/1", "version", mro_version(), "commit", mro_commit(), "backend",
                     mro_device_backend(d), "device", mro_device_description(d), "threads", d->threads,
                     "processor_time", (int)d->processor_time, "file", file, "shape", (json_int_t)im->ny,
                     (json_int_t)im->nx, "runs", opt->runs, "proven", (int)passed, "proof", proof, "rates", rates,
                     "stages", stages, "measurements", parts);
}

static enum mro_code run(const struct bench *opt, const char *file, struct mro_device *d, struct mro_device *reference,
                         bool exact, struct mro_error *e)
{
    struct mro_bench b = { .checks = 0 };
    struct mro_image im = { 0 };
    bool passed = false;
    enum mro_code rc = d->ops->rates ? d->ops->rates(d, &b.rates, e) : MRO_OK;
    if (rc == MRO_OK && file) rc = read_file(opt, d, file, &b, &im, e);
    if (rc == MRO_OK && !opt->common.json)
        printf("backend %s, %d thread%s (%s)\n\n", mro_device_backend(d), d->threads, d->threads == 1 ? "" : "s",
               mro_device_description(d));
    if (rc == MRO_OK) rc = mro_bench_prove(d, reference, exact, &b, &passed, e);
    if (rc == MRO_OK && !opt->common.json) print_checks(&b);
    fflush(stdout);
    if (rc == MRO_OK && passed && !file)
        rc = mro_bench_image((size_t)opt->size, MRO_BENCH_CLUSTERS, &im, NULL, NULL, e);
    if (rc == MRO_OK && passed) rc = mro_bench_time(d, &im, opt->runs, &b, e);
    if (rc == MRO_OK && passed) rc = write_map(opt, d, &im, &b, e);
    if (rc == MRO_OK && passed) rc = mro_bench_measurements(d, &im, file ? 0 : (size_t)opt->size, opt->runs, &b, e);
    if (rc == MRO_OK && passed && !opt->common.json) {
        print_stages(&b);
        printf("\nmedian of %d runs, image of %zu x %zu pixels\n", opt->runs, im.nx, im.ny);
    }
    if (rc == MRO_OK && opt->common.json) {
        json_t *v = bench_json(opt, &b, d, file, &im, passed);
        char *text = v ? mro_json_text(v, false, e) : NULL;
        if (text)
            fputs(text, stdout);
        else
            rc = v ? e->code : MRO_FAIL(e, MRO_EMEMORY, "out of memory");
        free(text);
        json_decref(v);
    }
    if (rc == MRO_OK && !passed)
        rc = MRO_FAIL(e, MRO_EINTERNAL, "backend '%s' gives other answers than it should: nothing was timed",
                      mro_device_backend(d));
    mro_image_release(&im);
    return rc;
}

int cmd_bench(int argc, char **argv)
{
    struct bench opt = { .size = 2048, .runs = 5 };
    const struct cli_group groups[] = {
        { "Benchmark", bench_rows, sizeof bench_rows / sizeof *bench_rows, &opt },
        { "Input", cli_input_options, 1, &opt.common },
        { "Computing", cli_run_options, cli_n_run_options, &opt.common },
        { "Output", output_rows, 1, &opt.common },
    };
    const struct cli_usage usage = { "bench", "[FILE]", about, notes, groups, sizeof groups / sizeof *groups };
    struct mro_device *d = NULL, *reference = NULL;
    struct cli_args args;
    struct mro_error e;
    bool exact = true;
    int rc = cli_parse(&usage, argc, argv, &args);
    if (rc < 0 && args.n > 1) {
        cli_put(stderr, "mroscope: 'bench' times one file, but got '%s' too; try 'mroscope bench --help'\n",
                args.files[1]);
        rc = 2;
    }
    if (rc < 0) {
        rc = open_devices(&opt, &d, &reference, &exact);
        if (rc == 0 && run(&opt, args.n ? args.files[0] : NULL, d, reference, exact, &e) != MRO_OK) {
            fflush(stdout);
            cli_complain(&e);
            rc = 1;
        }
    }
    mro_device_close(reference);
    mro_device_close(d);
    cli_args_release(&args);
    return rc;
}
