"""What instances are grouped by: attributes, the association, and what is left without them.

Rules: a key never holds instances together that do not share what was asked for. An instance that
lacks it joins a fallback group, with the others of its study, or without a study of its
association; such a group says what it is.
"""

import re

import msgspec
from msgspec import Struct

from adapter.domain.entities import ApplicationEntity
from adapter.domain.messages import ReceivedInstance

ASSOCIATION = "association"
STUDY, SERIES = "0020,000D", "0020,000E"
TIMEOUT_S_MIN = 1.0
_TAG = re.compile(r"[0-9A-F]{4},[0-9A-F]{4}", re.ASCII)
_FIRST_TAG = "0008,0000"  # 0000 is for commands, 0002 and 0004 for files (PS3.5 7.1)
_COMPOSED = "\0"
"""Begins keys that are no attribute's value: none of those begins with NUL."""


class GroupKey(Struct, frozen=True, kw_only=True):
    """By what instances of one AE Title find their group."""

    text: str
    association: str = ""
    """The only association with this key; empty: it is that of all."""
    fallback: bool = False


def grouped_by(entity: ApplicationEntity) -> list[str]:
    """Return what the entity groups by, one or several, tags in upper case."""
    grouping = [entity.grouping] if isinstance(entity.grouping, str) else entity.grouping
    return [one if one == ASSOCIATION else one.upper() for one in grouping]


def grouping_tags(entity: ApplicationEntity) -> list[str]:
    """Return the attributes the entity groups by."""
    return [one for one in grouped_by(entity) if one != ASSOCIATION]


def is_by_association(entity: ApplicationEntity) -> bool:
    """Return whether groups of this entity hold instances of one association each."""
    return ASSOCIATION in grouped_by(entity)


def lease_tags(entity: ApplicationEntity, of_processor: frozenset[str]) -> frozenset[str]:
    """Return the attributes in which instances agree that are placed without a question each."""
    return of_processor | {STUDY} | {tag.upper() for tag in entity.required_attributes}


def grouping_problems(entity: ApplicationEntity) -> list[str]:
    """Return what is wrong with how the entity groups, one line a problem."""
    problems = []
    for one in grouped_by(entity):
        if one == ASSOCIATION or (_TAG.fullmatch(one) and one >= _FIRST_TAG):
            continue
        if len(one) > len(_FIRST_TAG) and _TAG.match(one):
            why = "is inside a sequence; only attributes of the main data set can be used"
        elif _TAG.fullmatch(one):
            why = "is no attribute of a data set; those begin at group 0008"
        else:
            why = f'is no tag such as {STUDY}, and not "{ASSOCIATION}"'
        problems.append(f"grouping: {one!r} {why}")
    if len(set(grouped_by(entity))) < len(grouped_by(entity)):
        problems.append("grouping: says the same twice")
    if not entity.timeout_s and not is_by_association(entity):
        problems.append(f'timeout_s: 0 needs "{ASSOCIATION}" in grouping')
    elif 0 < entity.timeout_s < TIMEOUT_S_MIN:
        problems.append(f"timeout_s: {entity.timeout_s} is below {TIMEOUT_S_MIN}")
    return problems


def joined_values(instance: ReceivedInstance, tags: list[str]) -> str:
    """Return what the instance says in these attributes; empty if it lacks one of them."""
    values = [instance.attributes.get(tag, "") for tag in tags]
    if not all(values):
        return ""
    return values[0] if len(values) == 1 else _composed(*values)


def group_key(entity: ApplicationEntity, instance: ReceivedInstance, key: str) -> GroupKey:
    """Return by what the instance finds its group.

    Args:
        entity: The AE Title it came to.
        instance: The instance.
        key: What the processor says; empty: the instance lacks what it asks for.
    """
    association = instance.association if is_by_association(entity) else ""
    if key:
        text = _composed(association, key) if association else key
        return GroupKey(text=text, association=association)
    study = instance.attributes.get(STUDY, "")
    if not study:
        association = instance.association
    text = _composed("fallback", association, study)
    return GroupKey(text=text, association=association, fallback=True)


def _composed(*parts: str) -> str:
    return _COMPOSED + msgspec.json.encode(parts).decode()
