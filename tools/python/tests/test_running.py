# SPDX-License-Identifier: GPL-3.0-or-later
"""Other threads go on during a measurement, and Ctrl-C ends it."""

import os
import signal
import threading
import time

import numpy as np
import pytest

import mroscope
from conftest import bandpass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_ctrl_c_ends_a_long_measurement():
    image = np.random.default_rng(1).normal(100, 10, (512, 512)).astype(np.float32)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        mroscope.haadf(image, pixel_nm=0.1, surrogates=100000, details=False)
    assert time.monotonic() - began < 20  # to the end it takes half an hour
    bandpass(image, pixel_nm=0.02)


def test_other_threads_go_on(noise):
    large = np.tile(noise, (8, 8))
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
