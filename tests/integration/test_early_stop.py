"""A stop that is asked for before the start is over."""

from pathlib import Path

import trio

from adapter.composition import Follow, make_edges
from adapter.configuration import load
from adapter.gateway import gateway
from adapter.live_settings import LiveSettings
from adapter.store.layout import Layout
from adapter.store.lock import lock_root

CONFIGURATION = """
[storage]
root = "{root}"
reserve_space_gb = 0
[dicom.scp]
port = 0
[api]
port = 0
[[application_entities]]
name = "brain"
ae_title = "BRAIN"
pipelines = {{ brain = "brain-id" }}
"""
ENOUGH_S = 60.0


async def test_listener_that_has_closed_its_port_does_not_fail_the_start(tmp_path: Path) -> None:
    file = tmp_path / "adapter.toml"
    file.write_text(CONFIGURATION.format(root=tmp_path / "store"))
    settings = load(file, {}).settings
    layout, live, stop = Layout(Path(settings.storage.root)), LiveSettings(settings), trio.Event()
    edges = make_edges(live, layout, lock_root(layout), Follow(file, lambda: settings))
    stop.set()
    with trio.fail_after(ENOUGH_S):
        assert await gateway(live, edges, stop)
