"""Where things lie below `storage.root`, and nowhere else.

    incoming/.part/<pid>-<n>            an instance being received
    incoming/<group>/group.json         what the group is
    incoming/<group>/hold.json          what keeps it open besides its instances
    incoming/<group>/dcm/<study>/<series>/<instance>.dcm
    incoming/<group>/staged/<association>/...   what waits for a release (`staged`)
    incoming/<group>/released/<association>/...
    closed/<group>/...                  a closed group that has not become jobs yet
    payloads/<job>/job.meta  input/dcm/...  output/...
    remembered/                         which groups have closed lately (`remembered`)
    quarantine/...                      what could not be understood; never deleted
    ledger/                             diskcache; nobody else's to read (0700), it holds secrets
    transcoding/...                     copies on their way to destinations; emptied at each start

    .lock, .probe                       held by the one adapter; written to see whether that works

A folder whose name begins with a dot is unfinished and is removed at the next start.
"""

from pathlib import Path

from adapter.domain.identifiers import is_id
from adapter.store.files import FOLDER_MODE, SECRET_FOLDER_MODE


class Layout:
    """Paths below one root. Ids are checked: nothing else becomes part of a path here."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.incoming = self.root / "incoming"
        self.parts = self.incoming / ".part"
        self.closed = self.root / "closed"
        self.payloads = self.root / "payloads"
        self.remembered = self.root / "remembered"
        self.quarantine = self.root / "quarantine"
        self.ledger = self.root / "ledger"
        self.transcoding = self.root / "transcoding"
        self.lock = self.root / ".lock"
        self.probe = self.root / ".probe"

    def folders(self) -> tuple[Path, ...]:
        """Return every folder of the layout, parents first."""
        return (
            self.root, self.incoming, self.parts, self.closed, self.payloads, self.remembered,
            self.quarantine, self.ledger, self.transcoding,
        )  # fmt: skip

    def make(self) -> None:
        """Make the folders that are missing."""
        for folder in self.folders():
            mode = SECRET_FOLDER_MODE if folder == self.ledger else FOLDER_MODE
            folder.mkdir(mode, parents=True, exist_ok=True)

    def open_group(self, group_id: str) -> Path:
        """Return the folder of an open group."""
        return self.incoming / _checked(group_id)

    def closed_group(self, group_id: str) -> Path:
        """Return the folder of a closed group."""
        return self.closed / _checked(group_id)

    def payload(self, job_id: str) -> Path:
        """Return a job's folder."""
        return self.payloads / _checked(job_id)


def unfinished(folder: Path) -> Path:
    """Return the name under which a folder is built, or taken down, before it counts."""
    return folder.with_name(f".{folder.name}")


def _checked(identifier: str) -> str:
    if not is_id(identifier):
        raise ValueError(f"not an id of ours: {identifier!r}")
    return identifier
