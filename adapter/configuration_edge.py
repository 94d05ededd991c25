"""The configuration as an edge of the program: the file it comes from, and the trail it leaves."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import trio

from adapter.configuration import Layered
from adapter.descriptors import raise_descriptor_limit
from adapter.domain.carriers import DestinationFiles
from adapter.live_settings import LiveSettings, SettingsProposal
from adapter.protocols.configuration_file import ConfigurationFile
from adapter.protocols.web.trail import Trail
from adapter.settings import Settings

CONFIGURATION_THREADS = 1


class Follow(NamedTuple):
    """Where settings come from, while they count."""

    file: Path | None
    load: Callable[[Mapping[str, Any] | None], Layered]
    """Reads the file, or takes a document in its place; raises ConfigurationError."""


class SettingsTrail:
    """Tells the audit trail of the settings (port `ConfigurationTrail`)."""

    def __init__(self, live: LiveSettings, trail: Trail) -> None:
        self._live = live
        self._trail = trail

    async def configured(self, who: str) -> None:
        """Keep what counts now, if it is something else than what was kept last."""
        values = {one.key: json.dumps(one.value) for one in self._live.in_force()}
        await self._trail.configured(values, who)

    async def refused(self, who: str, problems: Sequence[str]) -> None:
        """Keep why something else does not count."""
        await self._trail.refused(problems, who)


def followed(
    live: LiveSettings,
    follow: Follow,
    files: DestinationFiles,
    trail: SettingsTrail,
    warnings: Callable[[Settings], Sequence[str]],
) -> ConfigurationFile:
    """Return the file that is read again while the adapter runs."""

    def propose(document: Mapping[str, Any] | None) -> SettingsProposal:
        layered = follow.load(document)
        raise_descriptor_limit(layered.settings)
        proposal = SettingsProposal(live, layered.settings, files, layered.origins)
        proposal.warnings = tuple(warnings(proposal.settings))
        return proposal

    return ConfigurationFile(
        follow.file, propose, trio.CapacityLimiter(CONFIGURATION_THREADS), trail
    )
