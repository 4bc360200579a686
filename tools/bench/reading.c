/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How fast files are read, beside `cat FILE > /dev/null`. See reading.sh. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mroscope/file.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void stop(const char *sentence)
{
    fprintf(stderr, "reading: %s\n", sentence);
    exit(1);
}

/* ---- files ---- */

enum { EDGE = 4096, FRAMES = 16 };

static void put(FILE *f, const void *p, size_t n)
{
    if (fwrite(p, 1, n, f) != n) stop("cannot write");
}

static void put_number(FILE *f, uint64_t v, size_t bytes, bool big)
{
    for (size_t i = 0; i < bytes; i++) fputc((int)(v >> 8 * (big ? bytes - 1 - i : i) & 0xff), f);
}

enum type { U8, U16, I32, F32 };

/* Counts around 1000 (100 in a byte), from a generator of multiplications. */
static void put_frames(FILE *f, enum type type, bool big)
{
    const size_t bytes = type == U8 ? 1 : type == U16 ? 2 : 4;
    unsigned char *row = malloc(EDGE * bytes);
    if (row == NULL) stop("no memory");
    uint64_t state = 1;
    for (size_t y = 0; y < (size_t)EDGE * FRAMES; y++) {
        for (size_t x = 0; x < EDGE; x++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            uint32_t v = (type == U8 ? 68u : 936u) + (uint32_t)(state >> 58) + (uint32_t)(state >> 52 & 63);
            const float value = (float)v;
            if (type == F32) memcpy(&v, &value, 4);
            for (size_t i = 0; i < bytes; i++) row[x * bytes + i] = (unsigned char)(v >> 8 * (big ? bytes - 1 - i : i));
        }
        put(f, row, EDGE * bytes);
    }
    free(row);
}

static void write_mrc(FILE *f, enum type type, bool big)
{
    static const int modes[] = { [U8] = 0, [U16] = 6, [F32] = 2 };
    const uint32_t head[][2] = { { 0, EDGE }, { 1, EDGE }, { 2, FRAMES }, { 3, (uint32_t)modes[type] },
                                 { 7, EDGE }, { 8, EDGE }, { 9, FRAMES }, { 16, 1 },
                                 { 17, 2 },   { 18, 3 },   { 27, 20140 } };
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t v = 0;
        for (size_t k = 0; k < sizeof head / sizeof *head; k++)
            if (head[k][0] == i) v = head[k][1];
        if (i == 52)
            put(f, "MAP ", 4);
        else if (i == 53)
            put(f, big ? "\x11\x11\0\0" : "\x44\x44\0\0", 4);
        else
            put_number(f, v, 4, big);
    }
    put_frames(f, type, big);
}

/* One directory a frame, behind the pixels of all. */
static void write_tiff(FILE *f, enum type type, bool big)
{
    static const unsigned bits[] = { 8, 16, 32, 32 }, format[] = { 1, 1, 2, 3 };
    const uint64_t frame = (uint64_t)EDGE * EDGE * bits[type] / 8;
    put(f, big ? "MM\0+\0\b\0\0" : "II+\0\b\0\0\0", 8);
    put_number(f, 16 + frame * FRAMES, 8, big);
    put_frames(f, type, big);
    for (uint64_t i = 0; i < FRAMES; i++) {
        const uint64_t entry[][2] = { { 256, EDGE },  { 257, EDGE },           { 258, bits[type] }, { 259, 1 },
                                      { 262, 1 },     { 273, 16 + i * frame }, { 277, 1 },          { 278, EDGE },
                                      { 279, frame }, { 339, format[type] } };
        const size_t n = sizeof entry / sizeof *entry;
        put_number(f, n, 8, big);
        for (size_t k = 0; k < n; k++) {
            put_number(f, entry[k][0], 2, big);
            put_number(f, 16, 2, big);
            put_number(f, 1, 8, big);
            put_number(f, entry[k][1], 8, big);
        }
        put_number(f, i + 1 < FRAMES ? 16 + frame * FRAMES + (i + 1) * (16 + 20 * n) : 0, 8, big);
    }
}

static void put_tag(FILE *f, int kind, const char *name)
{
    fputc(kind, f);
    put_number(f, strlen(name), 2, true);
    put(f, name, strlen(name));
    put_number(f, 0, 8, true); /* its length, which no reader needs */
}

static void put_group(FILE *f, const char *name, uint64_t tags)
{
    put_tag(f, 20, name);
    put_number(f, 0x0100, 2, true);
    put_number(f, tags, 8, true);
}

static void put_u32(FILE *f, const char *name, uint32_t v, bool big)
{
    put_tag(f, 21, name);
    put(f, "%%%%", 4);
    put_number(f, 1, 8, true);
    put_number(f, 5, 8, true);
    put_number(f, v, 4, big);
}

static void write_dm4(FILE *f, enum type type, bool big)
{
    static const unsigned code[] = { 6, 10, 7, 2 }, element[] = { 10, 4, 3, 6 };
    put_number(f, 4, 4, true);
    put_number(f, 0, 8, true);
    put_number(f, !big, 4, true);
    put_number(f, 0x0100, 2, true);
    put_number(f, 1, 8, true);
    put_group(f, "ImageList", 1);
    put_group(f, "", 1);
    put_group(f, "ImageData", 3);
    put_u32(f, "DataType", code[type], big);
    put_group(f, "Dimensions", 3);
    put_u32(f, "", EDGE, big);
    put_u32(f, "", EDGE, big);
    put_u32(f, "", FRAMES, big);
    put_tag(f, 21, "Data");
    put(f, "%%%%", 4);
    put_number(f, 3, 8, true);
    put_number(f, 20, 8, true);
    put_number(f, element[type], 8, true);
    put_number(f, (uint64_t)EDGE * EDGE * FRAMES, 8, true);
    put_frames(f, type, big);
}

static void make(const char *path)
{
    static const struct {
        const char *name;
        enum type type;
    } types[] = { { "u8", U8 }, { "u16", U16 }, { "i32", I32 }, { "f32", F32 } };
    const char *base = strrchr(path, '/'), *suffix = strrchr(path, '.');
    base = base ? base + 1 : path;
    FILE *f = fopen(path, "wb");
    if (f == NULL || suffix == NULL) stop("cannot write");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strncmp(base, types[i].name, strlen(types[i].name)) != 0) continue;
        const bool big = strstr(base, "-be") != NULL;
        (strcmp(suffix, ".mrc") == 0   ? write_mrc
         : strcmp(suffix, ".dm4") == 0 ? write_dm4
                                       : write_tiff)(f, types[i].type, big);
    }
    if (fclose(f) != 0) stop("cannot write");
}

/* ---- times ---- */

static double cat(const char *path)
{
    const double start = now();
    fflush(stdout); /* which the child has as well */
    const pid_t child = fork();
    if (child == 0) {
        if (freopen("/dev/null", "w", stdout) == NULL) _exit(127);
        execlp("cat", "cat", path, (char *)NULL);
        _exit(127);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0) stop("cat failed");
    return now() - start;
}

enum way { FRESH, AGAIN, STATISTICS, WAYS };

static double reading(const char *path, enum way way, double *bytes)
{
    struct mro_file *f;
    struct mro_error e;
    struct mro_image im = { 0 };
    struct mro_statistics s;
    const double start = now();
    if (mro_file_open(&f, path, 0, &e) != MRO_OK) stop(e.message);
    const struct mro_image_info *info = mro_file_info(f, 0);
    *bytes = (double)mro_dtype_size(info->dtype);
    for (size_t i = 0; i < info->axes; i++) *bytes *= (double)info->axis[i].size;
    if (way == STATISTICS && mro_file_statistics(f, 0, &s, &e) != MRO_OK) stop(e.message);
    for (size_t i = 0; i < info->frames && way != STATISTICS; i++) {
        if ((way == FRESH ? mro_file_read : mro_file_read_into)(f, 0, i, &im, &e) != MRO_OK) stop(e.message);
        if (way == FRESH) mro_image_release(&im);
    }
    mro_image_release(&im);
    mro_file_close(f);
    return now() - start;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "make") == 0) {
        make(argv[2]);
        return 0;
    }
    const int turns = getenv("TURNS") ? atoi(getenv("TURNS")) : 5;
    printf("%-28s %8s  %7s %7s %7s %7s\n", "", "pixels,", "cat,", "fresh,", "again,", "info,");
    printf("%-28s %8s  %7s %7s %7s %7s\n", "", "MiB", "s", "s", "s", "s");
    for (int i = 1; i < argc; i++) {
        double best[WAYS + 1] = { 1e9, 1e9, 1e9, 1e9 }, bytes = 0;
        for (int turn = 0; turn < turns; turn++) {
            for (int way = 0; way <= WAYS; way++) {
                const double t = way < WAYS ? reading(argv[i], way, &bytes) : cat(argv[i]);
                if (t < best[way]) best[way] = t;
            }
        }
        const char *name = strrchr(argv[i], '/');
        printf("%-28s %8.0f  %7.3f %7.3f %7.3f %7.3f   rate of cat: %.0f %% %.0f %% %.0f %%\n",
               name ? name + 1 : argv[i], bytes / 1048576, best[WAYS], best[FRESH], best[AGAIN], best[STATISTICS],
               100 * best[WAYS] / best[FRESH], 100 * best[WAYS] / best[AGAIN], 100 * best[WAYS] / best[STATISTICS]);
        fflush(stdout);
    }
    return 0;
}
