"""What must hold between configuration keys that are right by themselves, and what follows from
several of them: which ports there are, and who answers there.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from adapter.domain.addresses import network_of
from adapter.domain.assignments import load_processors
from adapter.domain.carriers import carrier_problems
from adapter.domain.entities import RETURN_TO_SENDER, ApplicationEntity
from adapter.domain.fallback import fallback_problems
from adapter.domain.http_endpoint import endpoint_problems
from adapter.domain.listener_tls import listener_problems
from adapter.domain.programs import Programs, programs_among
from adapter.domain.results_service import results_problems
from adapter.domain.webhooks import webhook_problems
from adapter.settings import Settings

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_ANYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - to compare with
_HOST_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?", re.ASCII)


class ListeningPort(NamedTuple):
    """A port senders reach, and who answers there."""

    key: str
    """Of the configuration."""
    port: int
    entities: list[ApplicationEntity]
    tls: bool
    serves: int
    """The port whose AE Titles answer here: itself, or the shared one."""


def listening_ports(settings: Settings) -> list[ListeningPort]:
    """Return the shared port, those that AE Titles have of their own, and the one for TLS."""
    shared, tls = settings.dicom.scp.port, settings.dicom.scp.tls
    only_tls = tls.mode == "only"
    ports = {shared: ListeningPort("dicom.scp.port", shared, [], only_tls, shared)}
    for index, entity in enumerate(settings.application_entities):
        number = shared if entity.port is None else entity.port
        key = f"application_entities[{index}].port"
        new = ListeningPort(key, number, [], only_tls, number)
        ports.setdefault(number, new).entities.append(entity)
    listening = [*ports.values()]
    if tls.mode == "beside":
        listening.append(
            ListeningPort("dicom.scp.tls.port", tls.port, ports[shared].entities, True, shared)
        )
    return listening


def relations(settings: Settings) -> list[str]:
    """Return what is wrong between keys that are right by themselves."""
    problems = list(fallback_problems(settings.destinations))
    scp, shutdown = settings.dicom.scp, settings.shutdown
    if scp.answer_s >= scp.dimse_s:
        problems.append("dicom.scp.answer_s must be below dicom.scp.dimse_s")
    if shutdown.association_grace_s >= shutdown.deadline_s:
        problems.append("shutdown.association_grace_s must be below shutdown.deadline_s")
    if settings.api.host not in _LOOPBACK and settings.api.auth is None:
        problems.append(
            f"api.host = {settings.api.host!r} serves other machines without authentication; "
            'say api.auth = "none" if that is meant, else "api-key"'
        )
    destinations = {RETURN_TO_SENDER, *(one.name for one in settings.destinations)}
    entities = settings.application_entities
    for what, values in (
        ("application_entities: ae_title", [entity.ae_title.strip() for entity in entities]),
        ("application_entities: name", [entity.name for entity in entities]),
        ("destinations: name", [destination.name for destination in settings.destinations]),
        ("platform.pipelines: id", [pipeline.id for pipeline in settings.platform.pipelines]),
    ):
        twice = sorted({value for value in values if values.count(value) > 1})
        problems += [f"{what} {value!r} is used twice" for value in twice]
    for index, entity in enumerate(entities):
        here = f"application_entities[{index}]"
        problems += [
            f"{here}.destinations: {name!r} is not among the destinations"
            for name in entity.destinations
            if name not in destinations
        ]
        if entity.storage_commitment == "held" and settings.storage.durability != "fsync":
            problems.append(
                f'{here}.storage_commitment: "held" promises more than storage.durability keeps'
            )
        try:
            load_processors(entity)
        except ValueError as error:
            problems += [f"{here}.{line}" for line in str(error).splitlines()]
    problems += [*results_problems(settings.results), *webhook_problems(settings.webhooks)]
    if settings.api.tls.key and not settings.api.tls.certificate:
        problems.append("api.tls.certificate: is missing, there is a key for it")
    platform, root = settings.platform, str(Path(settings.storage.root).absolute())
    return [
        *problems,
        *(endpoint_problems(platform.endpoint, platform.http) if platform.engine == "http" else ()),
        *carrier_problems(settings.destinations, root),
        *listener_problems(settings.dicom.scp.tls),
        *_addresses(settings),
    ]


def careless_api(settings: Settings) -> Iterator[str]:
    """Yield what is allowed for the API and not wise."""
    api = settings.api
    if api.host in _LOOPBACK:
        return
    if api.auth == "none":
        yield f"api.host = {api.host!r}: whoever reaches it may do everything; see api.auth"
    elif not api.tls.certificate:
        yield f"api.host = {api.host!r}: keys cross the network in the clear; see api.tls"


def pipelines_without_program(settings: Settings) -> Iterator[str]:
    """Yield a line for each pipeline id that the `command` engine does not know."""
    programs = programs_of(settings)
    for index, entity in enumerate(settings.application_entities):
        yield from (f"application_entities[{index}]: {why}" for why in programs.problems(entity))


def programs_of(settings: Settings) -> Programs:
    """Return the programs the engine runs."""
    platform = settings.platform
    return programs_among(platform.pipelines) if platform.engine == "command" else Programs()


def _addresses(settings: Settings) -> Iterator[str]:
    """Yield what is wrong with who listens and connects where."""
    scp, api = settings.dicom.scp, settings.api
    here = {*_LOOPBACK, scp.host}
    ports: dict[int, str] = {}
    for listening in listening_ports(settings):
        if listening.port in ports:
            yield f"{listening.key} = {listening.port} is {ports[listening.port]} as well"
        if listening.port:  # a free one is nobody else's
            ports[listening.port] = listening.key
    for destination in settings.destinations:
        if destination.port and destination.host in here and destination.port in ports:
            yield f"destinations: {destination.name!r} is this adapter itself"
    if api.port in ports and (api.host == scp.host or _ANYWHERE & {api.host, scp.host}):
        yield f"{ports[api.port]} = {api.port} is api.port as well"
    for index, source in enumerate(settings.sources):
        for host in source.hosts:
            if network_of(host) is None and not _HOST_NAME.fullmatch(host):
                yield f"sources[{index}].host: {host!r} is no address, network or name"
