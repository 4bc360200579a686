#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Installs what mroscope needs and this machine lacks. Does nothing when all is there.
#   tools/setup.sh          to build and use it
#   tools/setup.sh --test   also what the tests and checks need
set -euo pipefail

# What is needed -> the Debian/Ubuntu package that has it. A name with a colon is asked of pkg-config, one
# with a slash is a header, others are programs.
needs=(
    "cc gcc" "cmake cmake" "make make" "pkg-config pkg-config"
    "pkg:zlib zlib1g-dev" "pkg:libtiff-4 libtiff-dev" "pkg:gsl libgsl-dev"
    "pkg:jansson libjansson-dev" "pkg:cairo libcairo2-dev" "pkg:popt libpopt-dev" "pkg:libcrypto libssl-dev"
    "pkg:expat libexpat1-dev"
    "stb/stb_image.h libstb-dev" "hdf5 libhdf5-dev"
)
# The checks of tools/lint.sh, the counts of instructions and the test of the report in a browser use these where they
# are; a system without them can still run every other test.
lint=(
    "python3 python3" "chromium chromium" "chromedriver chromium-driver"
    "clang-format-14 clang-format-14" "cppcheck cppcheck" "clang clang" "valgrind valgrind"
    "glob:/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a libclang-rt-14-dev"
)
if [ "${1:-}" = --test ]; then
    needs+=("pkg:cmocka libcmocka-dev" "pkg:fftw3f libfftw3-dev")
    # The tests of the Python package use them where they are.
    lint+=("py:cffi python3-cffi" "py:numpy python3-numpy" "py:pytest python3-pytest" "py:distributed python3-distributed")
elif [ $# -gt 0 ]; then
    echo "usage: tools/setup.sh [--test]" >&2
    exit 2
fi

# true when the machine has "$1"
has() {
    case $1 in
    # Its headers lie elsewhere on every system, and not every one tells pkg-config.
    hdf5) for h in /usr/include/hdf5.h /usr/include/hdf5/serial/hdf5.h /usr/local/include/hdf5.h \
        "${CONDA_PREFIX:-/nonexistent}/include/hdf5.h" /opt/homebrew/include/hdf5.h; do [ -e "$h" ] && return; done
        return 1 ;;
    glob:*) compgen -G "${1#glob:}" >/dev/null ;;
    pkg:*) command -v pkg-config >/dev/null && pkg-config --exists "${1#pkg:}" ;;
    py:*) /usr/bin/python3 -c "import ${1#py:}" 2>/dev/null || python3 -c "import ${1#py:}" 2>/dev/null ;;
    */*) [ -e "/usr/include/$1" ] || [ -e "/usr/local/include/$1" ] || [ -e "${CONDA_PREFIX:-/nonexistent}/include/$1" ] ||
        [ -e "/opt/homebrew/include/$1" ] ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

# packages of the rows whose need is not met
missing() {
    local row
    for row in "$@"; do has "${row% *}" || printf '%s ' "${row#* }"; done
}

check_versions() {
    if ! pkg-config --atleast-version=4.5 libtiff-4; then
        echo "mroscope needs libtiff 4.5 or newer and this system has $(pkg-config --modversion libtiff-4)." >&2
        echo "Debian 12 and Ubuntu 24.04 have it; on older systems take the libraries from conda-forge:" >&2
        echo "  conda create -n mroscope -c conda-forge compilers cmake make pkg-config libtiff gsl jansson cairo popt openssl expat stb hdf5 cmocka" >&2
        return 1
    fi
}

want=$(missing "${needs[@]}")
extra=""
[ "${1:-}" = --test ] && extra=$(missing "${lint[@]}")
if [ -z "$want$extra" ]; then
    check_versions
    exit 0
fi

if ! command -v apt-get >/dev/null; then
    if [ -z "$want" ]; then
        check_versions
        exit 0
    fi
    echo "This system has no apt-get. Please install, under the names that it uses: $want" >&2
    echo "  Homebrew:    brew install cmake pkg-config libtiff gsl jansson cairo popt openssl expat stb hdf5 libomp cmocka" >&2
    echo "  Fedora:      dnf install gcc cmake make pkgconf libtiff-devel gsl-devel jansson-devel cairo-devel popt-devel openssl-devel expat-devel stb_image-devel hdf5-devel libcmocka-devel" >&2
    echo "  conda-forge: conda install -c conda-forge compilers cmake make pkg-config libtiff gsl jansson cairo popt openssl expat stb hdf5 cmocka" >&2
    exit 1
fi

root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "Please ask an administrator to run: apt-get install $want$extra" >&2
        [ -n "$want" ] && exit 1
        check_versions
        exit 0
    fi
    root=(sudo)
fi
install() { "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; }

echo "Installing: $want$extra"
"${root[@]}" apt-get update -q || echo "The package lists could not be renewed; going on with those at hand." >&2
if [ -n "$want" ]; then
    # shellcheck disable=SC2086 # a list of names
    install $want
fi
for package in $extra; do
    install "$package" || echo "$package is not to be had here; what needs it is left out." >&2
done

left=$(missing "${needs[@]}")
if [ -n "$left" ]; then
    echo "Still missing after installing: $left" >&2
    exit 1
fi
check_versions
