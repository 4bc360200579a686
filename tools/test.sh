#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# All tests: the whole suite, then again under the address and undefined-behaviour sanitizers, a minute of fuzzing where
# clang is, the counts of instructions, then the checks of the sources. The first build has CUDA where nvcc is, the others never. The last line is 'N passed, N failed'.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

jobs=$(getconf _NPROCESSORS_ONLN)
passed=0
failed=0
# A step that is no test of CTest counts as one.
step() {
    echo "== $*"
    if "$@"; then passed=$((passed + 1)); else
        failed=$((failed + 1))
        echo "FAILED: $*"
    fi
}
finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit
}
# suite FOLDER [ctest options]: builds the tests in FOLDER, runs them and adds up CTest's own count.
suite() {
    local folder=$1 log rc line
    shift
    log=$(mktemp)
    ctest --test-dir "$folder" --output-on-failure --no-tests=error -j "$jobs" "$@" 2>&1 | tee "$log"
    rc=${PIPESTATUS[0]}
    # "97% tests passed, 1 tests failed out of 34"
    line=$(grep -E 'tests passed, [0-9]+ tests failed out of [0-9]+' "$log" | tail -1)
    rm -f "$log"
    if [[ $line =~ ,\ ([0-9]+)\ tests\ failed\ out\ of\ ([0-9]+) ]]; then
        failed=$((failed + BASH_REMATCH[1]))
        passed=$((passed + BASH_REMATCH[2] - BASH_REMATCH[1]))
    else
        rc=1
    fi
    if [ "$rc" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
}
build() {
    local folder=$1
    shift
    cmake -S . -B "$folder" -DMROSCOPE_TESTS=ON -DMROSCOPE_WERROR=ON "$@" && cmake --build "$folder" --parallel "$jobs"
}

tools/setup.sh --test || {
    failed=1
    finish
}
if build build-test; then suite build-test; else
    failed=1
    finish
fi
echo "== the suite under sanitizers"
if build build-asan --preset asan; then
    export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
    suite build-asan -LE '^long$' # tests/CMakeLists.txt says which
else
    failed=$((failed + 1))
fi
# Some seconds of fuzzing from the test data of each format; README.md says how to go on for longer.
fuzz_one() { # KIND, one of those below
    local target=fuzz_readers seeds options=()
    echo "fuzzing from $1"
    case $1 in
    tables)
        target=fuzz_tables options=(-max_len=2048)
        seeds=$(find tests/fuzz/corpus/tables samples -path '*/tables/*' -type f -o -name '*.csv' | paste -sd,)
        ;;
    emd)
        target=fuzz_hdf5
        mkdir -p build-fuzz/seeds && build-fuzz/tests/fuzz/fuzz_hdf5_seed build-fuzz/seeds tests/data/emd/*.emd || return 1
        seeds=$(find build-fuzz/seeds -type f | paste -sd,)
        ;;
    *) seeds=$(find tests/data -name "*.$1" -size -300k | paste -sd,) ;;
    esac
    "build-fuzz/tests/fuzz/$target" -max_total_time=7 -rss_limit_mb=2048 -verbosity=0 -print_funcs=0 -artifact_prefix=build-fuzz/ \
        "${options[@]}" "-seed_inputs=$seeds"
}
fuzz() {
    cmake -S . -B build-fuzz --preset fuzz && cmake --build build-fuzz --parallel "$jobs" || return 1
    export -f fuzz_one
    printf '%s\n' dm3 dm4 tif mrc ser emi png jpg tables emd | xargs -P "$jobs" -I {} bash -c 'fuzz_one {}'
}
if echo 'int LLVMFuzzerTestOneInput(const char *p, unsigned long n); int LLVMFuzzerTestOneInput(const char *p, unsigned long n) { return !p && n; }' |
    clang -x c - -fsanitize=fuzzer,address -o /dev/null 2>/dev/null; then step fuzz; else
    echo "no clang with libFuzzer here: no fuzzing"
fi
# A build for other machines has the CPU backend for several kinds of vectors: those that this processor has against each
# other. The folder and flags are those of the next step, which builds little more.
vectors() {
    cmake -S . -B build-portable -DMROSCOPE_NATIVE=OFF -DMROSCOPE_CUDA=off -DMROSCOPE_TESTS=ON -DMROSCOPE_WERROR=ON &&
        cmake --build build-portable --parallel "$jobs" --target test_parity_backends &&
        build-portable/tests/test_parity_backends 'every_kind_of_vectors*'
}
step vectors
# Passes, with a sentence, where valgrind or the versions of the record are not.
step tools/bench/instructions.sh
step tools/lint.sh
finish
