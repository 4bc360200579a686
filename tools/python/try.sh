#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The package as its users get it: builds the wheel, installs it with HyperSpy into a fresh environment, and runs its
# tests there. Needs the network, and takes some minutes. Arguments go to pip wheel, such as
# -C cmake.define.MROSCOPE_CUDA=off
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" wheel --quiet --no-deps --wheel-dir "$work" "$@" "$root/tools/python"
"$work/venv/bin/pip" install --quiet "$work"/mroscope-*.whl pytest hyperspy
cd "$work"
# Without the checkout's own sources on the path, and with the program of its build, if there is one, to compare with.
unset PYTHONPATH MROSCOPE_LIBRARY
if [ -x "$root/build/mroscope" ]; then export MROSCOPE_PROGRAM=${MROSCOPE_PROGRAM:-$root/build/mroscope}; fi
"$work/venv/bin/python" -m pytest -q -p no:cacheprovider "$root/tools/python/tests"
