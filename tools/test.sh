#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# All tests: the whole suite, then readers, command line and the host side of CUDA under the address and
# undefined-behaviour sanitizers, then the checks of the sources. The first build has CUDA where nvcc is, the second one
# never. The last line is 'N passed, N failed'.
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
echo "== readers and command line under sanitizers"
if build build-asan --preset asan; then
    export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
    # The README's commands take the same paths as the other scripts, for longer.
    suite build-asan -R '^(readers|cli|fuzz|cuda)/' -E '^(cli/readme|cuda/backends)$'
else
    failed=$((failed + 1))
fi
step tools/lint.sh
finish
