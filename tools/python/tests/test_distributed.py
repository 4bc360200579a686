# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions on a Dask cluster of two worker processes, one of which is killed, and which is gone in the end."""

import filecmp
import os
import pickle
import signal
import struct
import subprocess
import threading
import time

import numpy as np
import pytest

import mroscope

dask = pytest.importorskip("dask")
dask_array = pytest.importorskip("dask.array")
dask_distributed = pytest.importorskip("distributed")

from mroscope import distributed  # noqa: E402

PROGRAM = os.environ.get("MROSCOPE_PROGRAM")
pytestmark = pytest.mark.skipif(not PROGRAM, reason="MROSCOPE_PROGRAM does not name the program")
N = 10


def write_tiff(path, image):
    """Grey values of 16 bits."""
    ny, nx = image.shape
    tags = [(256, nx), (257, ny), (258, 16), (259, 1), (262, 1), (273, 110), (278, ny), (279, 2 * nx * ny)]
    with open(path, "wb") as f:
        f.write(b"II" + struct.pack("<HIH", 42, 8, len(tags)))
        for tag, value in tags:
            f.write(struct.pack("<HHII", tag, 4 if tag != 258 else 3, 1, value))
        f.write(bytes(4) + image.astype("<u2").tobytes())


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    """A session of small images."""
    folder = tmp_path_factory.mktemp("day")
    rng = np.random.default_rng(5)
    lines = ["file,state,strain,kind,pixel_nm"]
    for i in range(N):
        write_tiff(folder / f"{i} a.tif", rng.poisson(1000, (48, 48)))
        lines.append(f"{i} a.tif,s{i % 2},{i % 2},haadf,0.1")
    (folder / "session.csv").write_text("\n".join(lines) + "\n")
    old = time.time() - 3600
    for path in folder.iterdir():
        os.utime(path, (old, old))
    return folder


def measure(day, output, *options):
    done = subprocess.run(
        [PROGRAM, "batch", str(day / "session.csv"), "-o", str(output), *options], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def plain(day, tmp_path_factory):
    """What the program makes of it."""
    made = {}
    for surrogates in (299, 1999):
        made[surrogates] = tmp_path_factory.mktemp("plain")
        measure(day, made[surrogates], f"--haadf=--surrogates {surrogates}")
    return made


@pytest.fixture(scope="module")
def cluster():
    # Workers that are forked from one process need not import everything again.
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        with dask_distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as found:
            yield found


@pytest.fixture(scope="module")
def client(cluster):
    with dask_distributed.Client(cluster) as found:
        yield found


def items(folder):
    """Finished results, and what tells one from another in its place."""
    return {p.parent.name: p.stat().st_ino for p in folder.glob("items/*/record.json") if p.parent.suffix != ".tmp"}


def same_bytes(a, b):
    def files(folder):
        return sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file() and p.name != "inputs.json")

    assert files(a) == files(b)
    _, different, errors = filecmp.cmpfiles(a, b, [str(f) for f in files(a)], shallow=False)
    assert not different and not errors


def when_some_are_done(folder, act):
    """Does something in the middle of a session; the list gets what was finished then."""
    had = []

    def watch():
        while len(items(folder)) < 2:
            time.sleep(0.005)
        act()
        had.append(items(folder))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return had, thread


def test_session_begun_by_the_program(client, day, plain, tmp_path):
    measure(day, tmp_path / "r", "--haadf=--surrogates 299", "--rows", "2-4")
    begun = items(tmp_path / "r")
    for _ in range(2):  # nothing is left to do the second time
        session = distributed.batch(
            day / "session.csv", client, output=tmp_path / "r", haadf={"surrogates": 299}
        )
        assert len(session.done) == N and not session.failed and not session.pending
        assert session.rows[0].file == "0 a.tif" and f"{N} done" in repr(session)
        assert begun.items() <= items(tmp_path / "r").items()
        same_bytes(plain[299], tmp_path / "r")
        begun = items(tmp_path / "r")


def test_failed_images(client, day, tmp_path):
    (tmp_path / "cut.tif").write_bytes((day / "0 a.tif").read_bytes()[:300])
    (tmp_path / "session.csv").write_text("file,state,kind,pixel_nm\ncut.tif,A,haadf,0.1\n")
    session = distributed.batch(str(tmp_path / "session.csv"), client, output=tmp_path / "r")
    assert [r.status for r in session.rows] == ["failed"] and "cut.tif" in session.failed[0].error
    assert not list((tmp_path / "r").glob(".dask*"))


def test_worker_killed(client, day, plain, tmp_path):
    victim = list(client.run(os.getpid).values())[0]
    had, thread = when_some_are_done(tmp_path / "r", lambda: os.kill(victim, signal.SIGKILL))
    session = distributed.batch(
        day / "session.csv", client, output=tmp_path / "r", haadf={"surrogates": 1999}
    )
    thread.join()
    assert len(session.done) == N and len(had[0]) < N
    assert had[0].items() <= items(tmp_path / "r").items(), "measured twice"
    same_bytes(plain[1999], tmp_path / "r")


def test_what_cannot_work(client, day, tmp_path):
    def refused(text, client=client, table=day / "session.csv", **given):
        with pytest.raises(mroscope.errors.ArgumentError, match=text):
            distributed.batch(table, client, output=tmp_path / "r", **given)
        assert not (tmp_path / "r").exists()

    (tmp_path / "none.csv").write_text("file,state,kind\nnone.tif,A,haadf\n")
    refused("row 2: there is no file 'none.tif'", table=tmp_path / "none.csv")
    refused("cannot read|No such file", table=tmp_path / "nothing.csv")
    refused("no worker of this cluster offers GPU=1: start them with", resources={"GPU": 1})
    refused("did you mean surrogates", haadf={"surogates": 3})
    refused("'--nonsense' is no option", haadf="--nonsense")
    refused("client is a distributed.Client", client=None)
    refused("no program 'mroscope'|is not the program", program="/bin/false")


def test_what_a_worker_must_see(day, tmp_path):
    """Said by the worker, where it is another machine."""
    right = distributed._Plan(
        token="1",
        program=PROGRAM,
        version=distributed._version(PROGRAM),
        manifest=str(day / "session.csv"),
        manifest_sha256=distributed._sha256(str(day / "session.csv")),
        output=str(tmp_path),
        options=(),
        threads=1,
        memory="1G",
    )
    for text, wrong in (
        ("but the client has mroscope 9.9", {"version": "mroscope 9.9"}),
        ("have to see the folders of images and results under the same paths", {"manifest": "/none/session.csv"}),
        ("is not the table that the client read", {"manifest_sha256": "0"}),
        ("is not the folder of results that the client made", {}),
    ):
        with pytest.raises(distributed.ClusterError, match=text):
            distributed._measure(2, distributed._Plan(**{**vars(right), **wrong}))
    (tmp_path / ".dask-1").touch()
    with pytest.raises(distributed.ClusterError, match="has no row '99'"):
        distributed._measure(99, right)
    error = pickle.loads(pickle.dumps(distributed.ClusterError("a sentence")))
    assert str(error) == "a sentence"


def test_map_frames(client):
    stack = np.random.default_rng(3).poisson(100, (3, 48, 40)).astype(np.float32)
    lazy = dask_array.from_array(stack, chunks=(1, 24, 40))
    results = distributed.map_frames(lazy, "haadf", pixel_nm=0.1, surrogates=299)
    assert results.shape == (3,) and results.chunks == ((1, 1, 1),)
    filtered = distributed.map_frames(lazy, mroscope.bandpass, pixel_nm=0.1, band_inv_nm=(1, 3))
    for i, result in enumerate(results.compute()):
        alone = mroscope.haadf(stack[i], pixel_nm=0.1, surrogates=299, details=False)
        assert result["noise_sd"] == alone["noise_sd"] and result["p_value"] == alone["p_value"]
        whole = mroscope.bandpass(stack[i], pixel_nm=0.1, band_inv_nm=(1, 3)).maps["filtered"]
        assert np.array_equal(filtered[i].compute(), whole)
    with pytest.raises(mroscope.errors.CalibrationError):
        distributed.map_frames(lazy, "haadf").compute()
    for array, verb, text in (
        (lazy[0], "haadf", "a stack has 3"),
        (lazy, "compare", "not by compare"),
        (stack, "haadf", "takes a Dask array"),
    ):
        with pytest.raises(mroscope.errors.ArgumentError, match=text):
            distributed.map_frames(array, verb, pixel_nm=0.1)


def test_cluster_gone(cluster, client, day, plain, tmp_path):
    """Last of all: nothing works with it any more."""
    had, thread = when_some_are_done(tmp_path / "r", lambda: cluster.close(timeout=5))
    with pytest.raises(distributed.ClusterError, match="went away\n.*stay in .*call batch.. again") as caught:
        distributed.batch(day / "session.csv", client, output=tmp_path / "r", haadf={"surrogates": 1999})
    thread.join()
    assert 0 < len(caught.value.results) < N
    assert len((tmp_path / "r" / "summary.csv").read_text().splitlines()) == len(caught.value.results) + 1
    measure(day, tmp_path / "r", "--haadf=--surrogates 1999")
    assert had[0].items() <= items(tmp_path / "r").items()
    same_bytes(plain[1999], tmp_path / "r")
