#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What `cmake --install` copies is enough: the program, the library for the C program of docs/c.md, completion.
# shellcheck source=lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
docs=$samples/../docs
expect_line() {
    checks=$((checks + 1))
    grep -qE -- "$1" out.txt || fail "no line of stdout is like: $1"
}

cmake --install "${MROSCOPE_BUILD:?}" --prefix "$PWD/to" >out.txt 2>err.txt
code=$?
expect_code 0
"$PWD/to/bin/mroscope" --version >out.txt 2>err.txt
code=$?
expect_code 0
expect_line '^mroscope [0-9]'

# completion asks the program itself
complete_words() {
    # shellcheck source=/dev/null
    PATH="$PWD/to/bin:$PATH" bash -c '. "$1"; COMP_WORDS=("${@:2}"); COMP_CWORD=$(($# - 2)); _mroscope; echo "${COMPREPLY[@]}"' \
        complete "$PWD/to/share/bash-completion/completions/mroscope" "$@" >out.txt 2>err.txt
    code=$?
    expect_code 0
}
complete_words mroscope sh
expect_line '^shearband$'
complete_words mroscope mro --sw
expect_line '^--sweep-band$'
complete_words mroscope mro image
expect_line '^$'

[ -n "$(find to -name 'libmroscope.*')" ] || finish # built without the library

# Every header stands by itself, in C and in C++.
include=$PWD/to/include
for header in "$include"/mroscope/*.h "$include"/mroscope/math/*.h; do
    for language in c c++; do
        compiler=${CC:-cc}
        [ $language = c++ ] && compiler=${CXX:-c++}
        command -v "$compiler" >/dev/null || continue
        checks=$((checks + 1))
        echo "#include \"$header\"" | "$compiler" -x $language -Wall -Wextra -Werror -fsyntax-only -I"$include" - >out.txt 2>err.txt
        code=$?
        [ $code -eq 0 ] || fail "$(basename "$header") as $language"
    done
done

# The library shows what they declare, and no other name.
if command -v nm >/dev/null && [ "$(uname)" = Linux ]; then
    for header in "$include"/mroscope/*.h; do echo "#include \"$header\""; done >all.c
    "${CC:-cc}" -E -P -I"$include" all.c | grep -v 'static inline' | grep -oE '\bmro_\w+\(' | tr -d '(' | sort -u >declared.txt
    nm --dynamic --defined-only --format=posix "$(find to -name libmroscope.so)" | cut -d' ' -f1 | sort >out.txt
    checks=$((checks + 1))
    [ -s declared.txt ] && comm -3 declared.txt out.txt >err.txt && [ ! -s err.txt ] || fail "declared, or shown, but not both"
fi

# The program of the page, found by pkg-config where the folder was moved to.
mv to moved
sed -n '/^```c$/,/^```$/p' "$docs/c.md" | sed '1d;/^```$/d' >fraction.c
PKG_CONFIG_PATH=$(dirname "$(find "$PWD/moved" -name mroscope.pc)")
export PKG_CONFIG_PATH
read -ra flags < <(pkg-config --cflags --libs mroscope)
"${CC:-cc}" -Wall -Wextra -Werror -o fraction fraction.c "${flags[@]}" >out.txt 2>err.txt
code=$?
expect_code 0
if command -v "${CXX:-c++}" >/dev/null; then # not its {0}, which C++ has another word for
    "${CXX:-c++}" -x c++ -Wall -Wextra -Werror -Wno-missing-field-initializers -fsyntax-only fraction.c "${flags[@]}" >out.txt 2>err.txt
    code=$?
    expect_code 0
fi
LD_LIBRARY_PATH=$(pkg-config --variable=libdir mroscope)
export LD_LIBRARY_PATH
# The same with CMake.
cat >CMakeLists.txt <<'EOF'
cmake_minimum_required(VERSION 3.22)
project(fraction C)
find_package(mroscope 0.1 REQUIRED)
add_executable(fraction fraction.c)
target_link_libraries(fraction PRIVATE mroscope::mroscope)
EOF
cmake -S . -B with-cmake -DCMAKE_PREFIX_PATH="$PWD/moved" >out.txt 2>err.txt && cmake --build with-cmake >>out.txt 2>>err.txt
code=$?
expect_code 0
checks=$((checks + 1))
./with-cmake/fraction missing.tif 2>&1 | grep -q 'missing.tif' || fail "what CMake linked does not run"
measure() {
    ./fraction "$@" >out.txt 2>err.txt
    code=$?
}
measure "$samples/AQ_0_corr.tif"
expect_code 0
expect_line '^[^:]*AQ_0_corr.tif: [0-9.]+ % ordered \([0-9.]+ to [0-9.]+ %\)'
measured=$(sed -n 's/^[^:]*: \([0-9.]*\) % ordered.*/\1/p' out.txt)
run mro --kv 200 --cs -0.01 "$samples/AQ_0_corr.tif"
expect_out "$measured % ("
measure "$samples/AQ_0_corr.tif" missing.tif
expect_code 1
expect_err 'missing.tif'

finish
