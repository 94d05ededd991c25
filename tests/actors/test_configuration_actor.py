"""Configuration: what is proposed counts as a whole or not at all, and is told."""

import pytest
import trio

from adapter.actors.configuration import Configuration
from adapter.channels import ask
from adapter.domain.reconfiguration import (
    Change,
    EntitiesJudged,
    EntityEffect,
    Plan,
    ReloadFigures,
    ReloadOrder,
    ReloadRefused,
)
from adapter.errors import ConfigurationError
from adapter.supervision import REPLICA, supervise

CHANGES = (
    Change(key="storage.watermark_percent", old=85, new=90, restart=False),
    Change(key="dicom.scp.port", old=104, new=105, restart=True),
)

EFFECTS = (EntityEffect(kind="aetitle", name="lung", origin="file", does="starts"),)


class Offer:
    """A proposal that others may object to."""

    def __init__(self, changes=CHANGES):
        self.changes, self.entities, self.adopted = changes, [], False
        self.warnings = ("a program is missing",)


class File:
    """Port ConfigurationSource: says what the test put there."""

    def __init__(self):
        self.offer = Offer()
        self.wrong = []
        self.noted, self.documents = [], []
        self.changed_in, self.changed = trio.open_memory_channel(1)

    async def read(self):
        return await self.plan(None)

    async def plan(self, document):
        await trio.lowlevel.checkpoint()
        self.documents.append(document)
        if self.wrong:
            raise ConfigurationError(self.wrong)
        return self.offer

    async def wait_changed(self):
        return await self.changed.receive()

    async def note(self, by):
        await trio.lowlevel.checkpoint()
        self.noted.append(by)

    async def note_refused(self, by, problems):
        await trio.lowlevel.checkpoint()
        self.noted.append((by, list(problems)))


class Stage:
    """The actor, and entities that object as the test says."""

    def __init__(self):
        self.file, self.events, self.stop = File(), [], trio.Event()
        self.orders_in, self.orders = trio.open_memory_channel(0)
        self.figures = ReloadFigures()
        self.objections, self.asked = [], []

    async def start(self, nursery):
        entities_in, entities = trio.open_memory_channel(0)
        actor = Configuration(
            source=self.file, orders=self.orders, entities=entities_in, figures=self.figures,
            publish=self.events.append, now=lambda: 1e9, stop=self.stop,
        )  # fmt: skip
        nursery.start_soon(self._entities, entities)
        await nursery.start(supervise, actor, REPLICA, self.events.append)

    async def _entities(self, proposals):
        async for order in proposals:
            self.asked.append(order.dry_run)
            if not self.objections and not order.dry_run:
                order.proposal.adopted = True
            order.reply.send_nowait(EntitiesJudged(self.objections, EFFECTS))

    async def reload(self, *, dry_run=False, document=None):
        return await ask(
            self.orders_in,
            lambda reply: ReloadOrder(by="one", dry_run=dry_run, document=document, reply=reply),
            60.0,
        )

    def told(self):
        return [(e.type, e.facts) for e in self.events if e.type.startswith("config.")]


@pytest.fixture
async def stage():
    stage = Stage()
    async with trio.open_nursery() as nursery:
        await stage.start(nursery)
        yield stage
        stage.stop.set()
        nursery.cancel_scope.cancel()


async def test_order_has_it_count_and_says_what_needs_a_restart(stage, autojump_clock):
    assert await stage.reload() == Plan(
        changes=CHANGES, entities=EFFECTS, warnings=("a program is missing",), applied=True
    )
    assert stage.file.offer.adopted
    data = {"kind": "file", "keys": ["storage.watermark_percent"], "restart": ["dicom.scp.port"]}
    assert stage.told() == [("config.changed", data)]
    assert (stage.figures.succeeded, stage.figures.at) == (True, 1e9)
    assert stage.file.noted == ["one"]


async def test_question_changes_nothing(stage, autojump_clock):
    assert await stage.reload(dry_run=True) == Plan(
        changes=CHANGES, entities=EFFECTS, warnings=("a program is missing",), applied=False
    )
    assert not stage.file.offer.adopted
    assert stage.told() == []
    assert stage.file.noted == []
    await stage.reload(dry_run=True, document={"a": 1})
    assert stage.file.documents == [None, {"a": 1}]
    assert stage.figures.at == 0.0


async def test_change_of_the_file_is_an_order_nobody_waits_for(stage, autojump_clock):
    stage.file.changed_in.send_nowait("SIGHUP")
    await trio.sleep(1)
    assert stage.file.offer.adopted
    assert [kind for kind, _ in stage.told()] == ["config.changed"]
    assert stage.file.noted == ["SIGHUP"]


async def test_file_that_cannot_be_used_is_told_and_the_next_change_is_followed(
    stage, autojump_clock
):
    stage.file.wrong = ["adapter.toml: dicm: unknown key", "adapter.toml: x: is missing"]
    assert await stage.reload(dry_run=True) == ReloadRefused(tuple(stage.file.wrong))
    assert stage.told() == []
    stage.file.changed_in.send_nowait("SIGHUP")
    await trio.sleep(1)
    assert stage.asked == []
    assert stage.told() == [("config.refused", {"problems": stage.file.wrong})]
    assert not stage.figures.succeeded
    assert stage.file.noted == [("SIGHUP", stage.file.wrong)]
    stage.file.wrong = []
    stage.file.changed_in.send_nowait("SIGHUP")
    await trio.sleep(1)
    assert stage.figures.succeeded


async def test_objection_of_the_entities_refuses_all_of_it(stage, autojump_clock):
    stage.objections = ["application_entities[x]: was made over REST as well"]
    assert await stage.reload() == ReloadRefused(tuple(stage.objections))
    assert not stage.file.offer.adopted
    assert [kind for kind, _ in stage.told()] == ["config.refused"]


async def test_file_that_says_the_same_is_no_event(stage, autojump_clock):
    stage.file.offer = Offer(changes=())
    assert await stage.reload() == Plan(
        changes=(), entities=EFFECTS, warnings=("a program is missing",), applied=True
    )
    assert stage.told() == []
