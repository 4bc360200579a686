# SPDX-License-Identifier: GPL-3.0-or-later
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import mroscope

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = ROOT / "samples"
PROGRAM = os.environ.get("MROSCOPE_PROGRAM")


@pytest.fixture
def program():
    """Runs a verb of the program; its results as dictionaries."""
    if not PROGRAM:
        pytest.skip("MROSCOPE_PROGRAM does not name the program to compare with")

    def run(verb, *arguments):
        done = subprocess.run([PROGRAM, verb, "--json", *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.fixture
def samples():
    return SAMPLES


@pytest.fixture
def noise():
    """An image of 128 x 128 pixels that can be written as whole numbers."""
    return np.random.default_rng(7).integers(50, 200, (128, 128)).astype(np.float32)


def bandpass(image, **options):
    """The quickest of the verbs, without its figure."""
    return mroscope.bandpass(image, **{"details": False, **options})


def numbers(result):
    """A result without what tells an array from a file."""
    data = dict(result) if isinstance(result, dict) else result.to_dict()
    return {k: v for k, v in data.items() if k not in ("file", "image", "calibration", "provenance", "warnings")}
