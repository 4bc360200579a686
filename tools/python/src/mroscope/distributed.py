# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions and stacks on a Dask cluster that is already there.

Each image is a task. Results are those of ``mroscope batch``, in the same folder and under the same keys, so that one
can begin what the other goes on with. Workers need this package, the program of the same build, and the folders of
images and results under the same paths; nothing else is asked of the cluster.

>>> from distributed import Client
>>> from mroscope.distributed import batch
>>> session = batch("day/session.csv", Client(), output="results", kv=200, mro={"d_nm": 0.21})
>>> session.failed
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, Callable, Iterator, Mapping, Sequence, Union

import numpy as np

from . import verbs
from ._options import arguments, nearest, options
from .errors import ArgumentError, MroscopeError
from .result import Record

VerbOptions = Union[str, Mapping[str, Any], None]

__all__ = ["ClusterError", "Session", "batch", "map_frames"]

# Seconds after which a process without work ends, for those whose client went away.
_IDLE = 30.0
# Verbs that take an image and nothing else.
_OF_IMAGES = ("mro", "haadf", "lattice", "pdf", "shearband", "bandpass")


class ClusterError(MroscopeError, RuntimeError):
    """The cluster, or a worker of it, cannot go on. What is finished stays in the folder of results."""


@dataclass(frozen=True)
class Session:
    """What a session has. ``rows`` are those of index.json; ``docs/session.md`` of the project says what they hold."""

    folder: Path
    rows: tuple[Record, ...]

    def _with(self, status: str) -> tuple[Record, ...]:
        return tuple(r for r in self.rows if r.status == status)

    @property
    def done(self) -> tuple[Record, ...]:
        return self._with("done")

    @property
    def failed(self) -> tuple[Record, ...]:
        """Rows that cannot be measured; ``error`` says why."""
        return self._with("failed")

    @property
    def pending(self) -> tuple[Record, ...]:
        return self._with("pending")

    @property
    def summary(self) -> Path:
        """The table of main numbers."""
        return self.folder / "summary.csv"

    def __repr__(self) -> str:
        parts = [f"{len(rows)} {name}" for name in ("done", "failed", "pending") if (rows := self._with(name))]
        return f"<mroscope session '{self.folder}': {', '.join(parts)}>"


# -- the program -----------------------------------------------------------------------------------


def _find_program(named: str | None) -> str:
    """The program: the one that is named, of the environment, of this Python, or of the PATH."""
    beside = Path(sysconfig.get_path("scripts")) / "mroscope"
    for path in (named, os.environ.get("MROSCOPE_PROGRAM"), str(beside), "mroscope"):
        found = shutil.which(path) if path else None
        if found:
            return os.path.abspath(found)
    raise ArgumentError("there is no program 'mroscope' here; install it, or name it with program='...'")


def _sentences(text: str) -> str:
    lines = [line[len("mroscope: ") :] for line in text.splitlines() if line.startswith("mroscope: ")]
    return "\n".join(lines) or text.strip() or "the program ended without a word"


def _version(program: str) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ArgumentError(f"'{program}' is not the program mroscope: {_sentences(done.stderr)}")
    return done.stdout.strip()


def _rows(command: Sequence[str]) -> list[dict[str, Any]]:
    """Runs a command that prints rows of the index."""
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or not done.stdout:
        raise ArgumentError(_sentences(done.stderr))
    return [json.loads(line) for line in done.stdout.splitlines()]


def _sha256(path: str) -> str:
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


# -- on the workers --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    """What a worker has to know of a session."""

    token: str
    program: str | None
    version: str
    manifest: str
    manifest_sha256: str
    output: str
    options: tuple[str, ...]
    threads: int
    memory: str | None

    @property
    def mark(self) -> str:
        """A file in the folder of results while the client is at work, to know the folder by."""
        return os.path.join(self.output, f".dask-{self.token}")


def _share_of_memory() -> str:
    """What one task of this worker may take."""
    import distributed

    try:
        worker = distributed.get_worker()
    except ValueError:  # not on a worker
        return "1G"
    manager = getattr(worker, "memory_manager", None)
    limit = getattr(manager, "memory_limit", None)
    if not limit:
        import psutil

        limit = psutil.virtual_memory().total / 2
    return f"{max(1, int(0.9 * limit / worker.state.nthreads) >> 20)}M"


class _Process:
    """``mroscope batch --rows -``: measures the rows that it is asked for, one after the other. A measurement that dies
    takes neither the worker nor this process along."""

    def __init__(self, plan: _Plan) -> None:
        self.timer: threading.Timer | None = None
        program = _find_program(plan.program)
        version = _version(program)
        if version != plan.version:
            raise ClusterError(
                f"'{program}' is {version}, but the client has {plan.version}: install the same build everywhere, "
                "for results of different builds do not mix"
            )
        try:
            same = _sha256(plan.manifest) == plan.manifest_sha256
        except OSError as e:
            raise ClusterError(
                f"cannot read '{plan.manifest}' ({e.strerror}): workers have to see the folders of images and results "
                "under the same paths as the client"
            ) from None
        if not same:
            raise ClusterError(
                f"'{plan.manifest}' is not the table that the client read: it was changed meanwhile, or this machine "
                "has another file of that name; workers have to see the same folders as the client"
            )
        if not os.path.exists(plan.mark):
            raise ClusterError(
                f"'{plan.output}' is not the folder of results that the client made: workers have to see the same "
                "folders as the client"
            )
        self.said = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [program, "batch", plan.manifest, f"--output={plan.output}", *plan.options, "--rows=-", "--jobs=1"]
            + [f"--threads={plan.threads}", f"--memory={plan.memory or _share_of_memory()}", "--quiet"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            start_new_session=True,  # Ctrl-C is for the client
        )

    def measure(self, row: int) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(b"%d\n" % row)
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # its last words are read below
        for line in self.process.stdout:
            answer: dict[str, Any] = json.loads(line)
            if answer["row"] == row:
                return answer
        code = self.process.wait()
        self.said.seek(0)
        said = self.said.read().decode("utf-8", "replace")
        self.close()
        raise ClusterError(_sentences(said) if said else f"the program ended early (code {code})")

    def close(self) -> None:
        if self.timer:
            self.timer.cancel()
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.stdout.close()
        self.process.wait()
        self.said.close()


class _Processes:
    """Those of this worker that have nothing to do, for the next task of the same session: what is prepared for images
    of one size, and a card that is open, serve them all."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.idle: dict[str, list[_Process]] = {}

    def take(self, plan: _Plan) -> _Process:
        with self.lock:
            waiting = self.idle.get(plan.token)
            process = waiting.pop() if waiting else None
        if process is None:
            return _Process(plan)
        if process.timer:
            process.timer.cancel()
        return process

    def give_back(self, plan: _Plan, process: _Process) -> None:
        process.timer = threading.Timer(_IDLE, self._end, (plan.token, process))
        process.timer.daemon = True
        with self.lock:
            self.idle.setdefault(plan.token, []).append(process)
        process.timer.start()

    def _end(self, token: str, process: _Process) -> None:
        with self.lock:
            if process not in self.idle.get(token, []):
                return  # at work again
            self.idle[token].remove(process)
        process.close()

    def end_all(self, token: str) -> None:
        with self.lock:
            processes = self.idle.pop(token, [])
        for process in processes:
            process.close()


_processes = _Processes()


def _measure(row: int, plan: _Plan) -> dict[str, Any]:
    """The task: measures a row and returns it as index.json has it. Raises when it is not for the image's sake."""
    process = _processes.take(plan)
    answer = process.measure(row)
    _processes.give_back(plan, process)
    return answer


def _end_processes(plan: _Plan) -> None:
    _processes.end_all(plan.token)


# -- on the client ---------------------------------------------------------------------------------


def _verb_options(verb: str, given: str | Mapping[str, Any]) -> str:
    """Options of a verb as one text of the command line."""
    if isinstance(given, str):
        return given
    known = options(verb)
    words = []
    for keyword, value in given.items():
        if keyword not in known:
            near = nearest(keyword, known)
            raise ArgumentError(f"{verb} has no option {keyword}{f'; did you mean {near}?' if near else ''}")
        if value is not None:
            words += arguments(known[keyword], value)
    return shlex.join(words)


def _workers(client: Any) -> dict[str, Any]:
    try:
        info = client.scheduler_info(n_workers=-1)
    except TypeError:  # before it could be told how many
        info = client.scheduler_info()
    found: dict[str, Any] = info["workers"]
    return found


def _check_resources(client: Any, resources: Mapping[str, float]) -> None:
    """Tasks that ask for what no worker has would wait for ever."""
    workers = _workers(client).values()
    for name, amount in resources.items():
        if workers and not any(w.get("resources", {}).get(name, 0) >= amount for w in workers):
            raise ArgumentError(
                f"no worker of this cluster offers {name}={amount:g}: start them with "
                f"'dask worker --resources {name}={amount:g}' (dask-jobqueue: "
                f"worker_extra_args=['--resources {name}={amount:g}'])"
            )


def _units(rows: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """One row of each measurement that is not finished: maps of one field are measured at once."""
    groups = set()
    for row in rows:
        if row["status"] == "done" or (row["kind"] == "eds-map" and row["group"] in groups):
            continue
        groups.add(row["group"])
        yield row


def _run(client: Any, rows: Sequence[Mapping[str, Any]], plan: _Plan, **how: Any) -> str | None:
    """Measures rows on the cluster. None, or what is wrong with it."""
    import distributed

    keys = [f"mroscope-{r['verb']}-{r['row']}-{PureWindowsPath(r['file']).stem}-{plan.token}" for r in rows]
    futures = client.map(_measure, [r["row"] for r in rows], plan=plan, key=keys, pure=False, **how)
    row_of = {f.key: r for f, r in zip(futures, rows)}
    dead = []
    try:
        for future in distributed.as_completed(futures):
            if future.status == "finished":
                continue
            if future.status != "error":
                return "the Dask cluster went away"
            row = row_of[future.key]
            error = future.exception()
            if not isinstance(error, distributed.KilledWorker):
                client.cancel(futures)
                return f"row {row['row']}: '{row['file']}': {error}"
            dead.append(f"row {row['row']}: '{row['file']}': every worker that was to measure it died")
    except KeyboardInterrupt:
        client.cancel(futures)
        raise
    _end_all(client, plan)
    return "\n".join(dead) or None


def _end_all(client: Any, plan: _Plan) -> None:
    """Ends the processes of all workers, which write down the checksums of their inputs as they go."""
    import distributed

    workers = _workers(client)
    ends = [
        client.submit(_end_processes, plan, key=f"mroscope-end-{plan.token}-{address}", workers=[address])
        for address in workers
    ]
    try:
        distributed.wait(ends, timeout=_IDLE)
    except TimeoutError:  # a worker is busy with other things: they end by themselves
        pass


def batch(
    manifest: str | os.PathLike[str],
    client: Any,
    *,
    output: str | os.PathLike[str],
    kv: float | None = None,
    cs_mm: float | None = None,
    device: str | None = None,
    threads: int = 1,
    memory: int | str | None = None,
    resources: Mapping[str, float] | None = None,
    retries: int = 2,
    program: str | os.PathLike[str] | None = None,
    mro: VerbOptions = None,
    haadf: VerbOptions = None,
    eds: VerbOptions = None,
    pdf: VerbOptions = None,
    lattice: VerbOptions = None,
    shearband: VerbOptions = None,
    indent: VerbOptions = None,
) -> Session:
    """Measures a session on a running Dask cluster: each image is a task. What is finished, by this or by ``mroscope
    batch``, is not measured again. Images that cannot be measured are rows with the status "failed". Raises
    ArgumentError for faults of the table, before anything is measured, and ClusterError when the cluster cannot go on;
    finished results stay.

    Parameters
    ----------
    manifest
        the table of the session (``mroscope batch --init FOLDER`` writes a first one)
    client
        a ``distributed.Client``
    output
        folder of the results; all workers have to see it, and the images, under the same path
    kv
        beam energy, for rows that do not say [kV]
    cs_mm
        spherical aberration of the objective lens, likewise [mm]
    device
        where to compute: auto, cpu, cuda, or a name that 'mroscope devices' lists (default auto)
    threads
        processor threads of each task
    memory
        limit of each task, such as "4G" (default: the worker's limit divided by its threads)
    resources
        what each task takes of the resources that workers offer, such as {"GPU": 1}
    retries
        how often a task is given to a worker again after one that could not run it
    program
        the program mroscope (default: $MROSCOPE_PROGRAM, the one installed with this package, the one in the PATH)
    mro
        options for the rows that mro measures: ``mro={"d_nm": 0.21}``, or as on the command line, ``mro="--d 0.21"``
    haadf
        the same of haadf
    eds
        the same of eds
    pdf
        the same of pdf
    lattice
        the same of lattice
    shearband
        the same of shearband
    indent
        the same of indent

    Returns
    -------
    Session
        the rows of the session as they are now
    """
    manifest, output = os.fspath(manifest), os.fspath(output)
    if not hasattr(client, "scheduler_info") or client.asynchronous:
        raise ArgumentError("client is a distributed.Client that is not asynchronous, such as Client(cluster)")
    program = _find_program(os.fspath(program) if program else None)
    version = _version(program)
    given = [f"--kv={kv!r}"] if kv is not None else []
    given += [f"--cs={cs_mm!r}"] if cs_mm is not None else []
    given += [f"--device={device}"] if device else []
    of_verbs = dict(mro=mro, haadf=haadf, eds=eds, pdf=pdf, lattice=lattice, shearband=shearband, indent=indent)
    given += [f"--{verb}={_verb_options(verb, value)}" for verb, value in of_verbs.items() if value is not None]
    command = [program, "batch", manifest, f"--output={output}", *given]
    rows = list(_units(_rows([*command, "--dry-run"])))
    _check_resources(client, resources or {})
    plan = _Plan(
        token=uuid.uuid4().hex[:8],
        program=program,
        version=version,
        manifest=os.path.abspath(manifest),
        manifest_sha256=_sha256(manifest),
        output=os.path.abspath(output),
        options=tuple(given),
        threads=threads,
        memory=str(memory) if memory else None,
    )
    trouble = None
    if rows:
        os.makedirs(plan.output, exist_ok=True)
        Path(plan.mark).touch()
        try:
            trouble = _run(client, rows, plan, retries=retries, resources=dict(resources or {}))
        finally:
            os.unlink(plan.mark)
    session = Session(Path(output), tuple(Record(r) for r in _rows([*command, "--gather"])))
    if trouble is None:
        return session
    raise ClusterError(
        f"{trouble}\n{len(session.done)} of {len(session.rows)} rows are measured and stay in '{output}': "
        "when that is mended call batch() again, which goes on from there, or run 'mroscope batch'",
        session.done,
    )


def map_frames(array: Any, verb: str | Callable[..., Any], **given: Any) -> Any:
    """Measures the frames of a stack, a Dask array, each by itself: lazily, block by block.

    ``verb`` is mro, haadf, lattice, pdf, shearband or bandpass, as a name or as the function, and options are those of
    the function; ``pixel_nm`` has to be given, for an array has none. The last two axes are y and x.
    ``[r.fraction for r in map_frames(stack, "mro", pixel_nm=0.02, kv=200).compute()]`` are the fractions of all frames.

    Returns
    -------
    dask.array.Array
        results over the other axes; for bandpass the filtered frames
    """
    name = verb if isinstance(verb, str) else getattr(verb, "__name__", str(verb))
    if name not in _OF_IMAGES:
        raise ArgumentError(f"frames of a stack are measured by {', '.join(_OF_IMAGES)}, not by {name}")
    if not hasattr(array, "map_blocks"):
        raise ArgumentError(f"map_frames() takes a Dask array, not {type(array).__name__}: dask.array.from_array(...)")
    if array.ndim < 3:
        raise ArgumentError(f"the array has {array.ndim} axes; a stack has 3 or more (frame, y, x)")
    given.setdefault("threads", 1)  # blocks run beside each other
    array = array.rechunk({array.ndim - 2: -1, array.ndim - 1: -1})
    filters = name == "bandpass"
    kept = array.ndim if filters else array.ndim - 2
    return array.map_blocks(
        _measure_block,
        name,
        given,
        name=f"mroscope-{name}-{uuid.uuid4().hex}",
        dtype=np.float32 if filters else object,
        meta=np.empty((0,) * kept, dtype=np.float32 if filters else object),
        drop_axis=[] if filters else [array.ndim - 2, array.ndim - 1],
    )


def _measure_block(block: Any, verb: str, given: Mapping[str, Any]) -> Any:
    function = getattr(verbs, verb)
    filters = verb == "bandpass"
    out = np.empty(block.shape if filters else block.shape[:-2], dtype=np.float32 if filters else object)
    for index in np.ndindex(block.shape[:-2]):
        if filters:
            out[index] = function(block[index], **given).maps["filtered"]
        else:
            out[index] = function(block[index], **{"details": False, **given})
    return out
