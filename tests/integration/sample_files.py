"""The storage instances of pydicom's own test set: many SOP classes in many transfer syntaxes."""

import hashlib
import warnings
from collections import Counter, defaultdict
from pathlib import Path

import pydicom
from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, MediaStorageDirectoryStorage
from wire import split_part10

TEST_SET = Path(pydicom.__file__).parent / "data"


def uid_of(raw: bytes | str | None) -> str:
    text = raw.decode("ascii", "replace") if isinstance(raw, bytes) else str(raw or "")
    return text.rstrip("\0 ")


def digest(syntax: str, data: bytes) -> tuple[str, str]:
    """Return what must not change on the way; a deflated data set may be padded (PS3.5 A.5)."""
    kept = data.rstrip(b"\0") if syntax == DeflatedExplicitVRLittleEndian else data
    return syntax, hashlib.sha256(kept).hexdigest()


class Sample:
    """A storage instance of the test set."""

    def __init__(self, path: Path) -> None:
        self.path = path
        meta, self.data = split_part10(path.read_bytes())
        self.syntax = uid_of(meta.get(0x00020010))
        self.meta_uids = uid_of(meta.get(0x00020002)), uid_of(meta.get(0x00020003))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
            self.sop_class = uid_of(dataset.get("SOPClassUID") or meta.get(0x00020002))
            self.sop_instance = uid_of(dataset.get("SOPInstanceUID") or meta.get(0x00020003))
        if not (self.syntax and self.sop_class and self.sop_instance and self.data):
            raise ValueError("not an instance of a SOP class in a transfer syntax")

    @property
    def digest(self) -> tuple[str, str]:
        return digest(self.syntax, self.data)


def samples() -> list[Sample]:
    """Return what a careful reader takes for a storage instance."""
    found = []
    for path in sorted(p for p in TEST_SET.rglob("*") if p.is_file()):
        if path.suffix in (".py", ".json", ".pyc", ".txt", ".md"):
            continue
        try:
            sample = Sample(path)
        except Exception:
            continue
        if sample.sop_class != MediaStorageDirectoryStorage:
            found.append(sample)
    return found


def rounds(found: list[Sample]) -> list[list[Sample]]:
    """Split so that no SOP Instance UID comes twice in a round: a group keeps the first one."""
    seen: Counter[str] = Counter()
    split: dict[int, list[Sample]] = defaultdict(list)
    for sample in found:
        split[seen[sample.sop_instance]].append(sample)
        seen[sample.sop_instance] += 1
    return list(split.values())


def decoded(path: Path) -> Dataset:
    """Return the data set without what peers that decode may leave out: padding, group lengths."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
        for tag in [tag for tag in dataset if tag.tag.element == 0 or tag.tag == 0xFFFCFFFC]:
            del dataset[tag.tag]
        dataset.decode()
    return dataset
