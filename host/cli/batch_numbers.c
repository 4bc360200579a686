/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The main numbers of a result, which a session keeps of each. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/batch.h"
#include "io/session.h"

/* Where the main numbers of a result are: keys with dots between them, a place in a list as a number, the count or the
 * deepest of a list, and '*' for every key. Units that a key does not name stand behind it. Adding a verb is adding its
 * rows. */
static const struct {
    const char *verb, *path, *unit;
} numbers[] = {
    { "mro", "fraction", " (part of area)" },
    { "mro", "fraction_ci95.0", " (part of area)" },
    { "mro", "fraction_ci95.1", " (part of area)" },
    { "mro", "p_image", "" },
    { "mro", "fraction_raw", " (part of area)" },
    { "mro", "density_per_nm2", "" },
    { "mro", "diameter_median_nm", "" },
    { "mro", "size_limit_nm", "" },
    { "mro", "coverage", " (part of image)" },
    { "haadf", "contrast_sd", " (relative)" },
    { "haadf", "contrast_sd_ci95.0", " (relative)" },
    { "haadf", "contrast_sd_ci95.1", " (relative)" },
    { "haadf", "noise_sd", " (relative)" },
    { "haadf", "correlation_length_nm", "" },
    { "haadf", "wavelength_nm", "" },
    { "haadf", "wavelength_p", "" },
    { "haadf", "p_value", "" },
    { "lattice", "crystals.0.d_nm", "" },
    { "lattice", "crystals.0.d_se_nm", "" },
    { "lattice", "crystals.0.diameter_nm", "" },
    { "lattice", "crystals.0.strain.normal", " (relative)" },
    { "lattice", "crystals.0.strain.se", " (relative)" },
    { "lattice", "crystals.0.vortices", "" },
    { "eds", "elements.*.mean_at", " (at.%)" },
    { "eds", "elements.*.sd_true_at", " (at.%)" },
    { "eds", "elements.*.sd_true_ci95.0", " (at.%)" },
    { "eds", "elements.*.sd_true_ci95.1", " (at.%)" },
    { "eds", "elements.*.p_heterogeneous", "" },
    { "eds", "elements.*.wavelength_nm", "" },
    { "eds", "elements.*.p_periodic", "" },
    { "pdf", "fsdp.Q_inv_A", " (1/A)" },
    { "pdf", "fsdp.first_moment_inv_A", " (1/A)" },
    { "pdf", "fsdp.first_moment_se", " (1/A)" },
    { "pdf", "fsdp.area", " (1/A)" },
    { "pdf", "oscillation.rms", " (1/A^2)" },
    { "pdf", "oscillation.rms_se", " (1/A^2)" },
    { "pdf", "coordination_number", "" },
    { "pdf", "anisotropy.e2", "" },
    { "pdf", "ellipse_ratio", "" },
    { "shearband", "normal_azimuth_deg", "" },
    { "shearband", "p_value", "" },
    { "shearband", "bands.count", "" },
    { "shearband", "bands.deepest.width_nm", "" },
    { "shearband", "bands.deepest.width_ci95.0", " (nm)" },
    { "shearband", "bands.deepest.width_ci95.1", " (nm)" },
    { "shearband", "bands.deepest.depth", " (relative)" },
    { "shearband", "bands.deepest.depth_ci95.0", " (relative)" },
    { "shearband", "bands.deepest.depth_ci95.1", " (relative)" },
    { "indent", "mean", " (unit of the table)" },
    { "indent", "mean_ci95.0", " (unit of the table)" },
    { "indent", "mean_ci95.1", " (unit of the table)" },
    { "indent", "sd", " (unit of the table)" },
    { "indent", "fwhm", " (unit of the table)" },
    { "indent", "fwhm_ci95.0", " (unit of the table)" },
    { "indent", "fwhm_ci95.1", " (unit of the table)" },
    { "indent", "moran_i", "" },
    { "indent", "moran_p", "" },
};

/* What a part of a path names in `v`; NULL = nothing. The caller drops it. */
static json_t *part_of(const json_t *v, const char *part)
{
    if (!json_is_array(v)) return json_incref(json_object_get(v, part));
    if (strcmp(part, "count") == 0) return json_integer((json_int_t)json_array_size(v));
    if (strcmp(part, "deepest") == 0) return json_incref((json_t *)mro_session_deepest(v));
    return json_incref(json_array_get(v, (size_t)strtoul(part, NULL, 10)));
}

static void add_numbers(json_t *out, const json_t *v, const char *path, const char *name, const char *unit)
{
    const size_t n = strcspn(path, ".");
    char part[64], whole[200];
    const char *key;
    json_t *inner;
    if (*path == '\0') {
        snprintf(whole, sizeof whole, "%s%s", name, unit);
        if (json_is_number(v) || json_is_null(v)) json_object_set(out, whole, (json_t *)v);
        return;
    }
    snprintf(part, sizeof part, "%.*s", (int)n, path);
    path += n + (path[n] == '.');
    if (strcmp(part, "*") == 0) {
        json_object_foreach((json_t *)v, key, inner)
        {
            snprintf(whole, sizeof whole, "%s.%s", name, key);
            add_numbers(out, inner, path, whole, unit);
        }
        return;
    }
    if (*path == '*') /* eds.Fe.mean_at, not eds.elements.Fe.mean_at */
        snprintf(whole, sizeof whole, "%s", name);
    else if (json_is_array(v) && *path == '\0' && isdigit((unsigned char)part[0])) /* the ends of an interval */
        snprintf(whole, sizeof whole, "%s_%s", name, strcmp(part, "0") == 0 ? "lo" : "hi");
    else
        snprintf(whole, sizeof whole, "%s.%s", name, part);
    inner = part_of(v, part);
    if (inner) add_numbers(out, inner, path, whole, unit);
    json_decref(inner);
}

json_t *batch_numbers(const json_t *result)
{
    json_t *out = json_object();
    const char *schema = json_string_value(json_object_get(result, "schema"));
    char mine[80];
    for (size_t i = 0; out && schema && i < sizeof numbers / sizeof *numbers; i++) {
        snprintf(mine, sizeof mine, "mroscope.%s/1", numbers[i].verb);
        if (strcmp(schema, mine) == 0) add_numbers(out, result, numbers[i].path, numbers[i].verb, numbers[i].unit);
    }
    return out;
}
