"""An administrator who makes, changes and removes AE Titles and destinations while all goes on.

What was answered is durable: it is there in the next life of the program. What was not answered
may have been done, or not. Nobody gets in to an AE Title that was answered to be removed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
import trio
from fakes.disk import Life

from adapter.channels import UNANSWERED, ask
from adapter.domain.entities import ApplicationEntity, Destination
from adapter.domain.entity_orders import EntityAction, EntityOrder, EntityRefusal, EntityRefused
from adapter.domain.entity_rows import Configured, Kind, ListedEntity, kind_of, settings_of
from adapter.domain.made_destination import MadeDestination
from adapter.domain.routing import why_held
from adapter.domain.tables import ExportState
from adapter.domain.views import Views

ANSWER_S = 30.0
"""An exporter that is exchanged has 2 s to hand over."""
MADE = (
    MadeDestination(name="made", ae_title="MADE", host="made", port=104),
    MadeDestination(name="ct2", ae_title="CT2", host="ct2", port=104),
)
TITLE = ApplicationEntity(
    name="ae3", ae_title="AE3", timeout_s=5.0, max_age_s=60.0, storage_commitment="held",
    pipelines={"one": "one", "two": "two"},
)  # fmt: skip
DESTINATIONS = (["pacs"], ["made"], ["@sender"], ["archive", "made"], ["pacs", "@sender"], [])
REFUSALS = frozenset({EntityRefusal.CONFLICT, EntityRefusal.INVALID, EntityRefusal.UNKNOWN})
Listed = Mapping[str, Any] | None
"""The settings of what is listed; None: it is not, or is to go."""


@dataclass(slots=True)
class EntityBook:
    """What is known outside; outlives the lives of the program."""

    may_be: dict[tuple[Kind, str], list[Listed]] = field(default_factory=dict)
    """What was answered last, and what was ordered since and not answered."""
    versions: dict[str, list[ApplicationEntity]] = field(default_factory=dict)
    """By AE Title, everything it may ever have been."""
    shut: set[str] = field(default_factory=set)
    """AE Titles that were answered to be removed."""
    broken: list[str] = field(default_factory=list)
    done: int = 0

    def version(self, entity: ApplicationEntity) -> None:
        """Note what an AE Title is about to be."""
        self.versions.setdefault(entity.ae_title, []).append(entity)


@dataclass(slots=True, kw_only=True)
class Administrator:
    """One life of one who gives orders about entities."""

    views: Views
    book: EntityBook
    life: Life
    rng: Random
    draw_policies: Callable[[ApplicationEntity, Random], ApplicationEntity]

    async def work(self) -> None:
        """Give orders; once nothing goes wrong any more, only make what results wait for."""
        self._compare()
        while True:
            await trio.sleep(self.rng.expovariate(0.2))
            if self.rng.random() < self.life.rates.changes:
                await self._meddle()
            elif not self.life.rates.changes:
                await self._make(MADE[1])  # whoever has sent as CT2 gets results back in the end
                if await self._is_missed(MADE[0].name):
                    await self._make(MADE[0])

    async def _is_missed(self, name: str) -> bool:
        """Return whether an export says that it waits for such a destination."""
        waiting = await self.views.ledger.exports(frozenset({ExportState.QUEUED}))
        return any(export.error == why_held(name, ()) for export in waiting)

    def _compare(self) -> None:
        """What was made in another life is there, as it was answered."""
        for (kind, name), may_be in self.book.may_be.items():
            seen = self._listed(kind, name)
            if seen not in may_be:
                self.book.broken.append(f"{kind} {name} is {seen}, and not one of {may_be}")
            self.book.may_be[kind, name] = [seen]

    def _listed(self, kind: Kind, name: str) -> Listed:
        listed = self.views.listed[kind].get(name)
        return None if listed is None or listed.retiring else listed.settings

    async def _meddle(self) -> None:
        wanted = self._drawn()
        kind, name = kind_of(wanted), wanted.name
        if self._listed(kind, name) is None:
            await self._make(wanted)
        elif self.rng.random() < 0.6:
            await self._order("change", wanted)
        else:
            await self._order("remove", wanted, drain=self.rng.random() < 0.5)

    def _drawn(self) -> Configured:
        which = self.rng.choice((*MADE, TITLE, TITLE))
        if isinstance(which, Destination):
            return msgspec.structs.replace(
                which,
                max_associations=self.rng.choice((1, 3)),
                fallback=self.rng.choice(("", "", "spare")) if which.name == "made" else "",
                fallback_after_s=20.0,
            )
        entity = msgspec.structs.replace(which, destinations=self.rng.choice(DESTINATIONS))
        return self.draw_policies(entity, self.rng)

    async def _make(self, wanted: Configured) -> None:
        if wanted.name not in self.views.listed[kind_of(wanted)]:
            await self._order("create", wanted)

    async def _order(
        self, action: EntityAction, wanted: Configured, *, drain: bool = False
    ) -> None:
        kind, name = kind_of(wanted), wanted.name
        new: Listed = None if action == "remove" else settings_of(wanted)
        may_be = self.book.may_be.setdefault((kind, name), [None])
        may_be.append(new)
        if isinstance(wanted, ApplicationEntity) and action != "remove":
            self.book.version(wanted)
            self.book.shut.discard(wanted.ae_title)
        answer = await self._ask(action, kind, wanted, drain=drain)
        if isinstance(answer, EntityRefused):
            if answer.refusal not in REFUSALS:
                self.book.broken.append(f"{action} {kind} {name}: {answer}")
            may_be.pop()
        elif answer is not None:
            self.book.done += 1
            self.book.may_be[kind, name] = [new]
            if action == "remove" and isinstance(wanted, ApplicationEntity):
                self.book.shut.add(wanted.ae_title)

    async def _ask(
        self, action: EntityAction, kind: Kind, wanted: Configured, *, drain: bool
    ) -> ListedEntity | EntityRefused | None:
        """Return the answer; None: nobody gave one."""
        try:
            return await ask(
                self.views.entity_orders,
                lambda reply: EntityOrder(
                    action=action, kind=kind, name=wanted.name,
                    entity=None if action == "remove" else wanted, drain=drain, reply=reply,
                ),
                ANSWER_S,
            )  # fmt: skip
        except UNANSWERED:
            return None


def all_versions(
    configured: Sequence[ApplicationEntity], book: EntityBook
) -> dict[str, list[ApplicationEntity]]:
    """Return everything that each AE Title may ever have been."""
    versions = {entity.ae_title: [entity] for entity in configured}
    for title, made in book.versions.items():
        versions.setdefault(title, []).extend(made)
    return versions
