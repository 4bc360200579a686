/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Measurements whose own loops, on the host, take a large part of their time: as host/cpu they are compiled for each
 * kind of vectors (core/vectors.h; CMakeLists.txt names their files). The public functions of the same
 * names without _wide call those of the vectors in use. */
#ifndef MRO_OPS_WIDE_H
#define MRO_OPS_WIDE_H

#include "mroscope/haadf.h"
#include "mroscope/shearband.h"

enum mro_code mro_haadf_measure_wide(struct mro_device *d, const struct mro_image *im, const char *name,
                                     const struct mro_haadf_options *o, struct mro_haadf_result *r,
                                     struct mro_error *e);
enum mro_code mro_haadf_pool_add_wide(struct mro_haadf_pool *p, struct mro_device *d, const struct mro_haadf_result *r,
                                      struct mro_error *e);
enum mro_code mro_haadf_pool_measure_wide(const struct mro_haadf_pool *p, struct mro_device *d, const char *name,
                                          const struct mro_haadf_options *o, struct mro_haadf_result *r,
                                          struct mro_error *e);
enum mro_code mro_shearband_measure_wide(struct mro_device *d, const struct mro_image *im, const char *name,
                                         const struct mro_shearband_options *o, struct mro_shearband_result *r,
                                         struct mro_error *e);

/* One compilation of them. */
struct mro_measurements {
    enum mro_code (*haadf_measure)(struct mro_device *, const struct mro_image *, const char *,
                                   const struct mro_haadf_options *, struct mro_haadf_result *, struct mro_error *);
    enum mro_code (*haadf_pool_add)(struct mro_haadf_pool *, struct mro_device *, const struct mro_haadf_result *,
                                    struct mro_error *);
    enum mro_code (*haadf_pool_measure)(const struct mro_haadf_pool *, struct mro_device *, const char *,
                                        const struct mro_haadf_options *, struct mro_haadf_result *,
                                        struct mro_error *);
    enum mro_code (*shearband_measure)(struct mro_device *, const struct mro_image *, const char *,
                                       const struct mro_shearband_options *, struct mro_shearband_result *,
                                       struct mro_error *);
};

#endif
