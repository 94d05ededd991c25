"""Values from outside become structs, field by field, so that every problem is found at once.

For the configuration file and for REST: the text of a problem names the value by a path of keys.
"""

import difflib
from collections.abc import Callable
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from adapter.domain.entities import SECRET, Varied
from adapter.domain.value_problems import inner_value, value_problem

HIDDEN = "(hidden)"
"""What is shown of a secret."""


class SpelledValue:
    """A value whose type decides how it is read."""

    def as_kind(self, kind: Any) -> Any:
        """Return the value for a field of this type."""
        raise NotImplementedError


class Reader:
    """Reads values, and keeps what is wrong with them, one line a problem."""

    def __init__(
        self, where: Callable[[str], str] = str, spelled: Callable[[str], str] = str
    ) -> None:
        """Nothing is read yet.

        Args:
            where: Says where a value is, given the path of its key.
            spelled: How the key of a struct's field is spelled outside.
        """
        self.problems: list[str] = []
        self._where = where
        self._spelled = spelled

    def read(self, value: Any, kind: Any, path: str = "") -> Any:
        """Return value as this kind; None if there are problems with it."""
        base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
        if isinstance(value, SpelledValue):
            value = value.as_kind(base)
        if isinstance(value, dict) and (struct := _struct_among(base)):
            return self._read_struct(value, struct, path)
        before = len(self.problems)
        if get_origin(base) is list and isinstance(value, list):
            item = get_args(base)[0]
            value = [self.read(one, item, f"{path}[{index}]") for index, one in enumerate(value)]
        elif get_origin(base) is dict and isinstance(value, dict) and not is_secret(kind):
            value = self._read_dict(value, base, path)
        if len(self.problems) > before:  # told already
            return None
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            if is_secret(kind):
                self.problems.append(f"{self._where(path)}: is not of the form it must have")
                return None
            where, why = value_problem(error, kind)
            shown = inner_value(value, where)
            self.problems.append(f"{self._where(path + where)} = {shown!r}: {why}")
            return None

    def _read_dict(self, value: dict[Any, Any], kind: Any, path: str) -> dict[Any, Any]:
        key_kind, item = get_args(kind)
        return {
            self.read(key, key_kind, f"{path}, a key"): self.read(one, item, f"{path}.{key}")
            for key, one in value.items()
        }

    def _read_struct(self, value: dict[str, Any], kind: type[Struct], path: str) -> Any:
        before = len(self.problems)
        known = {self._spelled(f.name): f for f in msgspec.structs.fields(kind)}
        converted = {}
        for key, entry in value.items():
            here = f"{path}.{key}" if path else str(key)
            if key in known:
                converted[known[key].name] = self.read(entry, known[key].type, here)
            else:
                close = difflib.get_close_matches(str(key), known, 1)
                hint = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(known)}"
                self.problems.append(f"{self._where(here)}: unknown key; {hint}")
        for name, known_field in known.items():
            if known_field.required and name not in value:
                here = f"{path}.{name}" if path else name
                self.problems.append(f"{self._where(here)}: is missing")
        if issubclass(kind, Varied):
            given = {f.name: value[key] for key, f in known.items() if key in value}
            for name, why in kind.key_problems(given):
                here = f"{path}.{self._spelled(name)}" if path else self._spelled(name)
                self.problems.append(f"{self._where(here)}: {why}")
        return kind(**converted) if len(self.problems) == before else None


def is_secret(kind: Any) -> bool:
    """Return whether values of a field's type are never shown."""
    metas = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    return any(getattr(meta, "extra_json_schema", None) == SECRET for meta in metas)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _struct_among(kind: Any) -> type[Struct] | None:
    """Return the struct that a table is for this type, which may also be another: `Tls | None`."""
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return next((one for one in kinds if _is_struct(one)), None)
