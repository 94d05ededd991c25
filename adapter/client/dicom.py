"""`echo` and `send`: our own SCU from the command line."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from adapter.domain.dimse_ports import OutgoingInstance, SendResult
from adapter.domain.entities import Destination
from adapter.domain.exporting import contexts_of
from adapter.domain.statuses import SUCCESS, is_success
from adapter.edges import make_requestor
from adapter.errors import UnavailableError
from adapter.protocols.dimse.file_meta import NotPart10Error
from adapter.protocols.dimse.part10 import describe
from adapter.protocols.dimse.pdu import CONTEXTS_MAX
from adapter.settings import Settings

BATCH = 16

_ADDRESS = re.compile(r"(?P<aet>[^@]{1,16})@(?P<host>.+):(?P<port>[0-9]{1,5})")


class UnknownDestinationError(Exception):
    """The text names no destination."""


def parse_destination(text: str, settings: Settings) -> Destination:
    """Return the configured destination of that name, or the one that AET@HOST:PORT spells.

    Raises:
        UnknownDestinationError: It is neither.
    """
    for destination in settings.destinations:
        if destination.name == text:
            return destination
    match = _ADDRESS.fullmatch(text)
    if not match or not 0 < int(match["port"]) < 65536:
        raise UnknownDestinationError(
            f"{text!r} is neither a configured destination nor AET@HOST:PORT"
        )
    return Destination(
        name="command-line",
        ae_title=match["aet"],
        host=match["host"].strip("[]"),
        port=int(match["port"]),
    )


def echo(destination: Destination, settings: Settings) -> int:
    """C-ECHO; print the outcome and return the exit code."""
    console = Console(stderr=True)

    async def run() -> int:
        begin = trio.current_time()
        try:
            status = await make_requestor(settings).echo(destination)
        except UnavailableError as error:
            console.print(f"{destination.ae_title}: {error}", highlight=False)
            return 1
        elapsed_ms = (trio.current_time() - begin) * 1000
        Console().print(
            f"{destination.ae_title}: status 0x{status:04X} in {elapsed_ms:.1f} ms",
            highlight=False,
        )
        return 0 if status == SUCCESS else 1

    return trio.run(run)


def files_below(paths: list[Path]) -> Iterator[Path]:
    """Yield the files that paths name, folders recursively, in a stable order."""
    for path in paths:
        if path.is_dir():
            yield from sorted(entry for entry in path.rglob("*") if entry.is_file())
        else:
            yield path


def outgoing(path: Path) -> OutgoingInstance:
    """Return a Part 10 file as an instance to send.

    Raises:
        NotPart10Error, OSError: It cannot be sent.
    """
    instance = describe(str(path))
    return OutgoingInstance(
        path=str(path),
        sop_class_uid=instance.sop_class_uid,
        sop_instance_uid=instance.sop_instance_uid,
        transfer_syntax_uid=instance.transfer_syntax_uid,
        data_set_offset=instance.data_set_offset,
    )


def send(destination: Destination, settings: Settings, paths: list[Path]) -> int:
    """C-STORE of files and folders; print what failed, return the exit code."""
    console = Console(stderr=True)
    instances: list[OutgoingInstance] = []
    failures: list[tuple[str, str]] = []
    for path in files_below(paths):
        try:
            instances.append(outgoing(path))
        except NotPart10Error as error:
            failures.append((str(path), str(error)))
        except OSError as error:
            failures.append((str(path), error.strerror or type(error).__name__))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"to {destination.ae_title}", total=len(instances))
        results = trio.run(
            send_all, destination, settings, instances, lambda n: progress.advance(task, n)
        )
    sent = 0
    for instance, result in zip(instances, results, strict=True):
        if result.status is not None and is_success(result.status):
            sent += 1
        else:
            failures.append((instance.path, result.error))
    for path_text, error_text in failures:
        console.print(f"{path_text}: {error_text}", highlight=False, soft_wrap=True)
    Console().print(f"sent {sent}, failed {len(failures)}", highlight=False)
    return 1 if failures or not sent else 0


async def send_all(
    destination: Destination,
    settings: Settings,
    instances: list[OutgoingInstance],
    advance: Callable[[int], None],
) -> list[SendResult]:
    """Send all instances, as many associations as their presentation contexts need."""
    results: dict[str, SendResult] = {}
    pending = instances
    while pending:
        contexts = contexts_of(pending)[:CONTEXTS_MAX]
        now = [instance for instance in pending if instance.context in contexts]
        pending = [instance for instance in pending if instance.context not in contexts]
        try:
            async with make_requestor(settings).associate(destination, contexts) as association:
                for first in range(0, len(now), BATCH):
                    batch = now[first : first + BATCH]
                    for instance, result in zip(batch, await association.store(batch), strict=True):
                        results[instance.path] = result
                    advance(len(batch))
        except UnavailableError as error:
            for instance in now:
                results.setdefault(instance.path, SendResult(status=None, error=str(error)))
    return [results[instance.path] for instance in instances]
