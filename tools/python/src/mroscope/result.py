# SPDX-License-Identifier: GPL-3.0-or-later
"""Results: the objects that the program writes as JSON, with attributes of the same names."""

from __future__ import annotations

import base64
import copy
import csv
import html
import io
import math
from typing import Any, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from .errors import ArgumentError
from .image import Image


class Record(Mapping[str, Any]):
    """A JSON object whose keys are attributes as well. Numbers that could not be measured are None."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data

    def __getitem__(self, key: str) -> Any:
        return _wrap(self._data[key])

    def __eq__(self, other: object) -> bool:
        data = other._data if isinstance(other, Record) else other
        return bool(self._data == data) if isinstance(data, dict) else NotImplemented

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no '{name}' here; there are {', '.join(self)}") from None

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(k for k in self if k.isidentifier())]

    def to_dict(self) -> dict[str, Any]:
        """A copy as plain dictionaries and lists: the JSON object of the program, with the options in its
        warnings called as here."""
        return copy.deepcopy(dict(self._data))

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {value}" for name, value in _rows(self._data))


def _wrap(value: Any) -> Any:
    if isinstance(value, dict):
        return Record(value)
    if isinstance(value, list):
        return tuple(_wrap(v) for v in value)
    return value


# -- as text ---------------------------------------------------------------------------------------

# What every result says of itself; shown apart from the numbers.
_HEAD = ("schema", "file", "image", "frame", "shape", "pixel_nm", "calibration", "warnings", "provenance", "options")
# Ends of names that are units, longest first.
_UNITS = (
    ("_per_nm3", "nm⁻³"),
    ("_per_nm2", "nm⁻²"),
    ("_per_nm", "nm⁻¹"),
    ("_per_um", "µm⁻¹"),
    ("_inv_nm", "nm⁻¹"),
    ("_inv_A", "Å⁻¹"),
    ("_deg", "°"),
    ("_nm", "nm"),
    ("_kv", "kV"),
    ("_at", "at.%"),
    ("_mm", "mm"),
    ("_um", "µm"),
    ("_px", "px"),
    ("_A", "Å"),
)


# Numbers of a map of indents: in the unit of its table.
_OF_THE_TABLE = frozenset(
    ("mean", "sd", "fwhm", "fwhm_kernel", "noise_sd", "sd_true", "fwhm_true", "minimum", "maximum")
)


def _number(value: Any, width: Any = None) -> str:
    """In as many figures as show two of `width`, of its interval or its standard error, where that is known."""
    if isinstance(value, (int, float)) and isinstance(width, (int, float)) and 0 < width < math.inf:
        decimals = 1 - math.floor(math.log10(width))
        if -3 < decimals < 10:
            return f"{value:.{max(0, decimals)}f}"
    return f"{value:.4g}" if isinstance(value, float) else "none" if value is None else str(value)


def _text(value: Any) -> str:
    if isinstance(value, list):
        if len(value) > 6 or any(isinstance(v, (dict, list)) for v in value):
            return f"{len(value)} of them" if value else "none"
        return ", ".join(_number(v) for v in value) or "none"
    if isinstance(value, dict):
        plain = {k: v for k, v in value.items() if not isinstance(v, dict)}
        return ", ".join(f"{k} {v}" for k, v in _rows(plain) if k != _ABSENT) or "none"
    return _number(value)


# Name of the row that lists what has no value.
_ABSENT = "without a value"


def _unit(key: str) -> tuple[str, str]:
    """The name without its unit, and the unit: ("Q", "Å⁻¹") of "Q_inv_A"."""
    return next(((key[: -len(end)], unit) for end, unit in _UNITS if key.endswith(end)), (key, ""))


def _beside(key: str, end: str) -> tuple[str, ...]:
    """What the interval ("_ci95") or standard error ("_se") of a number may be called: Q_se or Q_se_inv_A of Q_inv_A."""
    name = _unit(key)[0]
    return f"{key}{end}", f"{name}{end}", f"{name}{end}{key[len(name) :]}"


def _rows(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values for people: with units, and with the interval or error that belongs to a number."""
    errors = {
        e for k, v in data.items() if not isinstance(v, (list, dict)) for end in ("_ci95", "_se") for e in _beside(k, end)
    }
    absent = []
    for key, value in data.items():
        if key in _HEAD or key in errors or (isinstance(value, bool) and key.endswith("_at_most")):
            continue
        name, unit = _unit(key)
        if key in _OF_THE_TABLE and isinstance(data.get("unit"), str):
            unit = data["unit"]
        if value is None:
            absent.append(key)
        elif isinstance(value, dict) and value and all(isinstance(v, dict) for v in value.values()):
            yield from ((f"{key}.{k}", _text(v)) for k, v in value.items())
        elif isinstance(value, (list, dict)):
            written = _text(value)
            if written == "none":
                absent.append(key)
            else:
                yield key, f"{written} {unit if isinstance(value, list) else ''}".rstrip()
        elif value != "":
            error, interval = (
                next((data[k] for k in _beside(key, end) if data.get(k) is not None), None) for end in ("_se", "_ci95")
            )
            if not isinstance(interval, list) or None in interval:
                interval = None
            width = interval[1] - interval[0] if interval and error is None else error
            written = _number(value, width) if error is None else f"{_number(value, width)} ± {_number(error, width)}"
            if data.get(f"{key}_at_most") is True:
                written = f"<= {written}"
            written += f" {unit}" if unit else ""
            if interval:
                written += f" (95 %: {_number(interval[0], width)} to {_number(interval[1], width)})"
            yield key, written
    if absent:
        yield _ABSENT, ", ".join(absent)


# -- results ---------------------------------------------------------------------------------------


# Results of single frames that a notebook shows.
_PARTS_SHOWN = 4
# Names for files that have none of their own: the image that 'bandpass' makes, the table of 'compare'.
_ALONE = {".tif": "filtered", ".csv": "states"}


class Result(Record):
    """A result of a verb. Its numbers are attributes named as the keys of the program's JSON, ``result["fraction"]`` and
    ``result.fraction``; docs/ of the project says what they mean. Of a stack it is the result of all frames together,
    and ``parts`` holds those of each."""

    def __init__(self, verb: str, data: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        super().__init__(data)
        self._verb = verb
        self._files = {_suffix(name, verb): content for name, content in files.items()}
        self._parts: tuple[Result, ...] = ()
        self._metadata: dict[str, Any] | None = None  # of the signal that was measured

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and not self._data and self._parts:
            raise AttributeError(f"'{self._verb}' measures these {len(self._parts)} by themselves; see .parts")
        return super().__getattr__(name)

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and (not isinstance(other, Result) or self._parts == other._parts)

    @property
    def parts(self) -> tuple[Result, ...]:
        """Results of the single frames of a stack, or of several inputs; empty for one image."""
        return self._parts

    @property
    def maps(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays by name ("score", "mask"), as the program writes them to NAME.VERB.score.tif. ``map(name)`` gives
        them with their axes."""
        return {name: self.map(name).array for name in self._names(".tif")}

    def map(self, name: str) -> Image:
        """A map with its axes."""
        from .reading import image_of_bytes

        return image_of_bytes(f"{name}.tif", self._named(name, ".tif"))

    @property
    def tables(self) -> dict[str, npt.NDArray[Any]]:
        """Tables by name ("objects", "survival") as structured arrays, with the headers of the program's CSV files."""
        return {name: _table(self._named(name, ".csv")) for name in self._names(".csv")}

    def figure(self, format: str = "png") -> bytes:
        """The figure that the program draws, as the bytes of a "png", "svg" or "pdf" file."""
        if format not in ("png", "svg", "pdf"):
            raise ArgumentError(f"the figure is drawn as png, svg or pdf, not {format!r}")
        return self._file(format)

    def plot(self, ax: Any = None) -> Any:
        """Shows the figure in matplotlib axes (new ones by default) and returns them."""
        import matplotlib.pyplot as plt

        picture = plt.imread(io.BytesIO(self.figure("png")), format="png")
        if ax is None:
            ny, nx = picture.shape[:2]
            ax = plt.figure(figsize=(nx / 300, ny / 300), dpi=150).add_axes((0, 0, 1, 1))
        ax.imshow(picture)
        ax.set_axis_off()
        return ax

    def to_signal(self, name: str) -> Any:
        """A map as a HyperSpy signal, with its axes, the metadata of the signal that was measured, and this result
        under ``metadata.mroscope``. Of a stack: the maps of all frames."""
        from .hyperspy import to_signal

        return to_signal([r.map(name) for r in self._parts or (self,)], name, self)

    def _names(self, suffix: str) -> list[str]:
        alone = [_ALONE[suffix]] if suffix[1:] in self._files else []
        return alone + [f[: -len(suffix)] for f in self._files if f.endswith(suffix)]

    def _named(self, name: str, suffix: str) -> bytes:
        alone = name == _ALONE[suffix] and suffix[1:] in self._files
        return self._file(suffix[1:] if alone else name + suffix)

    def _file(self, name: str) -> bytes:
        if name in self._files:
            return self._files[name]
        if self._files:
            raise ArgumentError(f"there is no {name} of '{self._verb}'; there are {', '.join(self._files)}")
        if self._parts:
            raise ArgumentError(
                "frames of stacks have maps and figures when they are measured with details=True; see .parts"
            )
        raise ArgumentError(
            "maps, tables and figures were not kept; measure with details=True (the default for single images)"
        )

    def _shown(self) -> list[tuple[str, str]]:
        """The verdict, and then the numbers."""
        return sorted(_rows(self._data), key=lambda row: row[0] != "verdict")

    def __repr__(self) -> str:
        if not self._data:
            return f"<mroscope {self._verb}: {len(self._parts)} results, see .parts>"
        head = f"mroscope {self._verb} of {self._data.get('file')}"
        if self._parts:
            head += f", {len(self._parts)} frames together"
        lines = [head, *(f"  {name}: {value}" for name, value in self._shown())]
        lines += [f"  warning: {w}" for w in self.get("warnings") or ()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        if not self._data:
            more = len(self._parts) - _PARTS_SHOWN
            rest = f"<p>and {more} more: see <code>.parts</code></p>" if more > 0 else ""
            return "".join(r._repr_html_() for r in self._parts[:_PARTS_SHOWN]) + rest
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for name, value in self._shown()
        )
        notes = "".join(f"<p>⚠ {html.escape(w)}</p>" for w in self.get("warnings") or ())
        picture = ""
        if "png" in self._files:
            data = base64.b64encode(self._files["png"]).decode()
            picture = f"<img style='max-width:100%' src='data:image/png;base64,{data}'>"
        title = html.escape(f"mroscope {self._verb}: {self._data.get('file')}")
        return f"<div><b>{title}</b>{picture}<table>{rows}</table>{notes}</div>"


def _column(values: list[str]) -> npt.NDArray[Any]:
    """A column of a table: whole numbers, numbers (an empty cell is NaN), or words."""
    if any(values):
        try:
            return np.array([int(v) for v in values], np.int64)
        except (ValueError, OverflowError):
            pass
    try:
        return np.array([float(v) if v else np.nan for v in values], np.float64)
    except ValueError:
        return np.array(values, str)


def _table(text: bytes) -> npt.NDArray[Any]:
    names, *rows = csv.reader(io.StringIO(text.decode(), newline=""))
    columns = [_column([row[i] for row in rows]) for i in range(len(names))]
    table = np.empty(len(rows), [(name, column.dtype) for name, column in zip(names, columns)])
    for name, column in zip(names, columns):
        table[name] = column
    return table


def _suffix(name: str, verb: str) -> str:
    """'score.tif' of 'image.mro.score.tif'."""
    at = name.rfind(f".{verb}.")
    return name[at + len(verb) + 2 :] if at >= 0 else name


def collect(verb: str, found: Sequence[Result]) -> Result:
    """One result of what a run gave: that of all frames together with those of the frames in it."""
    if len(found) == 1:
        return found[0]
    together = [r for r in found if r._data.get("frame", 0) is None]
    whole = together[0] if len(together) == 1 else Result(verb, {}, {})
    whole._parts = tuple(r for r in found if r is not whole)
    return whole
