"""`send`: files and folders by C-STORE, with a result for each file."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from enum import Enum, auto
from pathlib import Path

import msgspec
import trio
from msgspec import Struct, field

from adapter.client.delivery import Delivery
from adapter.client.dicom import advice_for, requestor_to
from adapter.domain.dimse_ports import SendResult
from adapter.domain.entities import Destination
from adapter.domain.records import OutgoingInstance
from adapter.domain.statuses import SUCCESS, is_success, status_words
from adapter.protocols.dimse.file_meta import NotPart10Error
from adapter.protocols.dimse.part10 import NoInstanceError, describe
from adapter.settings import Settings

INTERRUPTED = 130
"""Exit code after Ctrl+C, as shells have it."""
Told = Callable[[OutgoingInstance, SendResult], None]


class Output(Enum):
    """What `send` prints."""

    FAILURES = auto()
    EVERY_FILE = auto()
    JSON = auto()


class FileResult(Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of a file; an empty error: the destination has it."""

    path: str
    sop_instance_uid: str = ""
    status: int | None = None
    error: str = ""

    def __str__(self) -> str:
        if self.error:
            return f"{self.path}: {self.error}"
        remark = "" if self.status in (None, SUCCESS) else f", {status_words(self.status)}"
        return f"{self.path}: sent{remark}"


class SendReport(Struct, kw_only=True, rename="camel"):
    """`send --json`; grows while files are sent."""

    ae_title: str
    host: str
    port: int
    sent: int = 0
    failed: int = 0
    bytes_sent: int = 0
    """Of data sets."""
    seconds: float = 0.0
    """From the first association to the last; reading what the files are comes before."""
    instances_per_second: float = 0.0
    megabytes_per_second: float = 0.0
    advice: str = ""
    """What to check if there was no association."""
    files: list[FileResult] = field(default_factory=list)
    skipped: list[FileResult] = field(default_factory=list)
    """What lay in folders and is no instance; not an error."""

    def add(self, result: FileResult, data_set_bytes: int) -> None:
        """Count a result."""
        self.files.append(result)
        self.sent += not result.error
        self.failed += bool(result.error)
        self.bytes_sent += 0 if result.error else data_set_bytes

    def conclude(self, seconds: float) -> None:
        """Set duration and rates."""
        seconds = max(seconds, 1e-6)
        self.seconds = round(seconds, 4)
        self.instances_per_second = round(self.sent / seconds, 1)
        self.megabytes_per_second = round(self.bytes_sent / 1e6 / seconds, 2)

    def __str__(self) -> str:
        skipped = f", skipped {len(self.skipped)} that are no instances" if self.skipped else ""
        rate = (
            f"; {self.bytes_sent / 1e6:.1f} MB in {self.seconds:.2f} s: "
            f"{self.instances_per_second:.0f} instances/s, {self.megabytes_per_second:.1f} MB/s"
        )
        return f"sent {self.sent}, failed {self.failed}{skipped}{rate if self.sent else ''}"


def files_below(paths: list[Path]) -> Iterator[tuple[Path, bool]]:
    """Yield the files that paths name, folders recursively, in a stable order.

    With each: whether it lay in a folder, so that nobody named it.
    """
    for path in paths:
        if path.is_dir():
            for entry in sorted(entry for entry in path.rglob("*") if entry.is_file()):
                yield entry, True
        else:
            yield path, False


class Found(Struct, frozen=True, kw_only=True):
    """What files and folders hold."""

    instances: list[OutgoingInstance] = field(default_factory=list)
    unusable: list[FileResult] = field(default_factory=list)
    skipped: list[FileResult] = field(default_factory=list)
    """What nobody named, and is no instance."""


def instances_below(paths: list[Path]) -> Found:
    """Return what can be sent of files and folders, and what cannot."""
    found = Found()
    for path, in_folder in files_below(paths):
        try:
            found.instances.append(describe(str(path)))
        except NotPart10Error as error:
            skip = in_folder and isinstance(error, NoInstanceError)
            results = found.skipped if skip else found.unusable
            results.append(FileResult(path=str(path), error=str(error)))
        except OSError as error:
            why = error.strerror or type(error).__name__
            found.unusable.append(FileResult(path=str(path), error=why))
    return found


def delivery_to(destination: Destination, settings: Settings, associations: int = 1) -> Delivery:
    """Return a delivery with the configured limits and deadlines."""
    return Delivery(requestor_to(destination, settings), destination, associations)


def send(
    destination: Destination,
    settings: Settings,
    paths: list[Path],
    *,
    associations: int,
    output: Output,
) -> int:
    """C-STORE of files and folders; print what became of them, return the exit code."""
    found = instances_below(paths)
    report = SendReport(
        ae_title=destination.ae_title,
        host=destination.host,
        port=destination.port,
        skipped=found.skipped,
    )

    def note(result: FileResult, data_set_bytes: int = 0) -> None:
        report.add(result, data_set_bytes)
        if output is Output.EVERY_FILE:
            _say(str(result))

    for unusable in found.unusable:
        note(unusable)
    delivery = delivery_to(destination, settings, associations)
    with _progress(destination, found.instances) as advance:

        def told(instance: OutgoingInstance, result: SendResult) -> None:
            delivered = result.status is not None and is_success(result.status)
            outcome = FileResult(
                path=instance.path,
                sop_instance_uid=instance.sop_instance_uid,
                status=result.status,
                error="" if delivered else result.error,
            )
            note(outcome, instance.data_set_bytes)
            advance(instance)

        begin = time.monotonic()
        try:
            interrupted = trio.run(_until_interrupted, delivery, found.instances, told)
        except BaseExceptionGroup as group:  # raised again, whatever else is in it
            if group.subgroup(BrokenPipeError):  # whoever read the results has had enough
                raise BrokenPipeError from None
            raise
        report.conclude(time.monotonic() - begin)
    if delivery.refusal is not None:
        report.advice = advice_for(delivery.refusal, destination, settings)
    _print(report, output)
    if interrupted:
        return INTERRUPTED
    return 1 if report.failed or not report.sent else 0


async def _until_interrupted(
    delivery: Delivery, instances: list[OutgoingInstance], told: Told
) -> bool:
    """Deliver; True: Ctrl+C ended it."""
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            await delivery.run(instances, told)
            nursery.cancel_scope.cancel()
            return False
    for instance in delivery.untold(instances):
        told(instance, SendResult(status=None, error="interrupted"))
    return True


def _print(report: SendReport, output: Output) -> None:
    if output is Output.JSON:
        _say(msgspec.json.encode(report).decode())
        return
    failures = [result for result in report.files if result.error]
    for result in failures if output is Output.FAILURES else report.skipped:
        sys.stderr.write(f"{result}\n")
    if report.advice:
        sys.stderr.write(f"  {report.advice}\n")
    _say(str(report))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _progress(
    destination: Destination, instances: list[OutgoingInstance]
) -> AbstractContextManager[Callable[[OutgoingInstance], None]]:
    """Return a context in which its value is called for each instance that is done."""
    if not sys.stderr.isatty() or not instances:
        return nullcontext(lambda _: None)
    from adapter.client.progress import progress_of

    return progress_of(f"to {destination.label}", instances)
