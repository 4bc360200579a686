#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A program that is ended in the middle, or whose input is cut short while it is read, leaves nothing half written.
# shellcheck source=lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"

# mrc MODE BYTES: the header of 40000 frames of 1024 x 1024 pixels that are not written: a file with a hole takes no room
mrc() {
    {
        printf '\0\4\0\0\0\4\0\0\100\234\0\0%b\0\0\0' "$1"
        head -c 192 /dev/zero
        printf 'MAP DD'
        head -c 810 /dev/zero
    } >long.mrc
    truncate -s $((1024 + 40000 * $2)) long.mrc
}

# start OUT: begins a conversion that takes long, and waits until something of it is written; its id is left in $running,
# and in $unnamed what it writes that no folder lists
start() {
    "$program" convert -o "$1" long.mrc >out.txt 2>err.txt &
    running=$!
    for _ in $(seq 1500); do
        unnamed=$(find -L "/proc/$running/fd" -type f -links 0 -size +64k 2>/dev/null)
        [ -n "$unnamed$(find "$1" -name '.mroscope-*.tmp' -size +64k 2>/dev/null)" ] && break
        sleep 0.02
    done
    checks=$((checks + 1))
    kill -0 "$running" || fail "it has ended by itself"
}

mrc '\001' $((2 * 1024 * 1024))
for name in TERM HUP; do
    start "out-$name"
    kill -s "$name" "$running"
    wait "$running"
    code=$?
    # The shell sees the signal, and the folder is empty.
    expect_code $((128 + $(kill -l "$name")))
    expect_empty "out-$name"
done

# Where the file system knows files without a name, nothing is left by what no program can act upon either.
start out-KILL
kill -s KILL "$running"
wait "$running"
[ -z "$unnamed" ] || expect_empty out-KILL

# Packed bytes (mode 101) are taken apart where they are mapped.
mrc '\145' $((512 * 1024))
start cut
truncate -s 2048 long.mrc
wait "$running"
code=$?
expect_code 1
expect_one_line
expect_err "cut short while it was read"
expect_empty cut

# Frames that are measured and wait for those before them have no names yet. Here all wait for who reads the results.
{
    stack16 40 48 48 2 1
    for i in $(seq 0 39); do tail -c +$((i * 9000 + 1001)) "$samples/AQ_0_corr.tif" | head -c $((48 * 48 * 2)); done
} >frames.tif
mkfifo results
for name in TERM PIPE; do
    "$program" haadf --band 0.2,0.9 --surrogates 299 --threads 3 --quiet --json -o "waits-$name" frames.tif >results 2>err.txt &
    running=$!
    exec 3<results
    now=
    for _ in $(seq 200); do
        before=$now
        now=$(find "waits-$name" -name '.mroscope-*' 2>/dev/null)
        [ -n "$now" ] && [ "$now" = "$before" ] && break
        sleep 0.2
    done
    expect [ -n "$now" ]
    # One of the two: of signals that wait together, a program gets that of the pipe first.
    if [ "$name" = TERM ]; then kill "$running"; else exec 3<&-; fi
    wait "$running"
    code=$?
    exec 3<&-
    expect_code $((128 + $(kill -l "$name")))
    expect [ -z "$(find "waits-$name" -name '.mroscope-*')" ]
done

# A file that is written to meanwhile may be half of one image and half of another: it has no result from there on.
"$program" haadf --band 0.2,0.9 --surrogates 299 --threads 1 --quiet --json frames.tif >results 2>err.txt &
running=$!
exec 3<results
read -r first <&3
sleep 0.1
touch frames.tif
cat <&3 >out.txt
wait "$running"
code=$?
exec 3<&-
expect [ -n "$first" ]
expect_code 1
expect_err "'frames.tif' was written to while it was read; measure it again when it is finished"
expect [ "$(wc -l <out.txt)" -lt 39 ]

finish
