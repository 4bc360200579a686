# SPDX-License-Identifier: GPL-3.0-or-later
# Asserts for the end-to-end scripts. Each script sources this first and ends with `finish`.
# Inputs: MROSCOPE_PROGRAM, MROSCOPE_SAMPLES, MROSCOPE_TEST_DATA.
set -u
program=${MROSCOPE_PROGRAM:?}
samples=${MROSCOPE_SAMPLES:?}
scratch=$(mktemp -d)
trap 'chmod -R u+w "$scratch"; rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
checks=0
failures=0

fail() {
    failures=$((failures + 1))
    echo "FAILED (line ${BASH_LINENO[1]}): $*"
    echo "  exit code $code"
    sed 's/^/  stdout: /' out.txt | head -5
    sed 's/^/  stderr: /' err.txt | head -5
}

# tiff8 FILE WIDTH HEIGHT N M: pixels of one byte each from stdin as a TIFF of N/M pixels a nm, as ImageJ writes it
export LC_ALL=C
u16() { printf '%b' "$(printf '\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)))"; }
u32() { u16 $(($1 & 65535)) && u16 $(($1 >> 16)); }
tag() { u16 "$1" && u16 "$2" && u32 "$3" && u32 "$4"; }
tiff8() {
    local width=$2 height=$3 note=$'ImageJ=1.53\nunit=nm\n'
    {
        printf 'II' && u16 42 && u32 8
        u16 11
        tag 256 4 1 "$width" && tag 257 4 1 "$height" && tag 258 3 1 8 && tag 259 3 1 1 && tag 262 3 1 1
        tag 270 2 21 154 && tag 273 4 1 192 && tag 278 4 1 "$height" && tag 279 4 1 $((width * height)) && tag 282 5 1 176 && tag 283 5 1 176
        u32 0
        u32 0 && u32 0
        printf '%s\0' "$note"
        printf '\0'
        u32 "$4" && u32 "$5"
        u32 0 && u32 0
        cat
    } >"$1"
}

# stack16 FRAMES WIDTH HEIGHT N M: the header of an ImageJ stack of 16-bit images that follow it, N/M pixels a nm
stack16() {
    local text
    text=$(printf 'ImageJ=1.53t\nimages=%d\nunit=nm\n' "$1")
    printf 'II' && u16 42 && u32 8 && u16 11
    tag 256 4 1 "$2" && tag 257 4 1 "$3" && tag 258 3 1 16 && tag 259 3 1 1 && tag 262 3 1 1
    tag 270 2 $((${#text} + 1)) 200
    tag 273 4 1 300 && tag 278 4 1 "$3" && tag 279 4 1 $(($2 * $3 * 2)) && tag 282 5 1 160 && tag 283 5 1 160
    u32 0
    head -c 14 /dev/zero && u32 "$4" && u32 "$5" # at byte 160: the resolution
    head -c 32 /dev/zero && printf '%s\0' "$text"
    head -c $((99 - ${#text})) /dev/zero
}

# run ARGS...: runs the program; leaves out.txt, err.txt and $code. What is not known is said in words, never as nan.
code=0
run() {
    "$program" "$@" >out.txt 2>err.txt
    code=$?
    ! grep -qwE 'nan|inf' out.txt || fail "a number that is none is printed: $*"
}

# expect CONDITION...: a command that has to succeed
expect() {
    checks=$((checks + 1))
    "$@" || fail "$*"
}
# expect_not COMMAND...: one that has to fail
expect_not() {
    checks=$((checks + 1))
    if "$@"; then fail "not: $*"; fi
}

expect_code() {
    checks=$((checks + 1))
    [ "$code" -eq "$1" ] || fail "expected exit code $1"
}

# expect_err TEXT / expect_out TEXT: fixed text somewhere in the stream
expect_err() {
    checks=$((checks + 1))
    grep -qF -- "$1" err.txt || fail "stderr lacks: $1"
}
expect_out() {
    checks=$((checks + 1))
    grep -qF -- "$1" out.txt || fail "stdout lacks: $1"
}

# expect_one_line: exactly one line on stderr that names the program, nothing on stdout
expect_one_line() {
    checks=$((checks + 1))
    [ "$(wc -l <err.txt)" -eq 1 ] && grep -q '^mroscope: ' err.txt || fail "expected one sentence on stderr"
    [ ! -s out.txt ] || fail "expected nothing on stdout"
}

expect_file() {
    checks=$((checks + 1))
    [ -s "$1" ] || fail "no file $1"
}

# expect_empty DIR: no file at all, hidden ones included
expect_empty() {
    checks=$((checks + 1))
    [ -z "$(ls -A "$1" 2>/dev/null)" ] || fail "left behind in $1: $(ls -A "$1")"
}

expect_same() {
    checks=$((checks + 1))
    cmp -s "$1" "$2" || fail "$1 and $2 differ: $(diff "$1" "$2" | head -3)"
}

# expect_json FILE: every line (or the whole file) parses; needs python3 or jq, else only a look at the brackets
expect_json() {
    checks=$((checks + 1))
    if command -v jq >/dev/null; then
        jq -e . "$1" >/dev/null || fail "$1 is no JSON"
    elif command -v python3 >/dev/null; then
        python3 -c 'import json, sys
text = open(sys.argv[1]).read()
try: json.loads(text)
except ValueError: [json.loads(line) for line in text.splitlines()]' "$1" || fail "$1 is no JSON"
    else
        head -c1 "$1" | grep -q '{' && tail -c2 "$1" | grep -q '}' || fail "$1 is no JSON"
    fi
}

# expect_keys FILE KEY...: the text of an object has each key
expect_keys() {
    local file=$1 key
    shift
    for key in "$@"; do
        checks=$((checks + 1))
        grep -qF "\"$key\":" "$file" || fail "$file lacks the key $key"
    done
}

# expect_result VERB KEY...: the last run gave a JSON result of VERB with these keys and those that every result has, and
# without the options that only say how it was computed
expect_result() {
    local verb=$1
    shift
    expect_code 0
    expect_json out.txt
    expect_keys out.txt schema file frame shape pixel_nm calibration warnings provenance options "$@"
    expect_out "\"schema\": \"mroscope.$verb/1\""
    checks=$((checks + 1))
    grep -qE '"(threads|memory|device|output|quiet)":' out.txt && fail "an execution option is in the result"
}

# expect_again ARGS...: runs the program and expects what the run before it printed, to the byte
expect_again() {
    cp out.txt before.txt
    run "$@"
    expect_code 0
    expect_same out.txt before.txt
}

finish() {
    echo "$checks checks, $failures failures"
    [ "$checks" -gt 0 ] && [ "$failures" -eq 0 ]
    exit
}
