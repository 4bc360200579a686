/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fuzz target: any bytes, opened as a file of any format and read to the end, on a small budget.
 * Built with clang it is a libFuzzer program (MROSCOPE_FUZZ); with MROSCOPE_REPLAY it gets a main that runs the files
 * it is given once, so that a corpus can be replayed with any compiler. */
#include <string.h>
#include <zlib.h>

#include "io/emi.h"
#include "mroscope/file.h"

#define FUZZ_NAME "fuzz_readers"
#include "replay.h"

/* Images and frames looked at in one input: each more costs time and reaches the same code. */
enum { MAX_IMAGES = 8, MAX_FRAMES = 16 };
#define BUDGET ((size_t)64 << 20)

static void open_and_read(const uint8_t *data, size_t size)
{
    struct mro_file *f = NULL;
    struct mro_error e = { .code = MRO_OK };
    enum mro_code c = mro_file_open_memory(&f, data, size, "fuzz", BUDGET, &e);
    if (c != MRO_OK) {
        check(f == NULL, "a file is given out beside an error");
        check(e.code == c && e.message[0] != '\0', "an error without a sentence");
        check(strstr(e.message, "fuzz") != NULL, "an error that does not name the file");
        return;
    }
    check(mro_file_images(f) > 0, "an open file without images");
    for (size_t i = 0; i < mro_file_images(f) && i < MAX_IMAGES; i++) {
        const struct mro_image_info *info = mro_file_info(f, i);
        check(info->axes >= 1 && info->axes <= MRO_MAX_AXES && info->frames >= 1, "an image without a shape");
        for (size_t k = 0; k < info->axes; k++) {
            check(info->axis[k].size > 0, "an axis without samples");
            check(info->axis[k].step >= 0 && info->axis[k].step < 1e300, "a step that is no number");
        }
        for (size_t frame = 0; frame < info->frames && frame < MAX_FRAMES; frame++) {
            struct mro_image im;
            c = mro_file_read(f, i, frame, &im, &e);
            check(c != MRO_OK || (im.px != NULL && im.nx > 0 && im.ny > 0), "an image without pixels");
            check(c == MRO_OK || e.message[0] != '\0', "an error without a sentence");
            mro_image_release(&im);
        }
        struct mro_statistics s;
        if (info->frames <= MAX_FRAMES) mro_file_statistics(f, i, &s, &e);
    }
    mro_file_close(f);
}

/* Puts right checksums into a PNG: mutation would hardly ever find one, and then never pass the first check. */
static bool mend_png(uint8_t *p, size_t size)
{
    static const uint8_t signature[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };
    bool changed = false;
    if (size < 8 || memcmp(p, signature, 8) != 0) return false;
    for (size_t pos = 8; size - pos >= 12;) {
        const size_t n = (size_t)p[pos] << 24 | (size_t)p[pos + 1] << 16 | (size_t)p[pos + 2] << 8 | p[pos + 3];
        if (n > size - pos - 12) break;
        const uint32_t crc = (uint32_t)crc32_z(crc32_z(0, NULL, 0), p + pos + 4, n + 4);
        for (size_t i = 0; i < 4; i++) {
            uint8_t *c = p + pos + 8 + n + i;
            const uint8_t right = (uint8_t)(crc >> (24 - 8 * i));
            changed = changed || *c != right;
            *c = right;
        }
        pos += n + 12;
    }
    return changed;
}

/* An EMI in memory is refused for want of its folder: what it says is read here. */
static void read_emi(const uint8_t *data, size_t size)
{
    const struct mro_bytes b = { data, size };
    unsigned numbers[8];
    struct mro_emi_object o;
    if (!mro_emi_probe(b)) return;
    const size_t n = mro_emi_numbers(b, numbers, sizeof numbers / sizeof *numbers);
    for (size_t i = 0; i < n; i++) check(numbers[i] > 0, "a series without a number");
    for (size_t i = 0; i < (n ? n : 2); i++) {
        if (!mro_emi_describe(b, n ? numbers[i] : (unsigned)i + 1, &o)) continue;
        check(o.beam_kv >= 0 && o.magnification >= 0 && o.camera_length_mm >= 0 && o.binning >= 0,
              "a setting that is no number");
        check(strlen(o.mode) < sizeof o.mode && strlen(o.date) < sizeof o.date &&
                  strlen(o.detector) < sizeof o.detector,
              "a text without its end");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    open_and_read(data, size);
    read_emi(data, size);
    uint8_t *copy = malloc(size ? size : 1);
    if (copy == NULL) return 0;
    if (size > 0) memcpy(copy, data, size);
    if (mend_png(copy, size)) open_and_read(copy, size);
    free(copy);
    return 0;
}
