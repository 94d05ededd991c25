"""The configuration of the demo's adapter; one that stays up has more to show.

It is a JSON file, written anew when the demo wants files to be kept for another time.
"""

import socket
import sys
from pathlib import Path
from typing import Any

import msgspec

from adapter.demo.peer import AE_TITLE

KEPT_S = 900
LOOPBACK = "127.0.0.1"
Document = dict[str, Any]


def configuration(folder: Path, *, port_base: int, peer_port: int) -> Document:
    """Return the configuration of the demo; port 0 takes a free one."""
    pipeline = [sys.executable, str(Path(__file__).with_name("pipeline.py"))]
    return {
        "dicom": {"scp": {"host": LOOPBACK, "port": port_base}},
        "sources": [{"ae_title": "ADAPTER", "host": LOOPBACK}],
        "application_entities": [{
            "name": "demo", "ae_title": "DEMO", "timeout_s": 1,
            "pipelines": {"finding": "demo-finding"}, "destinations": ["pacs"],
        }],
        "destinations": [
            {"name": "pacs", "ae_title": AE_TITLE, "host": LOOPBACK, "port": peer_port}
        ],
        "platform": {
            "engine": "command",
            "pipelines": [{"id": "demo-finding", "command": pipeline, "max_concurrent": 2}],
        },
        "storage": {
            "root": str(folder / "data"), "watermark_percent": 100, "reserve_space_gb": 0.1,
            "retention": {"completed_s": KEPT_S},
        },
        "api": {"port": port_base + 1 if port_base else 0},
        "preview": {"enabled": True},  # nobody's pictures: files of pydicom's tests
        "logging": {"format": "json"},
    }  # fmt: skip


def with_traffic(document: Document) -> Document:
    """Return it with what keeps a demo that stays moving: senders, and another AE Title, LIVER,
    whose results go to a destination that is away."""
    with socket.socket() as sock:  # nobody answers on the port that is free afterwards
        sock.bind((LOOPBACK, 0))
        closed_port = sock.getsockname()[1]
    more: dict[str, list[Document]] = {
        "sources": [{"ae_title": name, "host": LOOPBACK} for name in ("CT_ROOM_1", "MR_ROOM_2")],
        "application_entities": [{
            "name": "liver", "ae_title": "LIVER", "timeout_s": 20,
            "pipelines": {"segmentation": "demo-finding"}, "destinations": ["archive"],
        }],
        "destinations": [
            {"name": "archive", "ae_title": "ARCHIVE", "host": LOOPBACK, "port": closed_port}
        ],
    }  # fmt: skip
    return {**document, **{key: [*document[key], *rows] for key, rows in more.items()}}


def kept(document: Document, seconds: int) -> Document:
    """Return it with another time for which files of completed jobs are kept."""
    storage = {**document["storage"], "retention": {"completed_s": seconds}}
    return {**document, "storage": storage}


def write(document: Document, file: Path) -> None:
    """Write the file."""
    file.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2))
