"""What files hold, and what becomes of two of one name: `adapter.store.naming` without files."""

from dataclasses import dataclass

from adapter.domain.entities import SameInstance
from adapter.domain.records import Duplicate


@dataclass(frozen=True, slots=True, eq=False)
class FakeFile:
    """Equal to itself only, as an inode is."""

    content: int
    """Stands for the bytes of its data set."""
    at: float
    """When it came."""


FakeFiles = dict[str, FakeFile]
"""By name: `<study>/<series>/<instance>`, and for another copy `<study>/<series>/<instance>_2`."""


def name_file(
    files: FakeFiles, name: str, file: FakeFile, same_instance: SameInstance
) -> Duplicate | None:
    """Give a file its name among others; None: it is the only one of that name."""
    if name not in files:
        files[name] = file
        return None
    differs = files[name].content != file.content
    match same_instance:
        case "replace":
            if differs:
                files[name] = file
            return Duplicate(differs=differs, kept="last")
        case "keep-both":
            if differs and _named_beside(files, name, file):
                return Duplicate(differs=True, kept="both")
            return Duplicate(differs=False, kept="first")
        case "keep-first":
            return Duplicate(differs=differs, kept="first")


def _named_beside(files: FakeFiles, name: str, file: FakeFile) -> bool:
    number = 2
    while there := files.get(f"{name}_{number}"):
        if there.content == file.content:
            return False
        number += 1
    files[f"{name}_{number}"] = file
    return True


def first_name(name: str) -> str:
    """Return the name that the first copy of an instance has, given that of any."""
    return name.partition("_")[0]


def uid_of(name: str) -> str:
    """Return the SOP Instance UID in a file's name."""
    return first_name(name).rpartition("/")[2]


def series_of(name: str) -> str:
    """Return the folder of the series in a file's name."""
    return name.rpartition("/")[0]


def contents_of(files: FakeFiles) -> dict[str, list[int]]:
    """Return what there is of each instance, one copy or several."""
    contents: dict[str, list[int]] = {}
    for name, file in files.items():
        contents.setdefault(first_name(name), []).append(file.content)
    return contents
