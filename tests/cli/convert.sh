#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# convert: names, refusals, what comes back; many files of which some are broken.
# shellcheck source=lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
image=$samples/AQ_0_corr.tif
data=${MROSCOPE_TEST_DATA:?}

# known FILE: what info says of the images of a file, without its name and origin; TIFF has no place for the offset of
# an axis of energy
known() {
    "$program" info --json "$1" | sed 's/.*"images"/"images"/; s/"calibration": "[^"]*"/"calibration": ""/g; s/"offset": \[[^]]*\], //g; s/, "warnings".*//'
}

# -- there and back
run convert -o out "$image"
expect_code 0
expect_out "AQ_0_corr.tif -> out/AQ_0_corr.tif: 800 x 800 uint16, 0.02 nm a pixel (ImageJ)"
expect_file out/AQ_0_corr.tif
known "$image" | sed 's/"title": ""/"title": ""/' >want.txt
known out/AQ_0_corr.tif >got.txt
expect_same want.txt got.txt
# Again from the result: the pixels are the same bytes.
run convert -o twice out/AQ_0_corr.tif
expect_code 0
known twice/AQ_0_corr.tif >got.txt
expect_same want.txt got.txt
for name in test_diffraction_pattern.dm3 test_stackbuilder_imagestack.dm3 dmTest_float32_nonSquare_diffPixelSize.dm4 \
    test_fft_packed_complex8.dm4 EELS_SI.dm4 2D_test-23.dm4; do
    run convert --quiet -o dm "$data/$name"
    expect_code 0
    known "$data/$name" >want.txt
    known "dm/${name%.*}.tif" >got.txt
    expect_same want.txt got.txt
done
run info --json dm/test_diffraction_pattern.tif
expect_out '"unit": ["1/nm", "1/nm"]'
expect_out '"kind": "diffraction"'
expect_out '"beam_kv": 200'
run info --json dm/dmTest_float32_nonSquare_diffPixelSize.tif
expect_out '"pixel_size": [0.2'

# -- several images in a file, a part of the frames, another pixel size
run convert -o several "$data/multi_signal.dm3"
expect_code 0
expect_file several/multi_signal.i0.tif
expect_file several/multi_signal.i1.tif
run convert --json --frames 1 --pixel 0.5 -o part "$data/test_stackbuilder_imagestack.dm3"
expect_code 0
expect_json out.txt
expect_keys out.txt schema file output frames dtype calibration provenance warnings input_sha256
expect_out '"schema": "mroscope.convert/1"'
expect_out '"output": "part/test_stackbuilder_imagestack.tif"'
expect_out '"calibration": "command line"'
run info --json part/test_stackbuilder_imagestack.tif
expect_out '"shape": [2, 16], "dtype": "uint32", "pixel_size": [0.5, 0.5]'
run convert --frames 99 -o left "$data/test_stackbuilder_imagestack.dm3"
expect_code 1
expect_one_line
expect_err "has no frame 99"
expect_empty left

# -- axes of other units, one axis, steps that differ in the seventh digit
run convert -o several "$data/emd/velox_stream.emd"
expect_code 0
expect_out "image 2 -> several/velox_stream.i2.tif: 2048 x 5 x 4 uint16, 10 eV x 0.2 nm a pixel (vendor metadata)"
expect_out "image 3 -> several/velox_stream.i3.tif: 2048 uint32, 10 eV a pixel (vendor metadata)"
run info "$data/HAADFscan_one_block.mrc"
expect_out "pixel 5.67913 nm (vendor metadata)"
# A name on two lines adds no line to the notes.
cp "$image" $'two\nunit=mm.tif'
run convert -o several $'two\nunit=mm.tif'
expect_code 0
checks=$((checks + 1))
[ "$(tr -d '\0' <several/two*.tif | grep -ac '^unit=')" -eq 1 ] || fail "the name of the file wrote a line of its own"

# -- MRC
run convert --to mrc -o mrc "$image"
expect_code 0
expect_file mrc/AQ_0_corr.mrc
checks=$((checks + 1))
[ "$(head -c 212 mrc/AQ_0_corr.mrc | tail -c 4)" = "MAP " ] || fail "no MRC file"
checks=$((checks + 1))
[ "$(wc -c <mrc/AQ_0_corr.mrc)" -eq $((1024 + 800 * 800 * 2)) ] || fail "size of the MRC file"
# And back from it: the same pixels, in the same order.
run convert -o back mrc/AQ_0_corr.mrc
expect_code 0
tail -c +1025 mrc/AQ_0_corr.mrc >want.raw
checks=$((checks + 1))
[ "$(tail -c $((800 * 800 * 2)) "$image" | cksum)" = "$(cksum <want.raw)" ] || fail "the pixels of the MRC file"
run info --json back/AQ_0_corr.tif
expect_out '"shape": [800, 800], "dtype": "uint16", "pixel_size": [0.02'
run convert --to mrc -o left "$data/2D_test-23.dm4"
expect_code 1
expect_one_line
expect_err "MRC has no mode for rgba8 pixels"
expect_empty left
run convert --to mrc -o mrc "$data/test_diffraction_pattern.dm3"
expect_code 1
# What MRC has no place for is told, and that its bytes are signed.
run convert --to mrc -o mrc "$data/EELS_SI.dm4" "$data/PtCo.jpg"
expect_code 0
expect_err "MRC has no place for beam energy, scale along the stack, scale of the values, magnification, camera length, binning, tilt, instrument, detector, date: not written"
expect_err "PtCo.jpg': bytes of MRC are signed"
run convert --to png -o left "$image"
expect_code 2
expect_err "--to wants one of tiff|mrc, not 'png'"

# -- where to
run convert "$image"
expect_code 2
expect_one_line
expect_err "--output DIR"
cp "$image" here.tif
run convert -o . here.tif
expect_code 1
expect_one_line
expect_err "would overwrite an input"
cmp -s "$image" here.tif || fail "the input was changed"
mkdir other
cp "$image" other/here.tif
run convert -o both here.tif other/here.tif
expect_code 2
expect_err "would both write"

# -- twenty files of which three are broken: seventeen results, three sentences
mkdir many
for i in $(seq 10 26); do cp "$image" "many/good$i.tif"; done
head -c 100000 "$image" >many/cut.tif
echo "no image" >many/text.tif
: >many/empty.tif
for verb in info bandpass convert; do
    run $verb --json -o "many-$verb" many/*.tif
    expect_code 1
    checks=$((checks + 2))
    [ "$(wc -l <out.txt)" -eq 17 ] || fail "$verb: expected 17 results, got $(wc -l <out.txt)"
    [ "$(grep -c '^mroscope: ' err.txt)" -eq 3 ] && [ "$(wc -l <err.txt)" -eq 3 ] || fail "$verb: expected three sentences"
    for bad in cut text empty; do expect_err "many/$bad.tif"; done
    checks=$((checks + 1))
    [ -z "$(find "many-$verb" -name '*cut*' -o -name '*text*' -o -name '*empty*' -o -name '*.tmp')" ] ||
        fail "$verb: something is left of the broken files"
done
expect_file many-convert/good26.tif

finish
