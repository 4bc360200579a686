/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fuzz target for what comes behind the HDF5 library: the catalogue that its child process writes, and the EMD reader
 * on top of it. An input is the length of a catalogue (4 bytes, little-endian), the catalogue, and the file it speaks
 * of; mro_h5_catalogue is defined here, so the library, its child and the fork are left out, and mutations reach the
 * checks they are meant for. fuzz_readers takes whole files, child and all. Inputs to begin with are made of EMD files
 * by fuzz_hdf5_seed (fuzz_hdf5.c built with MROSCOPE_SEED): fuzz_hdf5_seed FOLDER FILE... */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/hdf5_child.h"
#include "mroscope/eds_stream.h"

enum { MAX_IMAGES = 8, MAX_FRAMES = 8 };
#define BUDGET ((size_t)32 << 20)

#ifndef MROSCOPE_SEED
static struct {
    const uint8_t *p;
    size_t n;
} catalogue;

enum mro_code mro_h5_catalogue(const struct mro_file *f, unsigned char **bytes, size_t *size, struct mro_error *e)
{
    *bytes = malloc(catalogue.n + 1);
    if (*bytes == NULL) return MRO_FAIL(e, MRO_EMEMORY, "no memory for '%s'", f->name);
    if (catalogue.n > 0) memcpy(*bytes, catalogue.p, catalogue.n);
    *size = catalogue.n;
    return MRO_OK;
}

static void check(bool ok, const char *what)
{
    if (ok) return;
    fprintf(stderr, "fuzz_hdf5: %s\n", what);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4) return 0;
    const size_t n = mro_get_u32(data, false);
    if (n > size - 4) return 0;
    catalogue.p = data + 4;
    catalogue.n = n;
    struct mro_file *f = NULL;
    struct mro_error e = { .code = MRO_OK };
    const enum mro_code c = mro_file_open_memory(&f, data + 4 + n, size - 4 - n, "fuzz", BUDGET, &e);
    if (c != MRO_OK) {
        check(f == NULL && e.code == c && strstr(e.message, "fuzz") != NULL, "an error without a sentence");
        return 0;
    }
    for (size_t i = 0; i < mro_file_images(f) && i < MAX_IMAGES; i++) {
        const struct mro_image_info *info = mro_file_info(f, i);
        check(info->axes >= 1 && info->axes <= MRO_MAX_AXES && info->frames >= 1, "an image without a shape");
        for (size_t k = 0; k < info->axes; k++)
            check(info->axis[k].step >= 0 && info->axis[k].step < 1e300 && fabs(info->axis[k].offset) < 1e300,
                  "a scale that is no number");
        for (size_t frame = 0; frame < info->frames && frame < MAX_FRAMES; frame++) {
            struct mro_image im;
            const enum mro_code r = mro_file_read(f, i, frame, &im, &e);
            check(r != MRO_OK || (im.px != NULL && im.nx > 0 && im.ny > 0), "an image without pixels");
            check(r == MRO_OK || e.message[0] != '\0', "an error without a sentence");
            mro_image_release(&im);
        }
    }
    const struct mro_eds_window w = mro_eds_window_of(mro_xray_line("Fe"));
    struct mro_eds_map map;
    if (mro_eds_maps(f, &w, 1, &map, &e) == MRO_OK) mro_eds_map_release(&map);
    mro_file_close(f);
    return 0;
}
#endif

#if defined MROSCOPE_REPLAY || defined MROSCOPE_SEED
static uint8_t *load(const char *path, size_t *size)
{
    FILE *in = fopen(path, "rb");
    if (in == NULL || fseek(in, 0, SEEK_END) != 0) return NULL;
    *size = (size_t)ftell(in);
    rewind(in);
    uint8_t *p = malloc(*size + 1);
    if (p != NULL && fread(p, 1, *size, in) != *size) {
        free(p);
        p = NULL;
    }
    fclose(in);
    return p;
}

int main(int argc, char **argv)
{
    int done = 0;
#ifdef MROSCOPE_REPLAY
    for (int i = 1; i < argc; i++) {
        size_t size;
        uint8_t *p = load(argv[i], &size);
        if (p == NULL) return 1;
        LLVMFuzzerTestOneInput(p, size);
        /* And with a byte of the catalogue changed, here and there. */
        for (size_t at = 4; at < size && at < 60000; at += 1 + size / 64) {
            p[at] ^= 0x81;
            LLVMFuzzerTestOneInput(p, size);
            p[at] ^= 0x81;
        }
        free(p);
        done++;
    }
    printf("%d inputs replayed\n", done);
#else
    for (int i = 2; i < argc; i++) {
        struct mro_file f = { .name = argv[i], .memory_bytes = BUDGET };
        struct mro_error e;
        size_t size, n;
        unsigned char *p = load(argv[i], &size), *bytes;
        if (p == NULL) return 1;
        f.bytes = (struct mro_bytes){ p, size };
        if (mro_h5_catalogue(&f, &bytes, &n, &e) == MRO_OK) {
            char path[1024];
            const char *base = strrchr(argv[i], '/');
            const uint8_t length[4] = { (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16), (uint8_t)(n >> 24) };
            snprintf(path, sizeof path, "%s/%s.seed", argv[1], base ? base + 1 : argv[i]);
            FILE *to = fopen(path, "wb");
            if (to == NULL || fwrite(length, 1, 4, to) != 4 || fwrite(bytes, 1, n, to) != n ||
                fwrite(p, 1, size, to) != size || fclose(to) != 0)
                return 1;
            free(bytes);
            done++;
        }
        free(p);
    }
    printf("%d inputs written\n", done);
#endif
    return done > 0 ? 0 : 1;
}
#endif
