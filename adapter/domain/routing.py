"""Where results go: names of destinations, and senders that get them back. Pure."""

from collections.abc import Iterator, Sequence

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


def why_held(destination: str) -> str:
    """Return why nobody gets what is for this destination; empty: somebody does."""
    if destination == RETURN_TO_SENDER:
        return "nobody knows who has sent the instances"
    if destination.startswith(NOBODY):
        return f"no destination has the AE Title {destination[1:]!r}"
    return ""


def found_again(
    held: Sequence[tuple[str, str]], destinations: Sequence[Destination]
) -> Iterator[tuple[str, str]]:
    """Yield the key of what is held and the destination that is configured for it now."""
    for key, destination in held:
        if name := by_ae_title(destination[1:], destinations):
            yield key, name


def canonical(
    wanted: Sequence[str], configured: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return destinations as they are configured, in any case of letters; and what is not."""
    known = {name.casefold(): name for name in (*configured, RETURN_TO_SENDER)}
    unknown = tuple(name for name in wanted if name.casefold() not in known)
    return tuple(dict.fromkeys(known.get(name.casefold(), "") for name in wanted)), unknown
