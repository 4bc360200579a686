# SPDX-License-Identifier: GPL-3.0-or-later
"""Other threads go on during a measurement, and Ctrl-C ends it."""

import locale
import os
import shutil
import signal
import subprocess
import threading
import time

import numpy as np
import pytest

import mroscope
from conftest import bandpass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_ctrl_c_ends_a_long_measurement():
    image = np.random.default_rng(1).normal(100, 10, (256, 256)).astype(np.float32)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        mroscope.shearband(image, pixel_nm=0.5, surrogates=100000, details=False)
    assert time.monotonic() - began < 20  # to the end it takes minutes
    bandpass(image, pixel_nm=0.02)


def test_other_threads_go_on(noise):
    large = np.tile(noise, (24, 24))
    ticks = []
    done = threading.Event()

    def tick():
        while not done.wait(0.002):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    began = time.monotonic()
    bandpass(large, pixel_nm=0.05)
    ended = time.monotonic()
    done.set()
    thread.join()
    during = [t for t in ticks if began < t < ended]
    assert len(during) > 5


def test_runs_on_several_threads_know_nothing_of_each_other(noise):
    results = {}

    def work(scale):
        try:
            results[scale] = bandpass(noise * scale, pixel_nm=0.05 if scale != 3 else None)
        except mroscope.MroscopeError as error:
            results[scale] = error

    threads = [threading.Thread(target=work, args=(s,)) for s in (1, 2, 3, 4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for scale in (1, 2, 4):
        assert results[scale].rms_in == pytest.approx(scale * results[1].rms_in, rel=1e-5)
    assert isinstance(results[3], mroscope.errors.CalibrationError)


def test_the_locale_does_not_matter(noise, tmp_path, monkeypatch):
    """Toolkits for windows set that of the user, where a number may be written 0,05."""
    (tmp_path / "comma.txt").write_text(
        'LC_NUMERIC\ndecimal_point "<U002C>"\nthousands_sep "<U002E>"\ngrouping 3\nEND LC_NUMERIC\n'
    )
    made = ["localedef", "-c", "-i", tmp_path / "comma.txt", "-f", "UTF-8", tmp_path / "comma"]
    if shutil.which("localedef"):
        subprocess.run(made, capture_output=True)
    if not (tmp_path / "comma" / "LC_NUMERIC").exists():
        pytest.skip("no locale can be made here")
    plain = mroscope.bandpass(noise, pixel_nm=0.05)
    monkeypatch.setenv("LOCPATH", str(tmp_path))
    before = locale.setlocale(locale.LC_NUMERIC)
    try:
        locale.setlocale(locale.LC_NUMERIC, "comma")
        assert locale.str(1.5) == "1,5"
        with_comma = mroscope.bandpass(noise, pixel_nm=0.05)
        assert locale.str(1.5) == "1,5"
    finally:
        locale.setlocale(locale.LC_NUMERIC, before)
    assert with_comma.to_dict() == plain.to_dict() and with_comma.figure("svg") == plain.figure("svg")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_it_works_after_fork(noise):
    expected = bandpass(noise, pixel_nm=0.05).rms_out
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if bandpass(noise, pixel_nm=0.05).rms_out == expected else 2
        finally:
            os._exit(code)
    for _ in range(600):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        time.sleep(0.1)
    else:
        os.kill(child, signal.SIGKILL)
        pytest.fail("the child hangs")
    assert os.waitstatus_to_exitcode(status) == 0
