"""What loopback and disk of this machine allow: a bare loop that receives and writes files."""

import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.instances import template

BUFFER_BYTES = 256 << 10


def streamed(folder: Path, files: int) -> float:
    """Return files per second if nobody waits for anybody."""
    return _files_per_s(folder, files, _nothing, _nothing)


def answered(folder: Path, files: int) -> float:
    """Return files per second if each one is answered before the next is sent, as C-STOREs are."""
    return _files_per_s(folder, files, _answer, _wait)


def _nothing(_: socket.socket) -> None:
    pass


def _answer(sock: socket.socket) -> None:
    sock.sendall(b"!")


def _wait(sock: socket.socket) -> None:
    sock.recv(1)


def _files_per_s(folder: Path, files: int, answer: Callable[[socket.socket], None],
                 wait: Callable[[socket.socket], None]) -> float:  # fmt: skip
    ct = template("ct")
    payload = ct.head + ct.tail
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = multiprocessing.get_context("fork").Process(
            target=_send, args=(server.getsockname()[1], payload, files, wait), daemon=True
        )
        sender.start()
        sock, _ = server.accept()
    buffer = memoryview(bytearray(BUFFER_BYTES))
    with sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        started = time.perf_counter()
        for number in range(files):
            file = os.open(folder / f"{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            left = len(payload)
            while left:
                count = sock.recv_into(buffer[: min(left, BUFFER_BYTES)])
                assert count, "the sender is gone"
                os.write(file, buffer[:count])
                left -= count
            os.close(file)
            answer(sock)
        seconds = time.perf_counter() - started
    sender.join()
    return files / seconds


def _send(port: int, payload: bytes, files: int, wait: Callable[[socket.socket], None]) -> None:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(files):
            sock.sendall(payload)
            wait(sock)
