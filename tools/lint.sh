#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Checks of the sources: format, static analysis, licence lines, what folders include, links between pages, no absolute paths of somebody's machine.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

bad=0
complain() {
    echo "lint: $*" >&2
    bad=1
}
mapfile -t files < <(git ls-files --cached --others --exclude-standard 2>/dev/null || find . -type f -not -path './build*' -not -path './.git/*')
sources=()
all=()
for f in "${files[@]}"; do
    f=${f#./}
    [ -f "$f" ] || continue
    case $f in
    *.c | *.h | *.cu | *.cuh) sources+=("$f") all+=("$f") ;;
    *.sh | *.bash | *.py | *.txt | *.md | *.json | .ci/*) all+=("$f") ;;
    esac
done
if [ ${#sources[@]} -eq 0 ]; then
    complain "no sources found"
    exit 1
fi

# Other versions of clang-format set the same file differently, so only this one is asked.
format=clang-format-14
if ! command -v $format >/dev/null && clang-format --version 2>/dev/null | grep -q 'version 14\.'; then format=clang-format; fi
if command -v $format >/dev/null; then
    for f in "${sources[@]}"; do
        $format --dry-run --Werror "$f" 2>/dev/null || complain "format differs; run: $format -i $f"
    done
else
    echo "lint: clang-format 14 is not here: format not checked"
fi

mapfile -t programs < <(printf '%s\n' "${sources[@]}" | grep '\.c$' | grep -v '^tests/')
if command -v cppcheck >/dev/null; then
    # Two configurations of a file: more take twice as long, and the compilers see the others.
    cppcheck --quiet --error-exitcode=1 --std=c11 --language=c --enable=warning,portability --inline-suppr -j 2 --max-configs=2 \
        --suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches --suppress=toomanyconfigs -I include -I host -I . \
        "${programs[@]}" || complain "cppcheck found the above"
else
    echo "lint: cppcheck is not here: no static analysis"
fi

if command -v shellcheck >/dev/null; then
    mapfile -t scripts < <(printf '%s\n' "${all[@]}" | grep '\.sh$')
    shellcheck -S warning -x -P SCRIPTDIR "${scripts[@]}" || complain "shellcheck found the above"
fi

for f in "${sources[@]}"; do
    head -1 "$f" | grep -q 'SPDX-License-Identifier: GPL-3.0-or-later' || complain "'$f' has no licence line"
done

# Folders include of each other what the table of README.md allows.
while IFS='|' read -r folder others; do
    grep -rnE "^#include \"(core|io|ops|cpu|gpu|cuda|strict|session|report|cli|kernels)/" "$folder" --include=*.[ch] |
        grep -vE "\"(${folder#host/}|$others)/" && complain "'$folder' includes what README.md does not let it use, see above"
done <<'table'
host/core|core
host/io|core
host/ops|core
host/cpu|core|kernels
kernels|kernels
host/gpu|core|kernels
host/cuda|core|gpu|kernels
host/strict|core|gpu|kernels
host/session|core|io
host/report|core|io
table

# Who calls the library from C or Python has no command line: there sentences call options `black_level`, each of which is
# one of the program.
mapfile -t library < <(printf '%s\n' "${programs[@]}" | grep '^host/' | grep -v '^host/cli/')
grep -nE '"[^"]*--[a-z]' "${library[@]}" && complain "sentences that name options as the command line does, see above"
grep -nE "\"[^\"]*'mroscope [a-z]" "${library[@]}" && complain "sentences that name verbs as the command line does, see above"
while read -r name; do
    grep -qE "^ *\{ \"$name\", " host/cli/*.c || complain "a sentence calls the option '$name', which no verb has"
done < <(grep -hE '"[^"]*`[a-z]' host -r --include=*.c | grep -vE '^ *(/?\*|//)|/\*.*`' | grep -oE '`[a-z][a-z0-9_-]*[=`]' |
    tr -d '`=' | tr _ - | sort -u)

# Links between pages lead to files of the tree, and to headings that are there.
anchors() { sed -nE 's/^#+ +//p' "$1" | tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9 _-]//g; s/ /-/g'; }
for f in "${all[@]}"; do
    [[ $f == *.md ]] || continue
    while read -r link; do
        page=$f
        case $link in
        *://*) continue ;;
        '#'*) ;;
        *) page=$(dirname "$f")/${link%%#*} ;;
        esac
        [ -e "$page" ] || complain "'$f' links to '$link', which is not there"
        [[ $link != *'#'* ]] || anchors "$page" | grep -qxF -- "${link#*#}" || complain "'$f' links to '$link', a heading that is not there"
    done < <(grep -oE '\]\([^) ]+\)' "$f" | sed 's/^](//; s/)$//' | sort -u)
done

# Paths that exist on one machine only have no place in the tree.
paths='(^|[^A-Za-z0-9_.~-])/(work|home|root|Users|mnt|media|scratch)/[A-Za-z0-9_]'
grep -nE "$paths" -- "${all[@]}" | grep -v '^tools/lint.sh:' && complain "absolute paths, see above"
exit $bad
