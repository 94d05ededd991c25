"""Entity review: the part of the entities actor that says whether something can be used.

Consumes: nothing. Produces: nothing. Owns: nothing; it reads the directory. Rebuilds from: nothing.
Restart policy: that of the entities actor.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import structlog
from msgspec import structs

from adapter.actors.entity_branch import Branch, Rules
from adapter.actors.entity_directory import EntityDirectory
from adapter.domain.entity_orders import EntityOrder, EntityRefusal, EntityRefused
from adapter.domain.entity_rows import (
    ENTITIES_MAX,
    KINDS,
    TABLES,
    Configured,
    EntityRow,
    Kind,
    ListedEntity,
    Origin,
    kept_row,
    of_file,
    of_row,
    row_of,
)
from adapter.domain.reconfiguration import Does, EntityEffect, Proposal

log = structlog.get_logger("adapter.entities")

_MADE: dict[Origin, str] = {"api": "over REST", "kubernetes": "by a custom resource of Kubernetes"}


@dataclass(slots=True, kw_only=True)
class EntityReview:
    """Judges what is to be, beside what there is."""

    rules: Rules
    branches: Mapping[Kind, Branch]
    directory: EntityDirectory
    follows_cluster: bool

    # --- rows

    def rows(self, rows: Sequence[EntityRow]) -> Iterator[ListedEntity]:
        """Yield rows of the ledger in the order in which they can start, then the unusable ones.

        One that is hidden by the configuration file is left out; it is back when it is not.
        """
        rank = list(KINDS)
        found = sorted(map(of_row, rows), key=lambda one: rank.index(one.kind))
        found = [listed for listed in found if not self._is_superseded(listed)]
        found = [self._judged_alone(listed) for listed in found]
        waiting = [listed for listed in found if listed.entity is not None]
        usable = list[Configured]()
        while more := self._usable(waiting, usable):  # what one names may come after it
            yield from more
            usable += _entities(more)
            begun = {(one.kind, one.name) for one in more}
            waiting = [one for one in waiting if (one.kind, one.name) not in begun]
        yield from (self._judged(listed, usable) for listed in waiting)
        yield from (listed for listed in found if listed.entity is None)

    def _usable(
        self, waiting: Sequence[ListedEntity], beside: Sequence[Configured]
    ) -> Sequence[ListedEntity]:
        """Return those that can be used beside others, found by halves: they are many, and right.

        One may be left out that could be used beside those that are returned.
        """
        if not waiting or not self.rules.problems([*beside, *_entities(waiting)], None):
            return waiting
        if len(waiting) == 1:
            return ()
        half = len(waiting) // 2
        first = self._usable(waiting[:half], beside)
        return [*first, *self._usable(waiting[half:], [*beside, *_entities(first)])]

    def _is_superseded(self, listed: ListedEntity) -> bool:
        now = self.directory.listed[listed.kind].get(listed.name)
        if now is None or now.origin != "file":
            return False
        log.warning("entity.superseded", entity=listed.name, ae_title=listed.ae_title)
        return True

    def _judged(self, listed: ListedEntity, beside: Sequence[Configured]) -> ListedEntity:
        """Return it with what is wrong with it beside others that were made over REST."""
        listed = self._judged_alone(listed)
        if listed.entity is None:
            return listed
        problems = self.rules.problems([*beside, listed.entity], listed.entity)
        return _unusable(listed, problems) if problems else listed

    def _judged_alone(self, listed: ListedEntity) -> ListedEntity:
        if listed.entity is None:
            return listed
        problems = self.rules.own_problems(listed.entity)
        return _unusable(listed, problems) if problems else listed

    def now(self, listed: ListedEntity) -> ListedEntity:
        """Return something unusable as it is to be judged now, or something that is brought back.

        It may be usable by now.
        """
        again = of_row(kept_row(listed))
        if taken := self.taken(again, self._others(again)):
            return _unusable(again, taken)
        return self._judged(again, _entities(self._made(without=again)))

    # --- orders

    def objection(self, order: EntityOrder, now: ListedEntity | None) -> EntityRefused | None:
        """Return why it cannot be made, or become this."""
        entity, branch = order.entity, self.branches[order.kind]
        assert entity is not None
        wanted = of_file(entity)
        if now is None:
            if taken := self.taken(wanted, list(self.directory.listed[order.kind].values())):
                return EntityRefused(EntityRefusal.CONFLICT, tuple(taken))
        elif now.retiring and branch.drains_unasked:
            return refused(EntityRefusal.CONFLICT, f"{order.name!r} is being removed")
        elif fixed := branch.fixed(now, entity):
            return refused(EntityRefusal.INVALID, fixed)
        made = self._made(without=wanted)
        staying = [one for one in made if one.kind != "destination" or not one.retiring]
        problems = self.rules.own_problems(entity)
        problems += self.rules.problems([*_entities(staying), entity], entity)
        beside = [one for one in made if one.kind == order.kind]
        if now is None and len(beside) >= ENTITIES_MAX:
            problems.append(f"there are {ENTITIES_MAX} already")
        try:
            row_of(entity)
        except ValueError as error:
            problems.append(str(error))
        if problems:
            return EntityRefused(EntityRefusal.INVALID, tuple(problems))
        return _changed_since(order, now)

    def objection_to_owner(self, order: EntityOrder, now: ListedEntity) -> EntityRefused | None:
        """Return why it is not for whoever orders; what nobody follows any more is for REST."""
        if now.origin == "file":
            why = f"{order.name!r} is of the configuration file; change it there"
            return refused(EntityRefusal.CONFLICT, why)
        if now.origin == order.origin or (order.origin == "api" and not self.follows_cluster):
            return None
        why = f"{order.name!r} was made {_MADE[now.origin]}; change or remove it there"
        return refused(EntityRefusal.CONFLICT, why)

    async def objection_to_removal(
        self, order: EntityOrder, now: ListedEntity
    ) -> EntityRefused | None:
        """Return why it has to stay: something names it, or there is work for it."""
        if problems := self.rules.problems(_entities(self._made(without=now)), None):
            return EntityRefused(EntityRefusal.CONFLICT, tuple(problems))
        branch = self.branches[order.kind]
        drains = branch.drains_unasked if order.drain is None else order.drain
        if not drains and (left := await branch.left(now)):
            why = f"there is work left: {left}; drain=true removes it when that is done"
            return refused(EntityRefusal.CONFLICT, why)
        return _changed_since(order, now)

    def objections_to_file(self, proposal: Proposal) -> list[str]:
        """Return why what the configuration file lists now cannot run beside the rest."""
        problems, made = list[str](), self._made()
        for entity in proposal.entities:
            wanted = of_file(entity)
            now = self.directory.listed[wanted.kind].get(wanted.name)
            here = f"{TABLES[wanted.kind]}[{wanted.name}]"
            others = [one for one in made if one.kind == wanted.kind and one.name != wanted.name]
            if now is not None and now.retiring and self.branches[wanted.kind].drains_unasked:
                problems.append(f"{here}: is being removed; reload again when it is gone")
            elif now is not None and now.origin != "file":
                problems.append(f"{here}: was made {_MADE[now.origin]} as well; remove it there")
            problems += [f"{here}: {why}" for why in self.taken(wanted, others)]
        return problems + proposal.problems(_entities(made))

    async def effects(self, proposal: Proposal) -> list[EntityEffect]:
        """Return what becomes of what, if the file is taken: in the order in which it happens."""
        wanted = {(one.kind, one.name): one for one in map(of_file, proposal.entities)}
        effects = []
        for one in wanted.values():
            now = self.directory.listed[one.kind].get(one.name)
            if now is None:
                effects.append(_effect(one, "starts"))
            elif now != one:
                effects.append(_effect(one, "changes"))
        for kind in reversed(KINDS):
            for listed in self.directory.listed[kind].values():
                is_gone = listed.origin == "file" and (kind, listed.name) not in wanted
                if is_gone and not listed.retiring:
                    left = await self.branches[kind].left(listed)
                    effects.append(_effect(listed, "drains" if left else "goes", left))
        return effects + [_effect(one, "is usable again") for one in self._usable_by(proposal)]

    def _usable_by(self, proposal: Proposal) -> Iterator[ListedEntity]:
        """Yield what was made over REST, cannot be used, and can be by this proposal."""
        for kind in KINDS:
            for listed in self.directory.listed[kind].values():
                again = of_row(kept_row(listed))
                if listed.entity is not None or again.entity is None:
                    continue
                if not proposal.problems([*_entities(self._made()), again.entity]):
                    yield again

    def taken(self, wanted: ListedEntity, others: Sequence[ListedEntity]) -> list[str]:
        """Return what others have that it would have."""
        problems = []
        if any(one.name == wanted.name for one in others):
            problems.append(f"name: {wanted.name!r} is used")
        return problems + self.branches[wanted.kind].taken(wanted, others)

    def _others(self, wanted: ListedEntity) -> list[ListedEntity]:
        """Return those of its kind that are not it."""
        listed = self.directory.listed[wanted.kind].values()
        return [one for one in listed if one.name != wanted.name]

    def _made(self, *, without: ListedEntity | None = None) -> list[ListedEntity]:
        """Return all that are not of the file and can be used."""
        left_out = (without.kind, without.name) if without else None
        return [
            one
            for listed in self.directory.listed.values()
            for one in listed.values()
            if one.origin != "file" and one.entity is not None
            if (one.kind, one.name) != left_out
        ]


def _effect(listed: ListedEntity, does: Does, left: str = "") -> EntityEffect:
    return EntityEffect(
        kind=listed.kind, name=listed.name, origin=listed.origin, does=does, left=left
    )


def _entities(listed: Sequence[ListedEntity]) -> list[Configured]:
    return [one.entity for one in listed if one.entity is not None]


def _unusable(listed: ListedEntity, problems: Sequence[str]) -> ListedEntity:
    return structs.replace(listed, entity=None, problems=tuple(problems))


def refused(refusal: EntityRefusal, problem: str) -> EntityRefused:
    """Return a refusal for one reason."""
    return EntityRefused(refusal, (problem,))


def _changed_since(order: EntityOrder, now: ListedEntity | None) -> EntityRefused | None:
    """Return a refusal if it is not what whoever orders has seen."""
    if order.tags is None or (now is not None and now.tag in order.tags):
        return None
    return refused(EntityRefusal.CHANGED, f"{order.name!r} has changed; look at it again")
