/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What fuzz targets share: a check that stops the program, and with MROSCOPE_REPLAY a main that runs the files it is
 * given once, whole and cut in half. Define FUZZ_NAME before including it. */
#ifndef MRO_TESTS_FUZZ_REPLAY_H
#define MRO_TESTS_FUZZ_REPLAY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok, const char *what)
{
    if (ok) return;
    fprintf(stderr, FUZZ_NAME ": %s\n", what);
    abort();
}

#ifdef MROSCOPE_REPLAY
/* `size` bytes in a block of just that size, so that a read past their end is one past the block. */
static void replay(const uint8_t *bytes, size_t size)
{
    uint8_t *p = malloc(size ? size : 1);
    check(p != NULL, "no memory");
    for (size_t i = 0; i < size; i++) p[i] = bytes[i];
    LLVMFuzzerTestOneInput(p, size);
    free(p);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        FILE *in = fopen(argv[i], "rb");
        check(in != NULL && fseek(in, 0, SEEK_END) == 0, argv[i]);
        const long size = ftell(in);
        rewind(in);
        uint8_t *p = malloc(size > 0 ? (size_t)size : 1);
        check(size >= 0 && p != NULL && fread(p, 1, (size_t)size, in) == (size_t)size, argv[i]);
        fclose(in);
        replay(p, (size_t)size);
        replay(p, (size_t)size / 2); /* which every reader must survive */
        free(p);
    }
    printf("%d files replayed\n", argc - 1);
    return argc > 1 ? 0 : 1;
}
#endif

#endif
