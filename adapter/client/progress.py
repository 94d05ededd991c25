"""The progress bar of `send`; imported only where there is a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from adapter.domain.records import OutgoingInstance


@contextmanager
def progress_of(
    title: str, instances: list[OutgoingInstance]
) -> Iterator[Callable[[OutgoingInstance], None]]:
    """Show instances, bytes, rates and the time left on stderr while the block runs.

    The bar goes by bytes: of one long instance and a thousand short ones, the long one takes the
    time.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[done]}/{task.fields[files]} files, {task.fields[rate]:.0f}/s,"),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    total = sum(instance.data_set_bytes for instance in instances)
    done = 0
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=total, done=0, files=len(instances), rate=0.0)

        def advance(instance: OutgoingInstance) -> None:
            nonlocal done
            done += 1
            elapsed = progress.tasks[0].elapsed or 0.0
            rate = done / elapsed if elapsed else 0.0
            progress.update(task, advance=instance.data_set_bytes, done=done, rate=rate)

        yield advance
