#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# mro and bandpass from file to results: keys, files, calibration, many inputs, failures.
# shellcheck source=lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
image=$samples/AQ_0_corr.tif
optics=(--kv 200 --cs -0.01)

# -- JSON and files
run mro "${optics[@]}" --json "$image"
expect_result mro band_inv_nm d_nm false_positive_rate cells region_nm fraction_raw fraction fraction_ci95 \
    fraction_at_most null_fraction p_image p_image_at_most distinguishable verdict fraction_acf density_per_nm2 diameter_median_nm sweep \
    grade_fractions size_limit_nm coverage blemished_fraction interference_fraction ctf defocus_nm astigmatism_nm azimuth_deg delocalisation_nm objects version \
    commit backend input_sha256 seed options
expect_out '"pixel_nm": [0.02, 0.02], "calibration": "ImageJ"'
expect_out '"kv": {"value": 200, "unit": "kV"}'
expect_out '"band": {"value": [4.1, 5.8], "unit": "1/nm"}'
expect_again mro "${optics[@]}" --json --threads 1 "$image"
expect_again mro "${optics[@]}" --json --threads 2 --memory 1G "$image"

run mro "${optics[@]}" -o deep/results "$image"
expect_code 0
expect_out "verdict"
expect_out "%"
for suffix in json objects.csv survival.csv score.tif mask.tif spacing.tif filtered.tif whitened.tif png svg pdf; do
    expect_file "deep/results/AQ_0_corr.mro.$suffix"
done
expect_json deep/results/AQ_0_corr.mro.json
checks=$((checks + 1))
[ "$(head -1 deep/results/AQ_0_corr.mro.objects.csv)" = $'x_nm,y_nm,diameter_nm,d_nm,azimuth_deg,snr,grade\r' ] ||
    fail "header of the objects table"
run info --json deep/results/AQ_0_corr.mro.score.tif
expect_code 0
expect_out '"dtype": "float32"'
expect_out '"unit": ["nm", "nm"]'

run bandpass --json -o filtered "$image"
expect_code 0
expect_json out.txt
expect_out '"schema": "mroscope.bandpass/1"'
expect_keys out.txt band_inv_nm rms_in rms_out
expect_file filtered/AQ_0_corr.bandpass.tif
run info --json filtered/AQ_0_corr.bandpass.tif
expect_out '"shape": [800, 800], "dtype": "float32", "pixel_size": [0.02, 0.02]'
run bandpass --d-band 0.172,0.25 "$image"
expect_code 0
expect_out "pixels of 0.02 nm"

# -- calibration
run bandpass --pixel 0.03 --json "$image"
expect_code 0
expect_out '"calibration": "command line"'
expect_out '--pixel 0.03 nm differs by 50 %'
run bandpass --pixel 0.0201 --json "$image"
expect_code 0
expect_out '"warnings": []'
run bandpass --pixel 0.02,0.03 --json -o oblong "$image"
expect_code 0
expect_out '"pixel_nm": [0.03, 0.02], "calibration": "command line"'
expect_out '"pixel": {"value": [0.02, 0.03], "unit": "nm"}'
expect_out '--pixel 0.03 nm differs by 50 % from the 0.02 nm of the file (ImageJ) along y'
run info --json oblong/AQ_0_corr.bandpass.tif
expect_out '"pixel_size": [0.03, 0.02]'
run bandpass --pixel 0.02,0.03 "$image"
expect_out "pixels of 0.02 nm along x"
printf 'Dear all,\nthese are notes.\n' >notes.dm4
run bandpass notes.dm4
expect_code 1
expect_err "'notes.dm4' is of no image format that is read"
expect_err "it begins with the text 'Dear all,'"
# resolution tags of 0.02 nm are offered, those of a print are not
head -c 4096 /dev/urandom | tiff8 tags.tif 64 64 1270000000 1
sed -i 's/ImageJ=1.53/another one/' tags.tif
run bandpass tags.tif
expect_code 1
expect_err "is unknown but for resolution tags, which say 0.02 nm; give --pixel NM, or --resolution-tags if those are the"
run bandpass --resolution-tags tags.tif
expect_code 0
expect_out "pixels of 0.02 nm"
run bandpass "$MROSCOPE_TEST_DATA/tiff/hopper_lzw.tif"
expect_code 1
checks=$((checks + 1))
! grep -q "resolution-tags" err.txt || fail "the tags of a print are offered"
run bandpass --json --resolution-tags --band 0.5,1 "$MROSCOPE_TEST_DATA/dmTest_float32_nonSquare_diffPixelSize.dm4"
expect_code 1
run bandpass --json --band 0.1,0.4 "$MROSCOPE_TEST_DATA/dmTest_float32_nonSquare_diffPixelSize.dm4"
expect_code 0
expect_out '"pixel_nm": [0.2, 1], "calibration": "vendor metadata"'
run bandpass --band 4.1,30 "$image"
expect_code 1
expect_one_line
expect_err "AQ_0_corr.tif"

# -- a stack: a result for each frame and one together
# u16 N / u32 N: little-endian bytes; two pages of 160 x 160 16-bit pixels without calibration
u16() { printf '%b' "$(printf '\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)))"; }
u32() { u16 $(($1 & 65535)) && u16 $(($1 >> 16)); }
tag() { u16 "$1" && u16 "$2" && u32 1 && u32 "$3"; }
bytes=$((160 * 160 * 2))
page() { # offset of its pixels, offset of the next page
    u16 8
    tag 256 4 160 && tag 257 4 160 && tag 258 3 16 && tag 259 3 1 && tag 262 3 1 && tag 273 4 "$1" && tag 278 4 160 &&
        tag 279 4 $bytes
    u32 "$2"
}
# A page's directory takes 2 + 8 * 12 + 4 = 102 bytes.
{
    printf 'II' && u16 42 && u32 8
    page 212 110
    page $((212 + bytes)) 0
    tail -c $((2 * bytes)) "$image"
} >stack.tif
run info --json stack.tif
expect_code 0
expect_out '"shape": [2, 160, 160], "dtype": "uint16", "pixel_size": [null, null, null]'
run mro stack.tif
expect_code 1
expect_one_line
expect_err "--pixel NM"
run info stack.tif
expect_out "2 frames of 160 x 160 uint16"
run mro "${optics[@]}" --json --pixel 0.02 -o stack stack.tif
expect_code 0
checks=$((checks + 1))
[ "$(grep -c '"schema": "mroscope.mro/1"' out.txt)" -eq 3 ] || fail "expected two frames and one result of both"
expect_out '"frame": 0, "shape": [160, 160]'
expect_out '"frame": 1, "shape": [160, 160]'
expect_out '"frame": null, "shape": [160, 160], "pixel_nm": [0.02, 0.02], "calibration": "command line"'
for name in stack.f0000 stack.f0001 stack; do expect_json stack/$name.mro.json; done
expect_file stack/stack.f0001.mro.objects.csv
run mro "${optics[@]}" --json --pixel 0.02 --frames 1 stack.tif
expect_code 0
checks=$((checks + 1))
[ "$(wc -l <out.txt)" -eq 1 ] || fail "expected one frame"
expect_out '"frame": 1,'
run bandpass --pixel 0.02 --json -o stack stack.tif
expect_code 0
expect_file stack/stack.f0001.bandpass.tif

# -- the checksum of a file, and of its parts
cp "$image" long.tif
truncate -s 130M long.tif
part_sums() {
    for part in 0 1 2; do tail -c +$((part * (64 << 20) + 1)) long.tif | head -c 64M | sha256sum | cut -c-64; done
}
whole=$(sha256sum <long.tif | cut -c-64)
parts=$(printf '%b' "$(part_sums | tr -d '\n' | sed 's/../\\x&/g')" | sha256sum | cut -c-64)
run bandpass --json --checksum whole long.tif
expect_code 0
expect_out "\"input_sha256\": \"$whole\", \"calibration\""
for threads in 1 3; do
    run bandpass --json --checksum parts --threads $threads long.tif
    expect_code 0
    expect_out "\"input_sha256\": null, \"input_sha256_parts\": {\"part_bytes\": 67108864, \"sha256\": \"$parts\"}"
done
run bandpass --checksum half long.tif
expect_code 2
rm long.tif

# -- inputs that fail
head -c 100000 "$image" >cut.tif
for bad in missing.tif cut.tif; do
    for verb in mro bandpass; do
        run $verb -o left $bad
        expect_code 1
        expect_one_line
        expect_err "'$bad'"
        expect_empty left
    done
done
run mro "${optics[@]}" --json cut.tif missing.tif "$samples/null_0_corr.tif"
expect_code 1
expect_err "cut.tif"
expect_err "missing.tif"
expect_out "null_0_corr.tif"
# a crystal of 8 nm, 59 % of what is measured, is no cluster
run mro "${optics[@]}" --json "$samples/stem/nanocrystal.tif"
expect_code 0
expect_out "% are crystals of up to 8.0 nm"
checks=$((checks + 1))
sed -n 's/.*"fraction": \([0-9.]*\),.*/\1/p' out.txt | awk '{ exit !($1 > 0.54 && $1 < 0.64) }' ||
    fail "the fraction is not that of the crystal"
# an image of a STEM detector
run mro "$samples/../tests/data/multi_signal.dm3"
expect_code 0
expect_err "a STEM detector took the image"
run mro --d 2.03 "$image"
expect_code 2
expect_err "between 0.02 and 0.6"
run mro --frames 3 "$image"
expect_code 1
expect_err "has no frame 3"

# -- outputs that fail
mkdir other
cp "$image" other/
run mro -o clash "$image" other/AQ_0_corr.tif
expect_code 2
expect_one_line
expect_err "would both write 'clash/AQ_0_corr.mro.json'"
run mro -o clash "$image" "$image"
expect_code 2
expect_err "AQ_0_corr.tif' is given twice"
checks=$((checks + 1))
[ ! -e clash ] || fail "a folder was made before the clash was found"
cp "$image" other/AQ_0_corr.f0001.tif
run mro -o clash "$image" other/AQ_0_corr.f0001.tif
expect_code 2
expect_one_line
expect_err "could write the same names"
# A result never replaces an input.
cp "$image" other/a.tif
cp "$image" other/a.bandpass.tif
run bandpass --json -o other other/a.tif other/a.bandpass.tif
expect_code 1
expect_err "would overwrite an input"
expect_out '"file": "other/a.bandpass.tif"'
expect_same other/a.bandpass.tif "$image"
: >file
run mro -o file "$image"
expect_code 2
expect_one_line
expect_err "--output DIR"
if [ -d /proc/self ]; then # a place where nobody can write, root neither
    run mro -o /proc/results "$image"
    expect_code 2
    expect_one_line
    expect_err "'/proc/results'"
fi
if [ "$(id -u)" -ne 0 ]; then
    mkdir locked
    chmod 555 locked
    run mro -o locked "$image"
    expect_code 2
    expect_one_line
    expect_err "'locked'"
    run mro -o locked/new "$image"
    expect_err "Permission denied"
fi
# A disk that is full after 4 kB: a sentence, and no file left. (The limit also holds for stderr, hence the pipe.)
mkdir full
for verb in mro bandpass; do
    : >out.txt
    { (ulimit -f 4; "$program" $verb --quiet -o full "$image" 2>&1 >/dev/null; echo "code $?") | cat; } >err.txt
    code=$(sed -n 's/^code //p' err.txt)
    expect_code 1
    expect_err "mroscope: "
    expect_err "full/AQ_0_corr.$verb"
    expect_empty full
done

finish
