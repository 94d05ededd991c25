"""The whole gateway from one seed: fakes at every edge, faults, kills and restarts, virtual time.

First anything may go wrong and nothing wrong may be promised (safety); then the faults stop and
everything outstanding must end (liveness). Replay a failure with `make sim SEED=...`.
"""

import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
import trio
import trio._core._run as trio_run
from invariants import check_liveness, check_safety
from simulated_world import World
from trio.testing import MockClock

LIVENESS_S = 4000.0


@pytest.fixture(autouse=True)
def picky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a plug-in that does not want everything."""
    info = tmp_path / "picky-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: picky\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[dicom_adapter.processors]\npicky = fakes.picky:Picky\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Log nothing, unless somebody replays one seed: it takes four times as long as all else."""
    if os.environ.get("SIM_SEED"):
        plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        structlog.configure(processors=[structlog.processors.add_log_level, plain])
    else:
        silent = structlog.make_filtering_bound_logger(logging.CRITICAL)
        structlog.configure(wrapper_class=silent)
    yield
    structlog.reset_defaults()


async def simulate(seed: int) -> World:
    """Lives with faults, then one without, then the checks."""
    world = World(seed)
    for _ in range(world.rng.randint(1, 5)):
        world.new_work()
        await world.live(world.rates, world.rng.uniform(0.5, 60), kill=world.rng.random() < 0.7)
        check_safety(world)
    world.new_work()
    calm = replace(world.rates, full=0, fault=0, bug=0, platform=0, unreachable=0, refused=0,
                   lost=0, abort=0, silent=0, unkept=0, operator=0, tasks=0, changes=0,
                   again=0)  # fmt: skip
    world.rates, world.meddling = calm, False
    await world.live(calm, LIVENESS_S, kill=False)
    check_safety(world)
    await check_liveness(world)
    return world


def seeds() -> list[int]:
    one = os.environ.get("SIM_SEED")
    return [int(one)] if one else list(range(int(os.environ.get("SIM_SEEDS") or 50)))


@pytest.mark.parametrize("seed", seeds())
def test_nothing_acknowledged_is_lost_and_everything_ends(seed: int) -> None:
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True
    trio_run._r.seed(seed)
    try:
        trio.run(simulate, seed, clock=MockClock(autojump_threshold=0.0))
    except BaseException:
        print(f"replay: make sim SEED={seed}")
        raise
