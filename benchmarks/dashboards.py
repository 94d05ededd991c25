"""What dashboards cost: events to many subscribers, and receiving while they watch.

    python -m benchmarks.dashboards stream --subscribers 100 --events 1000 --silent 20
    python -m benchmarks.dashboards receive --subscribers 100 --rounds 3

`stream` runs hub and web server in a process, subscribers (trio-websocket) in another. A latency is
from the event to the frame that holds it, of the last event of each frame; silent subscribers never
read. `receive` sends to the whole adapter, with dashboards and without, in turns.
"""

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import trio
from trio_websocket import ConnectionClosed, open_websocket_url

from adapter.actors.hub import EVENTS_MAX, Hub, Publisher
from adapter.domain.association_events import InstanceStored, StoredFacts
from adapter.domain.events import Event
from adapter.domain.snapshot import Snapshot
from adapter.domain.subscriptions import Subscribe
from adapter.main import spare_what_stays
from adapter.protocols.web.app import make_app
from adapter.protocols.web.places import Places
from adapter.protocols.web.server import WebServer, bind
from benchmarks.peers import Running, adapter, environment, running
from benchmarks.process import cpu_s
from benchmarks.report import percentiles, report
from benchmarks.scenarios import complete, plan
from benchmarks.stress import run

STAMP = '"receiveS":'
TICK_S = 0.01
WARM_UP_S = 2.0
MEASURED_MAX = 10
"""So many decode what they hear; the others only read, or decoding would be what is measured."""
FRAME_BYTES_MAX = 64 << 20
HANDSHAKE = (
    "GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


# --- the side that tells


async def publish(per_s: int, seconds: float) -> None:
    """Serve hub and web server; tell the port; publish; tell the CPU it took."""
    events_in, events = trio.open_memory_channel[Event](EVENTS_MAX)
    subscriptions_in, subscriptions = trio.open_memory_channel[Subscribe](0)
    hub = Hub(
        events=events, subscriptions=subscriptions, new_id=lambda: "benchmark", now=time.time,
        snapshot=Snapshot(), counts={},
    )  # fmt: skip
    sock, stop = bind("127.0.0.1", 0), trio.Event()
    views = cast(Any, SimpleNamespace(subscriptions=subscriptions_in))
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        server = WebServer(
            app=make_app(views), sock=sock, stop=stop, places=Places(),
            began=trio.lowlevel.checkpoint,
        )  # fmt: skip
        await nursery.start(server.run)
        spare_what_stays()
        _say({"port": sock.getsockname()[1]})
        await trio.to_thread.run_sync(sys.stdin.readline)  # subscribers are there
        told = Publisher(events_in)
        begun, cpu = trio.current_time(), time.process_time()
        sent = 0
        while (elapsed := trio.current_time() - begun) < seconds:
            while sent < elapsed * per_s:
                told(_event(sent))
                sent += 1
            await trio.sleep(TICK_S)
        took = trio.current_time() - begun
        _say({"sent": sent, "lost": told.lost, "cpu": (time.process_time() - cpu) / took})
        await trio.to_thread.run_sync(sys.stdin.readline)
        nursery.cancel_scope.cancel()


def _event(number: int) -> Event:
    facts = StoredFacts(
        sop_instance_uid=f"1.2.840.113619.2.{number}", payload_bytes=526_000,
        receive_s=time.monotonic_ns(),
    )  # fmt: skip
    return InstanceStored(ae_title="BENCH", association="a-1", data=facts)


def _say(words: dict[str, Any]) -> None:
    print(json.dumps(words), flush=True)


# --- the side that hears


class Audience:
    """Subscribers in this process, and what they heard."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.events = self.gaps = 0
        self.missing = 0
        self.all_up = trio.Event()
        self.since = time.monotonic_ns()

    async def listen(self, port: int) -> None:
        """Subscribe until the other side leaves."""
        url = f"ws://127.0.0.1:{port}/api/events"
        async with open_websocket_url(url, max_message_size=FRAME_BYTES_MAX) as socket_:
            self.missing -= 1
            if not self.missing:
                self.all_up.set()
            while True:
                try:
                    frame = str(await socket_.get_message())
                except ConnectionClosed:
                    return
                self._heard(frame, time.monotonic_ns())

    async def drain(self, port: int) -> None:
        """Subscribe and throw away what comes, at no cost to who is measured beside it."""
        stream_ = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream_:
            await stream_.send_all(HANDSHAKE.encode())
            await stream_.receive_some()
            self.missing -= 1
            if not self.missing:
                self.all_up.set()
            async for _ in stream_:
                pass

    def _heard(self, frame: str, now: int) -> None:
        self.events += frame.count('"seq":') - frame.count('"hello"')
        self.gaps += frame.count('{"type":"gap"')
        at = frame.rfind(STAMP)
        if at < 0:
            return
        stamp = float(frame[at + len(STAMP) :].partition("}")[0])
        if stamp >= self.since:
            self.latencies.append((now - stamp) / 1e9)


async def audience(port: int, count: int, silent: int) -> None:
    """Subscribe, tell when all are there, listen until a line comes, tell what was heard."""
    heard = Audience()
    quiet = [_silent(port) for _ in range(silent)]
    async with trio.open_nursery() as nursery:
        heard.missing = count
        for number in range(count):
            nursery.start_soon(heard.listen if number < MEASURED_MAX else heard.drain, port)
        await heard.all_up.wait()
        heard.since = time.monotonic_ns() + int(WARM_UP_S * 1e9)
        _say({"up": count})
        await trio.to_thread.run_sync(sys.stdin.readline)
        nursery.cancel_scope.cancel()
    for sock in quiet:
        sock.close()
    _say({"events": heard.events, "gaps": heard.gaps, "latency_ms": percentiles(heard.latencies)})


def _silent(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.sendall(HANDSHAKE.encode())
    return sock


class Side:
    """A process of this module that says a JSON line when it is told to go on."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.dashboards", *arguments],
            env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def hear(self) -> dict[str, Any]:
        """Wait for its next line."""
        assert self.process.stdout is not None
        return dict(json.loads(self.process.stdout.readline()))

    def go_on(self) -> None:
        """Give it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """Wait for its end."""
        self.process.communicate(timeout=30)


# --- the two measurements


def stream(args: argparse.Namespace) -> dict[str, Any]:
    """Return what telling `--events` a second to `--subscribers` costs."""
    teller = Side("publish", "--events", str(args.events), "--seconds", str(args.seconds))
    port = teller.hear()["port"]
    listeners = Side(
        "audience", "--port", str(port), "--subscribers", str(args.subscribers),
        "--silent", str(args.silent),
    )  # fmt: skip
    listeners.hear()
    teller.go_on()
    told = teller.hear()
    listeners.go_on()
    heard = listeners.hear()
    teller.go_on()
    listeners.end()
    teller.end()
    wanted = told["sent"] * min(args.subscribers, MEASURED_MAX)
    return {**told, **heard, "share": heard["events"] / wanted if wanted else 0.0}


def receive(args: argparse.Namespace) -> dict[str, Any]:
    """Return CTs per second without dashboards and with them, medians of rounds in turns."""
    rates: dict[int, list[float]] = {0: [], args.subscribers: []}
    receiver = adapter("adapter", "os")
    with tempfile.TemporaryDirectory() as folder:
        for number in range(args.rounds):
            for watching in sorted(rates, reverse=bool(number % 2)):
                with running(receiver, Path(folder)) as peer:
                    rates[watching].append(_receiving(peer, watching, args))
    medians = {watching: statistics.median(found) for watching, found in rates.items()}
    return {
        "without_per_s": medians[0],
        "with_per_s": medians[args.subscribers],
        "ratio": medians[args.subscribers] / medians[0],
        "rounds": rates,
    }


def _receiving(peer: Running, watching: int, args: argparse.Namespace) -> float:
    listeners = None
    if watching:
        port = _api_port(peer)
        listeners = Side("audience", "--port", str(port), "--subscribers", str(watching))
        listeners.hear()
    load = plan(
        adapter("adapter", "os"), peer, associations=args.associations, instances=args.instances
    )
    before, begun = cpu_s(peer.pid), time.monotonic()
    figures = complete(report(load, run(load)))
    used = (cpu_s(peer.pid) - before) / (time.monotonic() - begun)
    print(f"{watching} dashboards: {figures['per_s']:.0f}/s, {used:.2f} cores", file=sys.stderr)
    if listeners:
        listeners.go_on()
        listeners.hear()
        listeners.end()
    return float(figures["per_s"])


def _api_port(peer: Running) -> int:
    for line in (peer.folder / "log").read_bytes().splitlines():
        if b"process.ready" in line:
            return int(json.loads(line)["api_port"])
    raise AssertionError("it runs, so it has said so")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.dashboards", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("what", choices=("stream", "receive", "publish", "audience"))
    parser.add_argument("--subscribers", type=int, default=100)
    parser.add_argument("--silent", type=int, default=0, help="more, who never read")
    parser.add_argument("--events", type=int, default=1000, help="in a second")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--associations", type=int, default=4)
    parser.add_argument("--instances", type=int, default=500, help="for each association")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=0)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Measure, and print what was found as JSON."""
    args = parse(arguments)
    match args.what:
        case "publish":
            trio.run(publish, args.events, args.seconds)
        case "audience":
            trio.run(audience, args.port, args.subscribers, args.silent)
        case "stream":
            print(json.dumps(stream(args), indent=2))
        case _:
            print(json.dumps(receive(args), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
