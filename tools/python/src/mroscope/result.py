# SPDX-License-Identifier: GPL-3.0-or-later
"""Results: the objects that the program writes as JSON, with attributes of the same names."""

import copy
import json
from typing import Any, Iterator, Mapping, Sequence

import numpy.typing as npt

from .errors import ArgumentError
from .image import Image


class Record(Mapping[str, Any]):
    """A JSON object whose keys are attributes as well. Numbers that could not be measured are None."""

    def __init__(self, data: "Mapping[str, Any]") -> None:
        self._data = data

    def __getitem__(self, key: str) -> Any:
        return _wrap(self._data[key])

    def __iter__(self) -> "Iterator[str]":
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

    def __dir__(self) -> "list[str]":
        return [*super().__dir__(), *(k for k in self if k.isidentifier())]

    def to_dict(self) -> "dict[str, Any]":
        """A copy as plain dictionaries and lists, the JSON object of the program."""
        return copy.deepcopy(dict(self._data))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({json.dumps(self._data)})"


def _wrap(value: Any) -> Any:
    if isinstance(value, dict):
        return Record(value)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return tuple(Record(v) for v in value)
    return tuple(value) if isinstance(value, list) else value


class Result(Record):
    """A result of a verb. Its numbers are attributes named as the keys of the program's JSON."""

    def __init__(self, verb: str, data: "Mapping[str, Any]", files: "Mapping[str, bytes]") -> None:
        super().__init__(data)
        self._verb = verb
        self._files = {_suffix(name, verb): data for name, data in files.items()}
        self._frames: "tuple[Result, ...]" = ()

    @property
    def frames(self) -> "tuple[Result, ...]":
        """Results of the single frames of a stack; empty for one image."""
        return self._frames


def _suffix(name: str, verb: str) -> str:
    """'score.tif' of 'image.mro.score.tif'."""
    at = name.rfind(f".{verb}.")
    return name[at + len(verb) + 2 :] if at >= 0 else name


def collect(verb: str, found: "Sequence[Result]") -> Result:
    """One result of what a run gave: that of all frames together with those of the frames in it."""
    if len(found) == 1:
        return found[0]
    together = [r for r in found if r._data.get("frame", 0) is None]
    if len(together) == 1:
        whole = together[0]
        whole._frames = tuple(r for r in found if r is not whole)
        return whole
    whole = Result(verb, {}, {})
    whole._frames = tuple(found)
    return whole
