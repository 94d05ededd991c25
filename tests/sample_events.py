"""Live events for tests that care about some of what an event tells."""

import enum
import typing

import msgspec

from adapter.domain.event_types import EVENTS

_ZEROS = {str: "", int: 0, float: 0.0, bool: False}


def sample(kind, /, data=None, **ids):
    """Return an event of this type; `data` has names of the wire, what it lacks is nothing."""
    (told,) = (f.type for f in msgspec.structs.fields(EVENTS[kind]) if f.name == "data")
    fields = {field.encode_name: field for field in msgspec.structs.fields(told)}
    data = data or {}
    assert data.keys() <= fields.keys(), f"{kind} tells nothing like {data.keys() - fields.keys()}"
    zeros = {name: _zero(field.type) for name, field in fields.items() if field.required}
    return EVENTS[kind](**ids, data=msgspec.convert(zeros | data, told))


def _zero(kind):
    if kind in _ZEROS:
        return _ZEROS[kind]
    if typing.get_origin(kind) is list:
        return []
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return next(iter(kind)).value
    choices = typing.get_args(kind)
    return None if type(None) in choices else choices[0]
