#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The program on a machine with graphics cards, and what it does when they fail. The cards are made up (fake.h) and take
# their orders from FAKE_GPU; under them the program also ends with code 99 when it leaves something on a card.
# shellcheck source=../cli/lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/../cli/lib.bash"
image=$samples/AQ_0_corr.tif
unset MROSCOPE_DEVICE

# on MACHINE ARGS...: runs the program on a machine
on() {
    local machine=$1
    shift
    FAKE_GPU=$machine run "$@"
}
expect_quiet() {
    checks=$((checks + 1))
    [ ! -s err.txt ] || fail "expected nothing on stderr"
}

# -- choice --
on "cards=2 busy=1" devices
expect_code 0
expect_out "cuda:0   usable      Pretend A, 0.2 GiB"
expect_out "cuda:1   not usable  Pretend B"
expect_out "card 1 (Pretend B) is busy"
on "cards=2 busy=1" devices --json
expect_json out.txt
expect_keys out.txt name backend usable description reason memory_bytes free_bytes compute_capability driver runtime
expect_out '"name": "cuda:0", "backend": "cuda", "usable": true'
expect_out '"compute_capability": "9.0"'

for device in "" "--device auto" "--device cuda" "--device cuda:0"; do
    # shellcheck disable=SC2086 # no or two words
    on "cards=1" bandpass --json $device "$image"
    expect_code 0
    expect_quiet
    expect_out '"backend": "cuda"'
done
on "cards=2 busy=0" bandpass --json "$image"
expect_code 0
expect_quiet
expect_out '"backend": "cuda"'
on "cards=1 busy=0" bandpass --json "$image"
expect_code 0
expect_out '"backend": "cpu"'
expect_err "mroscope: computing on the CPU: card 0 (Pretend A) is busy"
checks=$((checks + 1))
[ "$(wc -l <err.txt)" -eq 1 ] || fail "expected one line"
on "cards=1 busy=0" bandpass --json --quiet "$image"
expect_quiet
on "driver=0" bandpass --json "$image"
expect_code 0
expect_quiet
on "driver=0" bandpass --json --device auto "$image"
expect_code 0
expect_err "mroscope: computing on the CPU: this machine has no NVIDIA driver"
MROSCOPE_DEVICE=auto on "driver=0" bandpass --json "$image"
expect_err "this machine has no NVIDIA driver"
on "driver=0" bandpass --device cuda "$image"
expect_code 1
expect_one_line
expect_err "use --device cpu"
on "cards=2" bandpass --device cuda:2 "$image"
expect_code 1
expect_one_line
expect_err "this machine has 2 cards"
on "cards=2" bandpass --device cuda:two "$image"
expect_code 2
expect_one_line

# -- a card without room: the same bytes as on the CPU --
on "cards=1" bandpass --json --device cpu "$image"
cp out.txt cpu.json
on "memory=1" bandpass --json --device cuda "$image"
expect_code 0
expect_same out.txt cpu.json
expect_err "mroscope: the GPU has no room for '$image': measured on the CPU"
checks=$((checks + 1))
[ "$(wc -l <err.txt)" -eq 1 ] || fail "expected one line"
on "memory=1" bandpass --json --quiet "$image"
expect_code 0
expect_same out.txt cpu.json
expect_quiet
on "cards=1" mro --json --device cpu "$image"
expect_code 0
cp out.txt cpu.json
on "memory=1" mro --json --device cuda "$image"
expect_code 0
expect_same out.txt cpu.json
expect_err "the GPU has no room for '$image': measured on the CPU"

# -- a card that is lost on the way: a sentence for each file, no half of a result --
on "kernel_fault=3" bandpass --device cuda -o lost "$image" "$samples/null_0_corr.tif"
expect_code 1
expect_err "was lost"
expect_err "--device cpu"
checks=$((checks + 1))
[ "$(wc -l <err.txt)" -eq 2 ] || fail "expected a line for each file"
expect_empty lost
on "kernel_fault=30" mro --device cuda -o lost "$image"
expect_code 1
expect_one_line
expect_empty lost

# Who left the choice open gets the same bytes as on the CPU, and a line that says why.
on "cards=1" bandpass --json --device cpu "$image"
cp out.txt cpu.json
on "kernel_fault=3" bandpass --json "$image"
expect_code 0
expect_same out.txt cpu.json
expect_err "mroscope: '$image' was measured on the CPU: card 0 (Pretend A) was lost"
checks=$((checks + 1))
[ "$(wc -l <err.txt)" -eq 1 ] || fail "expected one line"
on "kernel_fault=3" bandpass --json --device auto --quiet "$image" "$samples/null_0_corr.tif"
expect_code 0
expect_quiet

# -- a session on several cards: dealt in turn, the same bytes as on one; a card that cannot be used is passed over --
echo 'file,state,strain,kind' >session.csv
for i in 0 1 2 3 4 5; do
    tail -c $((2304 * (i + 1))) "$image" | head -c 2304 | tiff8 "small$i.tif" 48 48 10 1
    echo "small$i.tif,s,$i,haadf" >>session.csv
done
# dealt MACHINE DEVICE FOLDER
dealt() { on "$1" batch session.csv --jobs 3 --device "$2" --haadf "--surrogates 299" -o "$3"; }
dealt "cards=1" cuda one
expect_code 0
dealt "cards=3 busy=1" cuda:all three
expect_code 0
checks=$((checks + 1))
# inputs.json says when checksums were taken
diff -r --exclude=inputs.json one three >diff.txt || fail "one card and three differ: $(head -3 diff.txt)"
dealt "cards=2" cuda:all/1 two
expect_code 0
on "cards=0" mro --device cuda:all "$image"
expect_code 1
expect_one_line
expect_err "device 'cuda:all' asked for, but the NVIDIA driver shows no card"
on "cards=2" bandpass --device cuda:all/x "$image"
expect_code 2
expect_one_line

# -- a stack on several cards: its frames are dealt, the same bytes as one after the other on one
{
    stack16 8 48 48 2 1
    for i in 0 1 2 3 4 5 6 7; do tail -c $((4608 * (i + 1))) "$image" | head -c 4608; done
} >stack.tif
on "cards=1 memory=1" haadf --json --device cuda --band 0.2,0.9 --surrogates 299 stack.tif
expect_code 0
cp out.txt one.txt
for machine in "cards=1" "cards=3 busy=1" "cards=4"; do
    on "$machine" haadf --json --device cuda:all --threads 3 --band 0.2,0.9 --surrogates 299 stack.tif
    expect_code 0
    expect_same out.txt one.txt
done
on "cards=2 kernel_fault=200" haadf --device cuda:all --band 0.2,0.9 --surrogates 299 -o lost stack.tif
expect_code 1
expect_err "was lost"

# -- any call that fails ends in a result or in one sentence --
for error in 1 2 700; do
    for at in 5 9 13 16 19 23 28 34 41 49 58 68; do
        rm -rf one
        on "fail_at=$at fail_with=$error" bandpass --device cuda -o one "$image"
        if [ "$code" -eq 0 ]; then
            expect_file one/AQ_0_corr.bandpass.json
        else
            expect_code 1
            expect_one_line
            checks=$((checks + 1))
            if [ -d one ]; then expect_empty one; fi
        fi
    done
done

finish
