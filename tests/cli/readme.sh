#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Every command of the README and of docs/ that measures samples works as written, and its files and keys are there.
# shellcheck source=lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
readme=$samples/../README.md
mkdir build
ln -s "$program" build/mroscope
cp -r "$samples" samples

n=0
while read -r line; do
    case $line in *my_images*) continue ;; esac
    n=$((n + 1))
    bash -c "$line" >out.txt 2>err.txt </dev/null
    code=$?
    expect_code 0
    checks=$((checks + 1))
    [ -s out.txt ] || fail "no output of: $line"
    case $line in *--json*) expect_json out.txt ;; esac
done < <(sed -n '/^```sh$/,/^```$/p' "$readme" "$samples"/../docs/*.md | grep '^build/mroscope ' | awk '!seen[$0]++')
checks=$((checks + 1))
[ "$n" -ge 29 ] || fail "only $n commands found in the README and docs/"

for suffix in json objects.csv sweep.csv png svg pdf score.tif mask.tif filtered.tif acf.tif; do
    expect_file results/CTC30_e10_0_corr.mro.$suffix
done
for suffix in tif json png svg pdf; do expect_file filtered/AQ_0_corr.bandpass.$suffix; done
for suffix in json flat.tif dark.tif png svg pdf; do expect_file results/haadf_ascast.haadf.$suffix; done
for suffix in json crystals.csv exx.tif filtered.tif png svg pdf; do expect_file results/nanocrystal.lattice.$suffix; done

# Every key of a result is explained where its verb is, or where all results are; not names of elements, nor what comes
# with a number.
if command -v python3 >/dev/null; then
    for result in results/*.json; do
        checks=$((checks + 1))
        python3 - "$samples/../docs" "$result" >err.txt 2>&1 <<'END' || fail "keys of $result that docs/ does not explain"
import json, re, sys
docs, file = sys.argv[1:]
result = json.load(open(file))
keys, todo = set(), [{key: v for key, v in result.items() if key not in ("options", "provenance")}]
while todo:
    v = todo.pop()
    if isinstance(v, dict):
        keys.update(v)
        todo.extend(v.values())
    elif isinstance(v, list):
        todo.extend(v)
verb = result["schema"].split(".")[1].split("/")[0]
page = {"compare": "session"}.get(verb, verb)
known = set(re.findall(r"\w+", open(f"{docs}/{page}.md").read() + open(f"{docs}/output.md").read()))
element = re.compile("[A-Z][a-z]?(-[A-Z][a-z]?)?")
missing = [key for key in sorted(keys) if not element.fullmatch(key) and key not in known
           and not re.search("_(se|ci95|systematic)$", key)]
sys.exit(", ".join(missing) if missing else 0)
END
    done
fi

# The verbs of the program are those of the README.
run --help
while read -r verb; do
    checks=$((checks + 1))
    grep -q "^\*\*$verb\*\*" "$readme" || fail "the README says nothing of $verb"
done < <(sed -n '/^Verbs/,/^$/s/^  \([a-z]*\) .*/\1/p' out.txt)

finish
