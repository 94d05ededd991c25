"""Where results go: names of destinations, and senders that get them back. Pure."""

from collections.abc import Sequence

from adapter.domain.entities import RETURN_TO_SENDER, Destination

NOBODY = "@"
"""Begins what is no destination: whoever is meant is not configured, and the export is held."""
SENDERS_MAX = 64
"""Of a group; one more sender begins a group of its own."""


def routed(
    names: Sequence[str], senders: Sequence[str], destinations: Sequence[Destination]
) -> list[str]:
    """Return names of destinations; `@` and an AE Title for a sender that is none.

    A sender is the first destination with its AE Title.
    """
    found: dict[str, None] = {}
    for name in names:
        if name != RETURN_TO_SENDER:
            found[name] = None
            continue
        for title in senders:
            found[by_ae_title(title, destinations) or f"{NOBODY}{title}"] = None
        if not senders:
            found[RETURN_TO_SENDER] = None
    return list(found)


def by_ae_title(title: str, destinations: Sequence[Destination]) -> str:
    """Return the name of the first destination with an AE Title; empty: there is none."""
    names = (one.name for one in destinations if one.ae_title.strip() == title.strip())
    return next(names, "")


def why_held(destination: str, destinations: Sequence[Destination]) -> str:
    """Return why nobody gets what is for this destination; empty: somebody does.

    A job that is retried late may name one that has been removed meanwhile.
    """
    if destination == RETURN_TO_SENDER:
        return "nobody knows who has sent the instances"
    if destination.startswith(NOBODY):
        return f"no destination has the AE Title {destination[1:]!r}"
    if all(one.name != destination for one in destinations):
        return f"no destination has the name {destination!r}"
    return ""


def now_for(destination: str, destinations: Sequence[Destination]) -> str:
    """Return who gets what is for this destination, now that there are these."""
    if not destination.startswith(NOBODY):
        return destination
    return by_ae_title(destination[1:], destinations) or destination


def canonical(
    wanted: Sequence[str], configured: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return destinations as they are configured, in any case of letters; and what is not."""
    known = {name.casefold(): name for name in (*configured, RETURN_TO_SENDER)}
    unknown = tuple(name for name in wanted if name.casefold() not in known)
    return tuple(dict.fromkeys(known.get(name.casefold(), "") for name in wanted)), unknown
