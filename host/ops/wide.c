/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ops/wide.h"

#include "core/gsl_errors.h"
#include "core/vectors.h"

const struct mro_measurements mro_measurements = {
    .haadf_measure = mro_haadf_measure_wide,
    .haadf_pool_add = mro_haadf_pool_add_wide,
    .haadf_pool_measure = mro_haadf_pool_measure_wide,
    .shearband_measure = mro_shearband_measure_wide,
};

enum mro_code mro_haadf_measure(struct mro_device *d, const struct mro_image *im, const char *name,
                                const struct mro_haadf_options *o, struct mro_haadf_result *r, struct mro_error *e)
{
    MRO_HOLD_GSL_ERRORS();
    return mro_vectors()->measurements->haadf_measure(d, im, name, o, r, e);
}

enum mro_code mro_haadf_pool_add(struct mro_haadf_pool *p, struct mro_device *d, const struct mro_haadf_result *r,
                                 struct mro_error *e)
{
    return mro_vectors()->measurements->haadf_pool_add(p, d, r, e);
}

enum mro_code mro_haadf_pool_measure(const struct mro_haadf_pool *p, struct mro_device *d, const char *name,
                                     const struct mro_haadf_options *o, struct mro_haadf_result *r, struct mro_error *e)
{
    MRO_HOLD_GSL_ERRORS();
    return mro_vectors()->measurements->haadf_pool_measure(p, d, name, o, r, e);
}

enum mro_code mro_shearband_measure(struct mro_device *d, const struct mro_image *im, const char *name,
                                    const struct mro_shearband_options *o, struct mro_shearband_result *r,
                                    struct mro_error *e)
{
    MRO_HOLD_GSL_ERRORS();
    return mro_vectors()->measurements->shearband_measure(d, im, name, o, r, e);
}
