/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "io/hdf5_driver.h"

#include <stdlib.h>
#include <string.h>
#if H5_VERSION_GE(1, 14, 0)
#include <H5FDdevelop.h>
#endif

static struct {
    struct mro_bytes file;
    bool watching, seen;
    haddr_t address;
    size_t bytes;
} driver;

struct map_file {
    H5FD_t pub; /* the library's part comes first */
    haddr_t eoa;
};

static H5FD_t *map_open(const char *name, unsigned flags, hid_t fapl, haddr_t maxaddr)
{
    /* Only the file itself: a name that comes out of a link never gets here with this one. */
    static bool opened;
    (void)fapl, (void)maxaddr;
    if (opened || strcmp(name, MRO_H5_DRIVEN) != 0 || (flags & H5F_ACC_RDWR)) return NULL;
    opened = true;
    struct map_file *f = calloc(1, sizeof *f);
    /* cppcheck-suppress memleak ; its first member is handed out, map_close frees it */
    return f ? &f->pub : NULL;
}

static herr_t map_close(H5FD_t *f)
{
    free(f);
    return 0;
}

static int map_cmp(const H5FD_t *a, const H5FD_t *b) { return a < b ? -1 : a > b; }

static herr_t map_query(const H5FD_t *f, unsigned long *flags)
{
    (void)f;
    if (flags != NULL) *flags = 0;
    return 0;
}

static haddr_t map_get_eoa(const H5FD_t *f, H5FD_mem_t type)
{
    (void)type;
    return ((const struct map_file *)f)->eoa;
}

static herr_t map_set_eoa(H5FD_t *f, H5FD_mem_t type, haddr_t address)
{
    (void)type;
    ((struct map_file *)f)->eoa = address;
    return 0;
}

static haddr_t map_get_eof(const H5FD_t *f, H5FD_mem_t type)
{
    (void)f, (void)type;
    return driver.file.size;
}

static herr_t map_read(H5FD_t *f, H5FD_mem_t type, hid_t dxpl, haddr_t address, size_t n, void *to)
{
    (void)f, (void)dxpl;
    if (driver.watching && type == H5FD_MEM_DRAW) {
        driver.seen = true;
        driver.address = address;
        driver.bytes = n;
        return 0;
    }
    /* Like the library's own drivers: zeros behind the end. */
    const size_t have = address < driver.file.size ? driver.file.size - (size_t)address : 0;
    const size_t some = n < have ? n : have;
    if (some > 0) memcpy(to, driver.file.p + address, some);
    if (some < n) memset((char *)to + some, 0, n - some);
    return 0;
}

static herr_t map_write(H5FD_t *f, H5FD_mem_t type, hid_t dxpl, haddr_t address, size_t n, const void *from)
{
    (void)f, (void)type, (void)dxpl, (void)address, (void)n, (void)from;
    return -1;
}

static const H5FD_class_t map_class = {
#if H5_VERSION_GE(1, 14, 0)
    .version = H5FD_CLASS_VERSION,
    .value = (H5FD_class_value_t)600,
#endif
    .name = MRO_H5_DRIVEN,
    .maxaddr = INT64_MAX,
    .fc_degree = H5F_CLOSE_WEAK,
    .open = map_open,
    .close = map_close,
    .cmp = map_cmp,
    .query = map_query,
    .get_eoa = map_get_eoa,
    .set_eoa = map_set_eoa,
    .get_eof = map_get_eof,
    .read = map_read,
    .write = map_write,
    .fl_map = H5FD_FLMAP_SINGLE,
};

hid_t mro_h5_driver(struct mro_bytes file)
{
    driver.file = file;
    return H5FDregister(&map_class);
}

void mro_h5_watch(void)
{
    driver.seen = false;
    driver.watching = true;
}

bool mro_h5_watched(uint64_t *address, uint64_t *bytes)
{
    *address = driver.address;
    *bytes = driver.bytes;
    driver.watching = false;
    return driver.seen;
}
