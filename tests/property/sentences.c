/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Names of what can be set, between backquotes in sentences of the library, as each front end spells them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/notes.h"

static void names_are_spelled_and_files_left_alone(void **state)
{
    static const struct {
        const char *sentence, *options, *plain;
    } cases[] = {
        { "give `kv`", "give --kv", "give kv" },
        { "`s_max` 90 is beyond", "--s-max 90 is beyond", "s_max 90 is beyond" },
        { "give `unit=GPa`, or `reference_d`.", "give --unit GPa, or --reference-d.",
          "give unit=GPa, or reference_d." },
        { "`map=Fe=a_b.tif` `map=Si=FILE`", "--map Fe=a_b.tif --map Si=FILE", "map=Fe=a_b.tif map=Si=FILE" },
        { "`kv``cs`", "--kv--cs", "kvcs" },
        { "'a `kv` b.tif': give `kv`", "'a `kv` b.tif': give --kv", "'a `kv` b.tif': give kv" },
        { "the file's unit: give `unit`; images' `kv`", "the file's unit: give --unit; images' --kv",
          "the file's unit: give unit; images' kv" },
        { "'`kv`'; `kv`", "'`kv`'; --kv", "'`kv`'; kv" },
        { "measure with `mroscope lattice`, or `d`", "measure with 'mroscope lattice', or --d",
          "measure with mroscope lattice, or d" },
        { "`mroscope `; `mroscope x=1`; '`mroscope pdf`'", "`mroscope `; `mroscope x=1`; '`mroscope pdf`'",
          "`mroscope `; `mroscope x=1`; '`mroscope pdf`'" },
        { "a ` b `C` `` `x y` `kv", "a ` b `C` `` `x y` `kv", "a ` b `C` `` `x y` `kv" },
        { "", "", "" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[80];
        for (int as_options = 0; as_options < 2; as_options++) {
            snprintf(text, sizeof text, "%s", cases[i].sentence);
            mro_spell_names(text, as_options);
            assert_string_equal(text, as_options ? cases[i].options : cases[i].plain);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(names_are_spelled_and_files_left_alone) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
