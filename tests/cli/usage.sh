#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Help, version and wrong usage: exit codes and the next step.
# shellcheck source=lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
image=$samples/AQ_0_corr.tif

run
expect_code 2
expect_err "Usage: mroscope VERB"
for word in --help -h help; do
    run $word
    expect_code 0
    for verb in info mro bandpass devices bench; do expect_out "  $verb "; done
done
run --version
expect_code 0
expect_out "mroscope 0."
for verb in mro lattice haadf eds pdf shearband indent batch compare report info convert bandpass devices bench; do
    run $verb --help
    expect_code 0
    expect_out "Usage: mroscope $verb"
    cp out.txt first.txt
    run help $verb
    expect_code 0
    expect_same out.txt first.txt
    checks=$((checks + 1))
    awk 'length > 104 { exit 1 }' out.txt || fail "help of $verb has lines longer than 104 characters"
    checks=$((checks + 1))
    ! grep -q '(default$' out.txt || fail "help of $verb breaks a line within a default"
    checks=$((checks + 1))
    ! tr -s ' \n' ' ' <out.txt | grep -qE "\(default[^()]*\) \(default" || fail "help of $verb tells a default twice"
done
run mro --help
expect_out "--band LO,HI"
expect_out "(default 4.1,5.8)"
expect_out "--pixel NM"

# usage TEXT ARGS...: wrong usage, exit 2, one line with TEXT and where to look
usage() {
    local text=$1
    shift
    run "$@"
    expect_code 2
    expect_one_line
    expect_err "$text"
    expect_err "--help'"
}
usage "did you mean 'mro'?" mor "$image"
usage "did you mean 'mro'?" MRO "$image"
usage "'flurb' is no verb" flurb
usage "'--bnad' is no option of 'mro', but --band is" mro --bnad 4.1,5.8 "$image"
usage "'--fram' is no option of 'mro', but --frames is" mro --fram 3 "$image"
usage "'--flurb' is no option" mro --flurb "$image"
usage "'-x' is no option" bandpass -x "$image"
usage "but --kv is" mro -kv 200 "$image"
usage "but --kv is" mro --KV 200 "$image"
cp "$image" ./-minus.tif
usage "given as ./-minus.tif" info -minus.tif
usage "needs at least one file" mro
usage "needs a folder of results: mroscope report RESULTS_DIR" report
usage "needs at least one file" info --json
usage "wants a value after it" mro "$image" --pixel
usage "takes no value" mro --json=1 "$image"
usage "wrong order: write the smaller one first, --band 4.1,5.8" mro --band 5.8,4.1 "$image"
usage "for spacings in nm there is --d-band" mro --band 0.17,0.24 "$image"
usage "wrong order: write the smaller one first, --d-band 0.17,0.24" bandpass --d-band=0.24,0.17 "$image"
usage "two limits in 1/nm" mro --band 4.1 "$image"
usage "two limits in 1/nm" mro --band 4.1,5.8,6 "$image"
usage "two limits in 1/nm" mro --band nan,5.8 "$image"
usage "limits between" mro --band -4.1,5.8 "$image"
usage "give one of them" mro --band 4.1,5.8 --d-band 0.17,0.24 "$image"
usage "number in nm between 0.0001 and 1000000, not '-0.02'" mro --pixel -0.02 "$image"
usage "not '0'" mro --pixel 0 "$image"
usage "not 'wide'" mro --pixel=wide "$image"
usage "not '0.02nm'" mro --pixel 0.02nm "$image"
usage "number in kV" mro --kv 0 "$image"
usage "between" mro --alpha 2 "$image"
usage "whole number" mro --surrogates 1.5 "$image"
usage "between 8 and 100000" mro --surrogates 0 "$image"
usage "between 0.001 and 0.49" mro --d-tolerance 0.5 "$image"
usage "whole number" mro --seed -1 "$image"
usage "whole number" mro --threads many "$image"
usage "such as 4G or 500M" mro --memory lots "$image"
usage "such as 4G or 500M, not '4'" mro --memory 4 "$image"
usage "decimals come after a point" mro --cs 1,2 "$image"
usage "decimals come after a point" mro --pixel 0,02 "$image"
usage "not '2.03': 2.03 A are 0.203 nm" mro --d 2.03 "$image"
usage "not '200000': 200000 V are 200 kV" mro --kv 200000 "$image"
usage "not '0.001'; try" mro --d 0.001 "$image"
usage "mroscope batch --init" batch . -o results
usage "such as 0-9,12" mro --frames 9-0 "$image"
usage "knows 'acf' only" mro --map score "$image"
usage "takes no file names" devices "$image"
usage "floppy" mro --device floppy "$image"

# Pixels in the wrong unit are told as such, not as a lack of memory.
run mro --pixel 20 "$image"
expect_code 1
expect_one_line
expect_err "Nyquist"

# A budget that holds nothing is told as such, not as a fault of the file.
run mro --memory 1K "$image"
expect_code 1
expect_one_line
expect_err "the memory budget is 0 MiB; give a larger --memory"

# Names of files are told as they are, whatever stands in them.
run info 'a `kv` b.tif'
expect_code 1
expect_err "cannot open 'a \`kv\` b.tif'"

# But that none ends a line there, nor moves the cursor of a terminal.
odd=$'odd\e[2J\n\302\233m\377.tif'
cp "$image" "$odd"
for verb in info "bandpass -o results" "mro --surrogates 8" "haadf --signal hrtem --surrogates 299" "batch --init" pdf compare; do
    # shellcheck disable=SC2086
    run $verb "$odd"
    expect [ -z "$(cat out.txt err.txt | tr -d '\n -~')" ]
    expect grep -qF 'odd?[2J???m?' out.txt err.txt
done

# Threads may have little stack. Sanitizers put more on it.
if [ -z "${ASAN_OPTIONS:-}" ]; then
    for words in "info" "bandpass --json" "mro --json --surrogates 8" "haadf --json --signal hrtem --surrogates 299"; do
        # shellcheck disable=SC2086
        (ulimit -s 256 && OMP_STACKSIZE=128K exec "$program" $words "$image") >out.txt 2>err.txt
        code=$?
        expect_code 0
    done
fi

run devices
expect_code 0
expect_out "cpu"
run devices --json
expect_code 0
expect_json out.txt
expect_keys out.txt schema devices backend usable

finish
