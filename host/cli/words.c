/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/words.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static bool has_word(const char *name, const char *word)
{
    const size_t n = strlen(word);
    for (const char *p = name; *p; p++)
        if (strncasecmp(p, word, n) == 0 && (p == name || !isalpha((unsigned char)p[-1])) &&
            !isalpha((unsigned char)p[n]))
            return true;
    return false;
}

bool cli_any_word(const char *name, const char *const *words)
{
    for (; *words; words++)
        if (has_word(name, *words)) return true;
    return false;
}

bool cli_is_stem(const struct mro_image_info *info)
{
    static const char *const detectors[] = { "haadf", "adf", "maadf", "laadf", "stem", "df", "digiscan", NULL };
    return cli_any_word(info->detector, detectors) || cli_any_word(info->title, detectors);
}

bool cli_is_camera(const struct mro_image_info *info)
{
    static const char *const cameras[] = { "camera", "ccd",       "ceta",  "falcon", "eagle", "ultrascan",
                                           "orius",  "oneview",   "rio",   "k2",     "k3",    "us1000ftxp",
                                           "temcam", "clearview", "metro", NULL };
    return !cli_is_stem(info) && cli_any_word(info->detector, cameras);
}
