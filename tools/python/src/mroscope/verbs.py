# SPDX-License-Identifier: GPL-3.0-or-later
# Made by generate.py from the option tables of libmroscope: change those, and run it again.
"""The verbs of mroscope as functions."""

from __future__ import annotations

import os
from typing import Any, Iterable, Literal, Mapping, Sequence

from ._run import measure
from .result import Result


def mro(
    image: Any,
    *,
    kv: float | None = None,
    cs_mm: float | None = None,
    band_inv_nm: Sequence[float] | None = None,
    d_band_nm: Sequence[float] | None = None,
    d_nm: float | None = None,
    d_tolerance: float | None = None,
    alpha: float | None = None,
    surrogates: int | None = None,
    sweep_band: bool = False,
    map: Literal["acf"] | None = None,
    seed: int | None = None,
    pixel_nm: float | Sequence[float] | None = None,
    resolution_tags: bool = False,
    frames: int | str | Iterable[int] | None = None,
    reduce: Literal["none", "mean", "aligned"] | None = None,
    checksum: Literal["whole", "parts"] | None = None,
    device: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
    output: str | os.PathLike[str] | None = None,
    figure_width_mm: float | None = None,
    details: bool | None = None,
) -> Result:
    """Measures which fraction of the area of an HRTEM micrograph shows medium-range order with a spacing near d_nm
    (alpha-Fe (110) by default), with a 95 % interval, and tests it against a glass of the same spectrum. The pixel
    size is read from the file. Give kv and cs_mm where you know them: without them the width over which the lens
    spreads a cluster is unknown, and the interval is wider.

    Parameters
    ----------
    image
        an image or stack: array, path, Image, HyperSpy signal, or a list of several
    kv
        beam energy (default: what the file says) [kV]
    cs_mm
        spherical aberration of the objective lens, such as 1.2, or -0.01 with a corrector [mm]
    band_inv_nm
        spatial frequencies 1/d to keep [1/nm] (default 4.1,5.8)
    d_band_nm
        the same band as spacings d [nm]
    d_nm
        spacing looked for [nm] (default 0.203)
    d_tolerance
        how far a spacing may be from it, as part of it (default 0.06)
    alpha
        false-positive rate of one cell (default 0.01)
    surrogates
        fields of 25.6 nm of a glass with the same spectrum that the image is compared with (default 26)
    sweep_band
        repeat with other bands and say whether the result holds
    map
        also score the windowed autocorrelation of every cell, the measure used in the literature: acf
    seed
        start of the random numbers; the same seed gives the same bytes (default 1)
    pixel_nm
        pixel size of all images, or X,Y where it differs; wins over what the files say [nm]
    resolution_tags
        where a TIFF says nothing else, believe its resolution tags (often set for printing, not for the microscope)
    frames
        frames of stacks to use, counted from 0, such as 0-9,12 (default: all)
    reduce
        measure the mean of the frames of a stack, as they are or aligned, in place of each frame: none, mean,
        aligned (default none)
    checksum
        SHA-256 of each file, which takes one thread, or of the SHA-256s of its parts of 64 MiB, which takes all:
        sooner for large stacks on many cores: whole, parts (default whole)
    device
        where to compute: auto, cpu, cuda, or a name that 'mroscope devices' lists (default auto)
    threads
        processor threads, 0 = all cores; results do not depend on it (default 0)
    memory
        limit for image data, such as 4G (default: half of this machine's memory)
    output
        write results to this folder, which is made if missing
    figure_width_mm
        width of figures: 180 for two columns of a journal, 80 to 90 for one, with fewer panels side by side and
        type of the same size [mm] (default 180)
    details
        also keep maps, tables and figures in the result, as the program writes them with -o DIR; by default for a
        single image, and not for stacks or with output
    """
    given = dict(locals())
    given.pop("image")
    return measure("mro", image, given, given.pop("details"))


def bandpass(
    image: Any,
    *,
    band_inv_nm: Sequence[float] | None = None,
    d_band_nm: Sequence[float] | None = None,
    edge_inv_nm: float | None = None,
    pixel_nm: float | Sequence[float] | None = None,
    resolution_tags: bool = False,
    frames: int | str | Iterable[int] | None = None,
    reduce: Literal["none", "mean", "aligned"] | None = None,
    checksum: Literal["whole", "parts"] | None = None,
    device: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
    output: str | os.PathLike[str] | None = None,
    figure_width_mm: float | None = None,
    details: bool | None = None,
) -> Result:
    """Keeps a band of spatial frequencies 1/d of each image, with smooth edges, and writes the filtered image as
    calibrated float32 TIFF. The defaults keep the fringes of alpha-Fe (110), d = 0.203 nm.

    Parameters
    ----------
    image
        an image or stack: array, path, Image, HyperSpy signal, or a list of several
    band_inv_nm
        spatial frequencies 1/d to keep, half amplitude at the limits [1/nm] (default 4.1,5.8)
    d_band_nm
        the same band as spacings d [nm]
    edge_inv_nm
        full width of the smooth edges [1/nm] (default 0.3)
    pixel_nm
        pixel size of all images, or X,Y where it differs; wins over what the files say [nm]
    resolution_tags
        where a TIFF says nothing else, believe its resolution tags (often set for printing, not for the microscope)
    frames
        frames of stacks to use, counted from 0, such as 0-9,12 (default: all)
    reduce
        measure the mean of the frames of a stack, as they are or aligned, in place of each frame: none, mean,
        aligned (default none)
    checksum
        SHA-256 of each file, which takes one thread, or of the SHA-256s of its parts of 64 MiB, which takes all:
        sooner for large stacks on many cores: whole, parts (default whole)
    device
        where to compute: auto, cpu, cuda, or a name that 'mroscope devices' lists (default auto)
    threads
        processor threads, 0 = all cores; results do not depend on it (default 0)
    memory
        limit for image data, such as 4G (default: half of this machine's memory)
    output
        write results to this folder, which is made if missing
    figure_width_mm
        width of figures: 180 for two columns of a journal, 80 to 90 for one, with fewer panels side by side and
        type of the same size [mm] (default 180)
    details
        also keep maps, tables and figures in the result, as the program writes them with -o DIR; by default for a
        single image, and not for stacks or with output
    """
    given = dict(locals())
    given.pop("image")
    return measure("bandpass", image, given, given.pop("details"))


def haadf(
    image: Any,
    *,
    signal: Literal["haadf", "hrtem"] | None = None,
    band_inv_nm: Sequence[float] | None = None,
    d_band_nm: Sequence[float] | None = None,
    black_level: float | None = None,
    vacuum_nm: Sequence[float] | None = None,
    polynomial: int | None = None,
    high_pass_nm: float | None = None,
    thresholds_sd: Sequence[float] | None = None,
    surrogates: int | None = None,
    seed: int | None = None,
    pixel_nm: float | Sequence[float] | None = None,
    resolution_tags: bool = False,
    frames: int | str | Iterable[int] | None = None,
    reduce: Literal["none", "mean", "aligned"] | None = None,
    checksum: Literal["whole", "parts"] | None = None,
    device: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
    output: str | os.PathLike[str] | None = None,
    figure_width_mm: float | None = None,
    details: bool | None = None,
) -> Result:
    """Measures how heterogeneous a HAADF-STEM image is: the standard deviation of its contrast within a band of
    spatial frequencies with background, counting noise and scan-line noise taken out, how far the contrast reaches,
    and whether there are more dark or bright regions than a random field of the same spectrum shows. Frames of a
    stack are measured each, and together: then the noise is what differs between them.

    Parameters
    ----------
    image
        an image or stack: array, path, Image, HyperSpy signal, or a list of several
    signal
        what the image is: HAADF, or HRTEM with a band that leaves the lattice out: haadf, hrtem (default haadf)
    band_inv_nm
        spatial frequencies 1/d that the contrast is measured in (default 1/15 to 1) [1/nm]
    d_band_nm
        the same band as wavelengths d [nm]
    black_level
        what the detector reads without beam (default: 0, or the median of vacuum_nm) [counts]
    vacuum_nm
        a rectangle without specimen: its median is the black level, and it is left out [nm]
    polynomial
        degree of the background that the image is divided by (default 3)
    high_pass_nm
        standard deviation of the Gaussian that it is divided by next; 0 = none [nm] (default 15)
    thresholds_sd
        how deep dark and bright regions are [standard deviations] (default 1,1.5,2,3)
    surrogates
        random fields of the same spectrum that the image is compared with (default 999)
    seed
        start of the random numbers; the same seed gives the same bytes (default 1)
    pixel_nm
        pixel size of all images, or X,Y where it differs; wins over what the files say [nm]
    resolution_tags
        where a TIFF says nothing else, believe its resolution tags (often set for printing, not for the microscope)
    frames
        frames of stacks to use, counted from 0, such as 0-9,12 (default: all)
    reduce
        measure the mean of the frames of a stack, as they are or aligned, in place of each frame: none, mean,
        aligned (default none)
    checksum
        SHA-256 of each file, which takes one thread, or of the SHA-256s of its parts of 64 MiB, which takes all:
        sooner for large stacks on many cores: whole, parts (default whole)
    device
        where to compute: auto, cpu, cuda, or a name that 'mroscope devices' lists (default auto)
    threads
        processor threads, 0 = all cores; results do not depend on it (default 0)
    memory
        limit for image data, such as 4G (default: half of this machine's memory)
    output
        write results to this folder, which is made if missing
    figure_width_mm
        width of figures: 180 for two columns of a journal, 80 to 90 for one, with fewer panels side by side and
        type of the same size [mm] (default 180)
    details
        also keep maps, tables and figures in the result, as the program writes them with -o DIR; by default for a
        single image, and not for stacks or with output
    """
    given = dict(locals())
    given.pop("image")
    return measure("haadf", image, given, given.pop("details"))


def eds(
    lines: Any = None,
    *,
    map: Mapping[str, Any] | Sequence[str] | None = None,
    at_maps: bool = False,
    haadf: Any = None,
    mro: Any = None,
    replicates: bool = False,
    elements: str | Mapping[str, float] | Sequence[str] | None = None,
    unit: Literal["header", "at", "wt", "counts"] | None = None,
    normalise: bool = False,
    pixel_nm: float | Sequence[float] | None = None,
    resolution_tags: bool = False,
    k: str | Mapping[str, float] | Sequence[str] | None = None,
    line_nm: Sequence[float] | None = None,
    width_nm: float | None = None,
    smooth_nm: float | None = None,
    threshold: float | None = None,
    draws: int | None = None,
    seed: int | None = None,
    device: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
    output: str | os.PathLike[str] | None = None,
    figure_width_mm: float | None = None,
    details: bool | None = None,
) -> Result:
    """Takes the counting noise out of composition profiles: how much each element really varies along a line, with a
    95 % interval, whether the variation repeats, and which elements go together. From tables of counts and at.%
    (comma, semicolon or tab; Velox, AZtec, Bruker or plain), or from count maps.

    Parameters
    ----------
    lines
        a table: path, data frame, or rows and columns of values, or a list of several; nothing with map
    map
        count map of an element, once for each; or ELEMENT,ELEMENT,...=FILE for a stack or a Velox file with spectra
    at_maps
        the maps hold at.%, not counts
    haadf
        HAADF image of the same field: composition of its bright and dark regions
    mro
        mask of medium-range order of the same field (of 'mroscope mro'): its share in bright regions
    replicates
        the files are repeats of one line (odd and even frames, single detectors)
    elements
        use these elements only, such as Fe,Co,Si,P (default: all)
    unit
        what the columns of a table hold whose headers do not say it: header, at, wt, counts (default header)
    normalise
        take shares that do not add up to 100 as parts of what is there
    pixel_nm
        pixel size of all maps and images, or X,Y where it differs; wins over what the files say [nm]
    resolution_tags
        where a TIFF says nothing else, believe its resolution tags (often set for printing, not for the microscope)
    k
        Cliff-Lorimer factors on weight fractions, such as Fe=1,Si=0.9
    line_nm
        line over the maps, from the top-left corner (default: the diagonal) [nm]
    width_nm
        width that is added up across the line (default: 5 pixels) [nm]
    smooth_nm
        smoothing of the HAADF image before bright and dark are told apart, as sigma [nm] (default 0.5)
    threshold
        bright and dark begin so many standard deviations from the mean (default 1)
    draws
        lines of red noise, and permutations, at most (default 999)
    seed
        start of the random numbers; the same seed gives the same bytes (default 1)
    device
        where to compute: auto, cpu, cuda, or a name that 'mroscope devices' lists (default auto)
    threads
        processor threads, 0 = all cores; results do not depend on it (default 0)
    memory
        limit for image data, such as 4G (default: half of this machine's memory)
    output
        write results to this folder, which is made if missing
    figure_width_mm
        width of figures: 180 for two columns of a journal, 80 to 90 for one, with fewer panels side by side and
        type of the same size [mm] (default 180)
    details
        also keep maps, tables and figures in the result, as the program writes them with -o DIR; by default for a
        single image, and not for stacks or with output
    """
    given = dict(locals())
    given.pop("lines")
    return measure("eds", lines, given, given.pop("details"), table=True)


def pdf(
    pattern: Any,
    *,
    composition: str | os.PathLike[str] | None = None,
    density_per_nm3: float | None = None,
    density_error_per_nm3: float | None = None,
    damping: Literal["lorch", "none", "gaussian"] | None = None,
    damping_b_A2: float | None = None,
    s_max_inv_nm: float | None = None,
    s_min_inv_nm: float | None = None,
    background: int | None = None,
    r_min_A: float | None = None,
    r_max_A: float | None = None,
    fsdp_inv_A: Sequence[float] | None = None,
    beyond_A: Sequence[float] | None = None,
    connection_r_A: float | None = None,
    draws: int | None = None,
    frame_draws: int | None = None,
    frame_figures: bool = False,
    seed: int | None = None,
    reference: Any = None,
    values: str | os.PathLike[str] | Sequence[float] | None = None,
    step_inv_nm: float | None = None,
    camera_length_mm: float | None = None,
    detector_pixel_um: float | None = None,
    kv: float | None = None,
    centre_px: Sequence[float] | None = None,
    ellipse: Sequence[float] | None = None,
    ellipse_from: Any = None,
    standard: Literal["none", "Au", "Si", "CeO2", "Al"] | None = None,
    standard_file: Any = None,
    each: bool = False,
    mask: Any = None,
    no_auto_mask: bool = False,
    clip_sd: float | None = None,
    abscissa: Literal["auto", "Q-A", "Q-nm", "s-nm", "s-A", "two-theta", "r-A"] | None = None,
    radiation: Literal["auto", "electrons", "x-rays", "neutrons"] | None = None,
    wavelength_A: float | None = None,
    column: int | None = None,
    error_column: int | None = None,
    pixel_nm: float | Sequence[float] | None = None,
    resolution_tags: bool = False,
    frames: int | str | Iterable[int] | None = None,
    reduce: Literal["none", "mean", "aligned"] | None = None,
    checksum: Literal["whole", "parts"] | None = None,
    device: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
    output: str | os.PathLike[str] | None = None,
    figure_width_mm: float | None = None,
    details: bool | None = None,
) -> Result:
    """Turns diffraction halos into pair distributions: finds centre, ellipse and beam stop of a pattern, takes the
    mean around it, normalises it to S(Q) with the scattering factors of the composition, and transforms it to G(r).
    Gives the first sharp peak, the shells, how neighbourhoods are connected, and how far order reaches, each with
    its error from sectors of the pattern and with what other choices would change. Tables of intensities, S(Q) or
    G(r) are read too.

    Parameters
    ----------
    pattern
        a pattern or stack: array, path, Image, HyperSpy signal, or a list of several; or the path of a table
    composition
        of the specimen, in atoms: Fe82B18, Zr52.5Cu17.9Ni14.6Al10Ti5
    density_per_nm3
        number density (default: estimated, and said so) [atoms per nm^3]
    density_error_per_nm3
        its standard error [atoms per nm^3] (default 0)
    damping
        of S(Q) toward its end: lorch, none, gaussian (default lorch)
    damping_b_A2
        b of the damping exp(-b Q^2) (default: a tenth is left at the end) [A^2]
    s_max_inv_nm
        end of what is transformed, s = 1/d (default: 0.75 of what the profile reaches) [1/nm]
    s_min_inv_nm
        its beginning (default: the least intensity before the first sharp peak) [1/nm]
    background
        degree of the slow background beside the constant, at most r-min Q / pi; -1 = neither (default 4)
    r_min_A
        no two atoms are closer: the low-r rule (default: 0.62 of the first shell's place) [A]
    r_max_A
        end of G(r) [A] (default 20)
    fsdp_inv_A
        window in Q of the first sharp peak (default: the minima to either side) [1/A]
    beyond_A
        where the strength of oscillations of G(r) is taken [A] (default 6,15)
    connection_r_A
        distance R of neighbours for connection modes (default: the first shell's mean) [A]
    draws
        of sectors (or errors) for the standard errors (default 200)
    frame_draws
        the same for the frames of stacks of more than four (default 60)
    frame_figures
        a figure of each of them too, which takes longer than measuring it
    seed
        start of the random numbers; the same seed gives the same bytes (default 1)
    reference
        pattern or table of another state: windows are taken from it, and differences given
    values
        a temperature or strain for each input (or frame), in order, or a table with columns file and value: a
        series
    step_inv_nm
        of a pixel of the pattern (default: the file's) [1/nm]
    camera_length_mm
        of the pattern; with detector_pixel_um and kv in place of step_inv_nm (default: none) [mm]
    detector_pixel_um
        size on the detector of a pixel of the image (default: none) [um]
    kv
        voltage of the microscope (default: the file's) [kV]
    centre_px
        of the pattern (default: found) [px]
    ellipse
        long over short axis, and its direction in degrees (default: found)
    ellipse_from
        pattern of a state without strain, taken under the same conditions: its ellipse holds for all
    standard
        what standard_file shows: none, Au, Si, CeO2, Al (default none)
    standard_file
        ring pattern of a standard, taken under the same conditions: scale and ellipse are taken from it
    each
        fit centre, ellipse and beam stop in every frame of a stack (default: in the mean of some of them)
    mask
        image of the pattern's shape; what is not 0 is left out
    no_auto_mask
        look for no beam stop, dead and saturated pixels
    clip_sd
        pixels farther than this from their ring are left out; 0 = none [standard deviations] (default 5)
    abscissa
        first column of a table: auto, Q-A, Q-nm, s-nm, s-A, two-theta, r-A (default auto)
    radiation
        that a table is of (default: its header's, else X-rays): auto, electrons, x-rays, neutrons
    wavelength_A
        of the radiation; for two theta (default: none) [A]
    column
        of the values, from 1; 0 = by the header, else the second (default 0)
    error_column
        of their errors, from 1; 0 = by the header, else the third if those can be (default 0)
    pixel_nm
        pixel size of all images, or X,Y where it differs; wins over what the files say [nm]
    resolution_tags
        where a TIFF says nothing else, believe its resolution tags (often set for printing, not for the microscope)
    frames
        frames of stacks to use, counted from 0, such as 0-9,12 (default: all)
    reduce
        measure the mean of the frames of a stack, as they are or aligned, in place of each frame: none, mean,
        aligned (default none)
    checksum
        SHA-256 of each file, which takes one thread, or of the SHA-256s of its parts of 64 MiB, which takes all:
        sooner for large stacks on many cores: whole, parts (default whole)
    device
        where to compute: auto, cpu, cuda, or a name that 'mroscope devices' lists (default auto)
    threads
        processor threads, 0 = all cores; results do not depend on it (default 0)
    memory
        limit for image data, such as 4G (default: half of this machine's memory)
    output
        write results to this folder, which is made if missing
    figure_width_mm
        width of figures: 180 for two columns of a journal, 80 to 90 for one, with fewer panels side by side and
        type of the same size [mm] (default 180)
    details
        also keep maps, tables and figures in the result, as the program writes them with -o DIR; by default for a
        single image, and not for stacks or with output
    """
    given = dict(locals())
    given.pop("pattern")
    return measure("pdf", pattern, given, given.pop("details"))


def lattice(
    image: Any,
    *,
    d_range_nm: Sequence[float] | None = None,
    g: str | Sequence[str | Sequence[float]] | None = None,
    reference_d_nm: float | None = None,
    reference_nm: Sequence[float] | None = None,
    mask_inv_nm: float | None = None,
    phase: str | Sequence[str | Sequence[float]] | None = None,
    band_line_nm: Sequence[float] | None = None,
    band_width_nm: float | None = None,
    false_crystals: float | None = None,
    seed: int | None = None,
    pixel_nm: float | Sequence[float] | None = None,
    resolution_tags: bool = False,
    frames: int | str | Iterable[int] | None = None,
    reduce: Literal["none", "mean", "aligned"] | None = None,
    checksum: Literal["whole", "parts"] | None = None,
    device: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
    output: str | os.PathLike[str] | None = None,
    figure_width_mm: float | None = None,
    details: bool | None = None,
) -> Result:
    """Finds nanocrystals in an HRTEM image: position, diameter, lattice spacings with standard errors, azimuths, the
    phase and zone axis that fit, and how the lattice is strained (geometric phase analysis with two sets of
    fringes; with one set along its normal only). Strain is that of the real lattice: positive where spacings are
    longer. x points right and y down; exy > 0 stretches from top left to bottom right; rotations are positive from
    x toward y.

    Parameters
    ----------
    image
        an image or stack: array, path, Image, HyperSpy signal, or a list of several
    d_range_nm
        lattice spacings looked for [nm] (default 0.13,0.37)
    g
        wave vector of a set of fringes to measure in place of looking for any; or SPACING@AZIMUTH in nm and
        degrees, such as 0.2027@30; given once or twice [1/nm]
    reference_d_nm
        spacing without strain (default: a reference area in each crystal) [nm]
    reference_nm
        area that strain is relative to (default: the calmest part of each crystal) [nm]
    mask_inv_nm
        standard deviation of the Gaussian mask around each spot [1/nm] (default 0.4)
    phase
        name and lattice parameter A of a phase to index with beside alpha-Fe; its structure is bcc, fcc, hcp (and
        :C behind it), sc or diamond, such as gamma-Fe:0.3591:fcc; may be repeated [nm]
    band_line_nm
        a line along the middle of a shear band: spacing, size and number of crystals against the distance from it
        [nm]
    band_width_nm
        width of that band: crystals inside against outside [nm]
    false_crystals
        crystals that speckle alone may give in an image (default 0.004)
    seed
        start of the random numbers; the same seed gives the same bytes (default 1)
    pixel_nm
        pixel size of all images, or X,Y where it differs; wins over what the files say [nm]
    resolution_tags
        where a TIFF says nothing else, believe its resolution tags (often set for printing, not for the microscope)
    frames
        frames of stacks to use, counted from 0, such as 0-9,12 (default: all)
    reduce
        measure the mean of the frames of a stack, as they are or aligned, in place of each frame: none, mean,
        aligned (default none)
    checksum
        SHA-256 of each file, which takes one thread, or of the SHA-256s of its parts of 64 MiB, which takes all:
        sooner for large stacks on many cores: whole, parts (default whole)
    device
        where to compute: auto, cpu, cuda, or a name that 'mroscope devices' lists (default auto)
    threads
        processor threads, 0 = all cores; results do not depend on it (default 0)
    memory
        limit for image data, such as 4G (default: half of this machine's memory)
    output
        write results to this folder, which is made if missing
    figure_width_mm
        width of figures: 180 for two columns of a journal, 80 to 90 for one, with fewer panels side by side and
        type of the same size [mm] (default 180)
    details
        also keep maps, tables and figures in the result, as the program writes them with -o DIR; by default for a
        single image, and not for stacks or with output
    """
    given = dict(locals())
    given.pop("image")
    return measure("lattice", image, given, given.pop("details"))


def shearband(
    image: Any,
    *,
    signal: Literal["mean", "variance"] | None = None,
    line_nm: Sequence[float] | None = None,
    width_nm: Sequence[float] | None = None,
    black_level: float | None = None,
    polynomial: int | None = None,
    segments: int | None = None,
    thickness_nm: float | None = None,
    alpha: float | None = None,
    surrogates: int | None = None,
    seed: int | None = None,
    map: Mapping[str, Any] | Sequence[str] | None = None,
    k: str | Mapping[str, float] | Sequence[str] | None = None,
    at_maps: bool = False,
    map_pixel_nm: float | Sequence[float] | None = None,
    pixel_nm: float | Sequence[float] | None = None,
    resolution_tags: bool = False,
    frames: int | str | Iterable[int] | None = None,
    reduce: Literal["none", "mean", "aligned"] | None = None,
    checksum: Literal["whole", "parts"] | None = None,
    device: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
    output: str | os.PathLike[str] | None = None,
    figure_width_mm: float | None = None,
    details: bool | None = None,
) -> Result:
    """Finds shear bands in a HAADF or HRTEM image, or takes one that is given by two points: position, width and depth
    with 95 % intervals from segments along the band, and whether a random field of the same spectrum shows stripes
    as strong. A depth is relative to the glass beside the band, positive where the band is darker or, with
    signal='variance', more even.

    Parameters
    ----------
    image
        an image or stack: array, path, Image, HyperSpy signal, or a list of several
    signal
        what a band changes: the mean intensity, or (HRTEM) how strong the speckle is, the variance within 1 nm:
        mean, variance (default mean)
    line_nm
        two points on a band, from the top-left corner: measure that one in place of looking for bands [nm]
    width_nm
        widths that are looked for (default: 2 samples of the search to 0.6 of the field) [nm]
    black_level
        what the detector reads without beam (default: 0) [counts]
    polynomial
        degree of the background that the image is divided by (default 2)
    segments
        pieces along a band, 0 = one for every 20 nm, but 6 to 16 (default 0)
    thickness_nm
        thickness of the foil: how far the bands can be inclined [nm]
    alpha
        list bands that chance gives no more often than this (default 0.01)
    surrogates
        random fields of the same spectrum that bands have to beat (default 199)
    seed
        start of the random numbers; the same seed gives the same bytes (default 1)
    map
        count map of an element in the field of the image, once for each; or ELEMENT,ELEMENT,...=FILE for a stack or
        a Velox file with spectra: composition across each band
    k
        Cliff-Lorimer factors on weight fractions, such as Fe=1,Si=0.9
    at_maps
        the maps hold at.%, not counts
    map_pixel_nm
        pixel size of the maps, or X,Y where it differs; wins over what their files say [nm]
    pixel_nm
        pixel size of all images, or X,Y where it differs; wins over what the files say [nm]
    resolution_tags
        where a TIFF says nothing else, believe its resolution tags (often set for printing, not for the microscope)
    frames
        frames of stacks to use, counted from 0, such as 0-9,12 (default: all)
    reduce
        measure the mean of the frames of a stack, as they are or aligned, in place of each frame: none, mean,
        aligned (default none)
    checksum
        SHA-256 of each file, which takes one thread, or of the SHA-256s of its parts of 64 MiB, which takes all:
        sooner for large stacks on many cores: whole, parts (default whole)
    device
        where to compute: auto, cpu, cuda, or a name that 'mroscope devices' lists (default auto)
    threads
        processor threads, 0 = all cores; results do not depend on it (default 0)
    memory
        limit for image data, such as 4G (default: half of this machine's memory)
    output
        write results to this folder, which is made if missing
    figure_width_mm
        width of figures: 180 for two columns of a journal, 80 to 90 for one, with fewer panels side by side and
        type of the same size [mm] (default 180)
    details
        also keep maps, tables and figures in the result, as the program writes them with -o DIR; by default for a
        single image, and not for stacks or with output
    """
    given = dict(locals())
    given.pop("image")
    return measure("shearband", image, given, given.pop("details"))


def indent(
    table: Any,
    *,
    column: str | os.PathLike[str] | None = None,
    unit: str | os.PathLike[str] | None = None,
    pitch: str | os.PathLike[str] | None = None,
    negative: bool = False,
    bins: Literal["none", "x", "y", "right", "bottom"] | None = None,
    noise: float | None = None,
    reference: Any = None,
    permutations: int | None = None,
    seed: int | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
    output: str | os.PathLike[str] | None = None,
    figure_width_mm: float | None = None,
    details: bool | None = None,
) -> Result:
    """Measures maps of hardness or modulus: mean and spread (standard deviation, FWHM by a Gaussian and by a kernel
    estimate) with 95 % intervals that know how alike neighbours are, whether the map has structure at all (Moran's
    I), and means and widths against the distance from an edge. From tables: rows and columns of values, or x, y,
    value with headers such as 'X (um)', 'Y (um)', 'H (GPa)'; empty cells are holes.

    Parameters
    ----------
    table
        a table: path, data frame, or rows and columns of values
    column
        header of the column that is measured (default: hardness, else modulus)
    unit
        unit of the values, where the table does not say it
    pitch
        distance between indents of a table of rows and columns, such as 10um or 10um,20um (x, y)
    negative
        take values of 0 and below as they are
    bins
        mean and FWHM against the distance from the left (x), top (y), right or bottom edge of the map: none, x, y,
        right, bottom (default none)
    noise
        standard deviation of repeated indents, that is taken out [unit of the table]
    reference
        table of indents on a uniform block (fused silica): their scatter is the noise
    permutations
        shuffled maps behind the p of Moran's I (default 9999)
    seed
        start of the random numbers; the same seed gives the same bytes (default 1)
    threads
        processor threads, 0 = all cores; results do not depend on it (default 0)
    memory
        limit for image data; tables take next to none
    output
        write results to this folder, which is made if missing
    figure_width_mm
        width of figures: 180 for two columns of a journal, 80 to 90 for one, with fewer panels side by side and
        type of the same size [mm] (default 180)
    details
        also keep maps, tables and figures in the result, as the program writes them with -o DIR; by default for a
        single image, and not for stacks or with output
    """
    given = dict(locals())
    given.pop("table")
    return measure("indent", table, given, given.pop("details"), table=True)


def compare(
    results: Any,
    *,
    metric: str | Sequence[str | Sequence[float]] | None = None,
    reference: str | os.PathLike[str] | None = None,
    trend: str | os.PathLike[str] | None = None,
    over: str | os.PathLike[str] | None = None,
    paired: bool = False,
    ignore_settings: bool = False,
    permutations: int | None = None,
    seed: int | None = None,
    output: str | os.PathLike[str] | None = None,
    figure_width_mm: float | None = None,
    details: bool | None = None,
) -> Result:
    """Compares states by numbers of their images: means, ratios with 95 % intervals, exact permutation tests, the
    trend with strain, temperature or dose and where it bends, and what thickness and settings have to do with it.
    The unit is the image, or the specimen where there are several of them; never a cell or an object. From the
    results of 'mroscope batch', or from a table with a column 'state'.

    Parameters
    ----------
    results
        the folder of a session's results, or a table: path, data frame, or rows and columns of values
    metric
        compare by this number, such as fraction, dark.count, elements.Fe.sd_true_at or shells.0.r_A; may be given
        several times (default: those each kind is usually compared by; of a table all columns)
    reference
        state that the others are divided by (default: the first)
    trend
        states the trend is taken over, such as A,B,C (default: all with a strain, or what over says)
    over
        what the trend is over: the strain, the value of a session (temperature, dose), or a column of a table
        (default: strain where there is one, else value)
    paired
        a specimen with images in several states is one piece, measured in each: compare within it
    ignore_settings
        take images measured with different options or at different voltages as one, not as blocks
    permutations
        drawn where there are more than 200 000 arrangements of the images (default 99999)
    seed
        start of the random numbers; the same seed gives the same bytes (default 1)
    output
        write results to this folder, which is made if missing
    figure_width_mm
        width of figures: 180 for two columns of a journal, 80 to 90 for one, with fewer panels side by side and
        type of the same size [mm] (default 180)
    details
        also keep maps, tables and figures in the result, as the program writes them with -o DIR; by default for a
        single image, and not for stacks or with output
    """
    given = dict(locals())
    given.pop("results")
    return measure("compare", results, given, given.pop("details"), table=True)


def info(
    file: Any,
    *,
    header: bool = False,
    pixel_nm: float | Sequence[float] | None = None,
    resolution_tags: bool = False,
    memory: int | str | None = None,
    output: str | os.PathLike[str] | None = None,
) -> Result:
    """Says what a file holds: its images, their sizes and pixel types, the calibration of every axis with its source,
    and the range of the values. Every pixel is decoded, so a file that passes is readable to the end.

    Parameters
    ----------
    file
        path of a file
    header
        read headers only: no pixel values and no checksum
    pixel_nm
        pixel size of all images, or X,Y where it differs; wins over what the files say [nm]
    resolution_tags
        where a TIFF says nothing else, believe its resolution tags (often set for printing, not for the microscope)
    memory
        limit for image data, such as 4G (default: half of this machine's memory)
    output
        write results to this folder, which is made if missing
    """
    given = dict(locals())
    given.pop("file")
    return measure("info", file, given, False)
