"""Storing by STOW-RS in services that keep, refuse, hang, lie and drop (PS3.18 10.5)."""

import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from stow_service import ANSWER_S, Request, StowService, answer, listing, stow_service
from tls_files import Files

from adapter.domain.dimse_ports import SendResult
from adapter.domain.entities import Destination, DestinationTls, ListenerTls
from adapter.domain.records import OutgoingInstance
from adapter.errors import PeerRefusalError
from adapter.protocols.dicomweb import store as store_module
from adapter.protocols.dicomweb.requestor import DicomWebRequestor
from adapter.protocols.dicomweb.store import StoreSession
from adapter.protocols.dimse.tls_contexts import TlsContexts

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
META = bytes(128) + b"DICM" + bytes(200)
UIDS = ("1.2.3.1", "1.2.3.2", "1.2.3.3")


def outgoing(path: Path, uid: str, data_set_bytes: int) -> OutgoingInstance:
    return OutgoingInstance(
        path=str(path), sop_class_uid=CT, sop_instance_uid=uid, transfer_syntax_uid=EXPLICIT,
        data_set_offset=len(META), data_set_bytes=data_set_bytes,
    )  # fmt: skip


@pytest.fixture
def instances(tmp_path: Path) -> list[OutgoingInstance]:
    found = []
    for uid in UIDS:
        data = uid.encode() + os.urandom(100)
        (tmp_path / uid).write_bytes(META + data)
        found.append(outgoing(tmp_path / uid, uid, len(data)))
    return found


@asynccontextmanager
async def session_with(
    destination: Destination, connect_s: float = ANSWER_S
) -> AsyncIterator[StoreSession]:
    tls = TlsContexts(ListenerTls(), [destination])
    async with DicomWebRequestor(tls, connect_s).associate(destination, []) as session:
        yield session


async def stored(
    service: StowService, instances: list[OutgoingInstance], **changes: object
) -> list[SendResult]:
    async with session_with(service.destination(**changes)) as session:
        return await session.store(instances)


def contents(instance: OutgoingInstance) -> bytes:
    return Path(instance.path).read_bytes()


def begin_with_a_program(instance: OutgoingInstance) -> None:
    Path(instance.path).write_bytes(b"MZ" + os.urandom(126) + contents(instance)[128:])


def uid_of(part: bytes) -> str:
    return part[len(META) :][: len(UIDS[0])].decode()


async def keep(request: Request) -> bytes:
    return answer(200, listing([uid_of(part) for part in await request.parts()]))


# --- what is sent


async def test_files_go_as_they_are_stored_with_a_known_length(instances) -> None:
    files: list[bytes] = []

    async def kept(request: Request) -> bytes:
        files.extend(await request.parts())
        return answer(200, listing(UIDS))

    async with stow_service(kept) as service:
        results = await stored(service, instances)
    (post,) = service.posts
    assert [result.status for result in results] == [0, 0, 0]
    assert files == [contents(instance) for instance in instances]
    assert post.line == "POST /dicom-web/studies"
    assert post.headers["accept"] == "application/dicom+json"
    assert post.headers["content-type"].startswith('multipart/related; type="application/dicom"; ')
    assert "transfer-encoding" not in post.headers
    assert "authorization" not in post.headers
    assert post.body_bytes == post.length


async def test_preamble_that_could_be_a_program_is_not_sent(instances) -> None:
    """F50: results of pipelines come with the preamble their maker chose (PS3.10 7.5)."""
    clean = [contents(instance) for instance in instances]
    for instance in instances:
        begin_with_a_program(instance)
    files: list[bytes] = []

    async def kept(request: Request) -> bytes:
        files.extend(await request.parts())
        return answer(200, listing(UIDS))

    async with stow_service(kept) as service:
        results = await stored(service, instances)
    assert [result.status for result in results] == [0, 0, 0]
    assert files == clean


async def test_slash_at_the_end_of_the_address_changes_nothing(instances) -> None:
    async with stow_service(keep) as service:
        url = f"http://127.0.0.1:{service.port}/dicom-web/"
        await stored(service, instances, url=url)
    assert {post.line for post in service.posts} == {"POST /dicom-web/studies"}


@pytest.mark.parametrize(("size", "requests"), [(1, 3), (2, 2), (3, 1), (100, 1)])
async def test_batch_size_bounds_a_request(instances, size: int, requests: int) -> None:
    async with stow_service(keep) as service:
        results = await stored(service, instances, batch_size=size)
    assert [result.status for result in results] == [0, 0, 0]
    assert len(service.posts) == requests


async def test_request_is_bounded_in_bytes(instances, monkeypatch) -> None:
    monkeypatch.setattr(store_module, "REQUEST_BYTES_MAX", 2 * len(META) + 250)
    async with stow_service(keep) as service:
        await stored(service, instances)
    assert len(service.posts) == 2


async def test_session_stores_again_and_again_on_one_connection(instances) -> None:
    async with stow_service(keep) as service, session_with(service.destination()) as session:
        results = [*await session.store(instances[:1]), *await session.store(instances[1:])]
    assert [result.status for result in results] == [0, 0, 0]
    assert len({id(request.stream) for request in service.requests}) == 1


async def test_instance_of_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    size = 2 << 30
    (tmp_path / "big").touch()
    os.truncate(tmp_path / "big", len(META) + size)

    async def swallowed(request: Request) -> bytes:
        async for _ in request.chunks():
            pass
        return answer(200, listing(["1.2.3"]))

    async with stow_service(swallowed) as service:
        before = peak_bytes(begin=True)
        results = await stored(service, [outgoing(tmp_path / "big", "1.2.3", size)], answer_s=20)
    assert results == [SendResult(status=0)]
    assert service.posts[0].body_bytes > size
    assert peak_bytes() - before < 64 << 20


def peak_bytes(*, begin: bool = False) -> int:
    """Return the most memory this process has had, since it was asked to begin (proc(5))."""
    if begin:
        Path("/proc/self/clear_refs").write_text("5")
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    return int(line.split()[1]) << 10


# --- who sends it


async def test_basic_authentication_reads_its_password_from_a_file(tmp_path, instances) -> None:
    (tmp_path / "password").write_text("gr\u00fcn: s3cret\n")
    basic = {"authentication": "basic", "user": "me", "password_file": str(tmp_path / "password")}
    async with stow_service(keep) as service:
        await stored(service, instances, **basic)
    expected = base64.b64encode("me:gr\u00fcn: s3cret".encode()).decode()
    assert {request.headers["authorization"] for request in service.requests} == {
        f"Basic {expected}"
    }


async def test_bearer_token_is_read_anew_for_each_session(tmp_path, instances) -> None:
    bearer = {"authentication": "bearer", "token_file": str(tmp_path / "token")}
    async with stow_service(keep) as service:
        for token in ("first", "second"):
            (tmp_path / "token").write_text(token)
            await stored(service, instances, **bearer)
    assert [post.headers["authorization"] for post in service.posts] == [
        "Bearer first", "Bearer second",
    ]  # fmt: skip


async def test_secret_comes_from_the_environment(instances, monkeypatch) -> None:
    monkeypatch.setenv("THEIR_TOKEN", "s3cret")
    async with stow_service(keep) as service:
        await stored(service, instances, authentication="bearer", token_environment="THEIR_TOKEN")
    assert service.posts[0].headers["authorization"] == "Bearer s3cret"


@pytest.mark.parametrize("content", [None, b"", b"two words\n", b"\xff\xfe", b"a\nb"])
async def test_secret_that_is_none_is_an_outage_that_does_not_show_it(tmp_path, content) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    async with stow_service(keep) as service:
        with pytest.raises(PeerRefusalError, match=r"^destinations\.web\.token_file: ") as caught:
            await stored(service, [], authentication="bearer", token_file=str(tmp_path / "token"))
    assert "two words" not in str(caught.value)
    assert service.requests == []


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("stow") / "tls")


async def test_service_knows_us_by_our_certificate(certificates, instances) -> None:
    ours = certificates.adapter
    tls = DestinationTls(
        ca=str(certificates.ca), certificate=str(ours.certificate), key=str(ours.key)
    )
    context = certificates.server(certificates.sender, client_certificates=True)
    async with stow_service(keep, tls=context) as service:
        url = f"https://127.0.0.1:{service.port}/dicom-web"
        results = await stored(service, instances, url=url, tls=tls, authentication="mtls")
        with pytest.raises(PeerRefusalError):
            await stored(service, instances, url=url, tls=DestinationTls(ca=str(certificates.ca)))
    assert [result.status for result in results] == [0, 0, 0]


async def test_service_that_nobody_vouches_for_gets_nothing(certificates, instances) -> None:
    context = certificates.server(certificates.foreign)
    tls = DestinationTls(ca=str(certificates.ca))
    async with stow_service(keep, tls=context) as service:
        with pytest.raises(PeerRefusalError, match="certificate"):
            await stored(service, instances, url=f"https://127.0.0.1:{service.port}", tls=tls)
    assert service.requests == []


# --- answers


async def test_each_instance_has_its_own_outcome(instances) -> None:
    async def partial(request: Request) -> bytes:
        await request.body()
        return answer(202, listing(UIDS[:1], {UIDS[1]: 0xA700}))

    async with stow_service(partial) as service:
        results = await stored(service, instances)
    assert [result.status for result in results] == [0, 0xA700, 0x0110]
    assert [result.error for result in results] == [
        "", "0xA700 refused: out of resources", "the answer (202) does not list this instance",
    ]  # fmt: skip
    assert not any(result.permanent for result in results)


@pytest.mark.parametrize("body", [b"", b"<html>log in</html>", b'{"00081199', b"[]"])
async def test_success_that_lists_nothing_is_none(instances, body: bytes) -> None:
    async def portal(request: Request) -> bytes:
        await request.body()
        return answer(200, body)

    async with stow_service(portal) as service:
        results = await stored(service, instances)
    assert {result.status for result in results} == {0x0110}
    assert {result.error for result in results} == {"the answer (200) lists no instances"}


REFUSALS = {
    301: "redirect", 307: "redirect", 401: "does not take our credentials",
    403: "does not let us store", 404: "check url", 405: "check url",
}  # fmt: skip


@pytest.mark.parametrize("status", REFUSALS)
async def test_refusal_of_everything_holds_it_with_its_reason(instances, status: int) -> None:
    async def refusing(request: Request) -> bytes:
        await request.body()
        return answer(status, b"", "Location: http://127.0.0.1:1/elsewhere")

    async with stow_service(refusing) as service:
        results = await stored(service, instances)
    assert len(service.posts) == 1
    assert all(result.permanent and result.status is None for result in results)
    assert all(REFUSALS[status] in result.error for result in results)


async def test_credentials_never_follow_a_redirect(tmp_path, instances) -> None:
    (tmp_path / "token").write_text("s3cret")
    async with stow_service(keep) as thief:

        async def elsewhere(request: Request) -> bytes:
            await request.body()
            return answer(307, b"", f"Location: http://127.0.0.1:{thief.port}/dicom-web/studies")

        async with stow_service(elsewhere, options=elsewhere) as service:
            token = {"authentication": "bearer", "token_file": str(tmp_path / "token")}
            await stored(service, instances, **token)
    assert thief.requests == []


@pytest.mark.parametrize("status", [400, 413, 415, 422, 500, 501])
async def test_instance_that_spoils_a_request_fails_alone(instances, status: int) -> None:
    async def picky(request: Request) -> bytes:
        uids = [uid_of(part) for part in await request.parts()]
        return answer(status) if UIDS[1] in uids else answer(200, listing(uids))

    async with stow_service(picky) as service:
        results = await stored(service, instances)
    spoilt = (None, True) if status < 500 else (0x0110, False)
    assert [(result.status, result.permanent) for result in results] == [
        (0, False), spoilt, (0, False),
    ]  # fmt: skip
    assert f"({status})" in results[1].error


async def test_reason_in_a_refusal_counts_more_than_its_status(instances) -> None:
    async def refusing(request: Request) -> bytes:
        await request.body()
        return answer(400, listing([], {UIDS[0]: 0xA900}))

    async with stow_service(refusing) as service:
        (result,) = await stored(service, instances[:1])
    assert (result.status, result.permanent) == (0xA900, True)


async def test_refusal_that_lists_an_instance_as_stored_is_no_delivery(instances) -> None:
    async def odd(request: Request) -> bytes:
        await request.body()
        return answer(400, listing(UIDS))

    async with stow_service(odd) as service:
        results = await stored(service, instances)
    assert {result.status for result in results} == {None}


# --- outages


@pytest.mark.parametrize("status", [429, 502, 503, 504, 507])
async def test_unavailable_service_is_an_outage_and_costs_nothing(instances, status: int) -> None:
    async def busy(request: Request) -> bytes:
        await request.body()
        return answer(status)

    async with stow_service(busy) as service:
        with pytest.raises(PeerRefusalError, match=rf"not available \({status}\)"):
            await stored(service, instances)
        service.options = busy
        with pytest.raises(PeerRefusalError, match=rf"not available \({status}\)"):
            await stored(service, instances)
    assert len(service.posts) == 1


async def test_what_was_stored_before_an_outage_stays_delivered(instances) -> None:
    async def busy_soon(request: Request) -> bytes:
        uids = [uid_of(part) for part in await request.parts()]
        return answer(200, listing(uids)) if uids == [UIDS[0]] else answer(503)

    async with stow_service(busy_soon) as service:
        results = await stored(service, instances, batch_size=1)
    assert [result.status for result in results] == [0, None, None]
    assert not any(result.permanent for result in results)
    assert len(service.posts) == 2


async def test_nobody_listens_is_an_outage(instances) -> None:
    async with stow_service(keep) as service:
        pass
    with pytest.raises(PeerRefusalError, match="no connection: Connection refused") as caught:
        await stored(service, instances)
    assert caught.value.cause == "http"


async def silent(request: Request) -> bytes:
    await trio.sleep_forever()
    raise AssertionError


async def hangs_after_the_body(request: Request) -> bytes:
    await request.body()
    return await silent(request)


async def hangs_inside_the_answer(request: Request) -> bytes:
    await request.body()
    await request.stream.send_all(answer(200, b"{", length=100))
    return await silent(request)


async def drips(request: Request) -> None:
    await request.body()
    await request.stream.send_all(answer(200, b"", length=1_000_000))
    while True:
        await request.stream.send_all(b" ")
        await trio.sleep(0.01)


async def drops_inside_the_body(request: Request) -> None:
    async for _ in request.chunks(100):
        pass


async def drops_after_the_body(request: Request) -> None:
    await request.body()


async def drops_inside_the_answer(request: Request) -> bytes | None:
    await request.body()
    await request.stream.send_all(answer(200, listing(UIDS))[:-5])
    return None


async def speaks_ssh(request: Request) -> bytes | None:
    await request.body()
    await request.stream.send_all(b"SSH-2.0-OpenSSH_9\r\n\r\n")
    return None


async def floods(request: Request) -> bytes | None:
    await request.body()
    await request.stream.send_all(answer(200, b" " * (2 << 20)))
    return None


async def endless_head(request: Request) -> bytes | None:
    await request.body()
    await request.stream.send_all(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000)
    return None


TOO_SLOW = "no answer in time"
IMPATIENT_S = 0.5
"""What is answered on the way, OPTIONS, is answered within that."""
LOST = {
    "never reads": (silent, TOO_SLOW),
    "hangs after the body": (hangs_after_the_body, TOO_SLOW),
    "hangs inside the answer": (hangs_inside_the_answer, TOO_SLOW),
    "drips": (drips, TOO_SLOW),
    "drops inside the body": (drops_inside_the_body, "the connection was lost"),
    "drops after the body": (drops_after_the_body, "the connection was lost"),
    "drops inside the answer": (drops_inside_the_answer, "the connection was lost"),
    "speaks something else": (speaks_ssh, "the connection was lost"),
    "answers without end": (floods, "the answer is longer than 1048576 bytes"),
    "has a head without end": (endless_head, "the connection was lost"),
}  # fmt: skip


@pytest.mark.parametrize("case", LOST)
async def test_answer_that_does_not_come_is_no_delivery_and_ends(instances, case: str) -> None:
    handler, words = LOST[case]
    patience_s = IMPATIENT_S if words == TOO_SLOW else ANSWER_S
    async with stow_service(handler) as service:
        results = await stored(service, instances, answer_s=patience_s)
    assert {(result.status, result.permanent) for result in results} == {(None, False)}
    assert all(words in result.error for result in results)
    assert len(service.posts) <= store_module.LOSSES_MAX + 1


async def test_service_that_stops_reading_a_long_body_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "long").touch()
    os.truncate(tmp_path / "long", len(META) + (64 << 20))
    async with stow_service(silent) as service:
        long = outgoing(tmp_path / "long", "1.2.3", 64 << 20)
        (result,) = await stored(service, [long], answer_s=IMPATIENT_S)
    assert (result.status, result.error) == (None, TOO_SLOW)


async def test_service_that_refuses_a_long_body_early_is_heard(tmp_path: Path) -> None:
    (tmp_path / "long").touch()
    os.truncate(tmp_path / "long", len(META) + (64 << 20))

    async def refuses_early(request: Request) -> bytes | None:
        async for _ in request.chunks(1000):
            pass
        await request.stream.send_all(answer(413, b"", "Connection: close"))
        await request.stream.aclose()
        return None

    async with stow_service(refuses_early) as service:
        long = outgoing(tmp_path / "long", "1.2.3", 64 << 20)
        (result,) = await stored(service, [long])
    assert result.status is None
    assert "(413)" in result.error or "the connection was lost" in result.error


@pytest.mark.parametrize("culprit", range(3))
async def test_instance_that_breaks_the_service_fails_alone(instances, culprit: int) -> None:
    async def fragile(request: Request) -> bytes | None:
        uids = [uid_of(part) for part in await request.parts()]
        return None if UIDS[culprit] in uids else answer(200, listing(uids))

    async with stow_service(fragile) as service:
        results = await stored(service, instances)
    assert [result.status for result in results] == [
        None if index == culprit else 0 for index in range(3)
    ]


@pytest.mark.parametrize("handler", [silent, drops_after_the_body, speaks_ssh, drips, floods])
async def test_options_that_are_not_answered_are_an_outage(instances, handler) -> None:
    async with stow_service(keep, options=handler) as service:
        with pytest.raises(PeerRefusalError):
            await stored(service, instances, answer_s=IMPATIENT_S)
    assert service.posts == []


# --- our own trouble


async def test_file_that_is_not_what_it_was_fails_alone(tmp_path, instances) -> None:
    os.truncate(instances[0].path, 10)
    gone = outgoing(tmp_path / "gone", "1.2.3.9", 10)
    async with stow_service(keep) as service:
        results = await stored(service, [*instances, gone])
    assert [(result.status, result.permanent) for result in results] == [
        (None, True), (0, False), (0, False), (None, True),
    ]  # fmt: skip
    assert "shorter" in results[0].error
    assert "No such file" in results[3].error


async def test_abort_ends_a_request(instances) -> None:
    async with (
        stow_service(silent) as service,
        session_with(service.destination(answer_s=60)) as session,
    ):
        service.post = lambda request: aborting(session)
        results = await session.store(instances)
        again = await session.store(instances)
    assert {(result.status, result.error) for result in [*results, *again]} == {(None, "aborted")}


async def aborting(session: StoreSession) -> bytes:
    session.abort()
    await trio.sleep_forever()
    raise AssertionError


async def test_echo_says_what_a_session_would_meet(tmp_path) -> None:
    async def strict(request: Request) -> bytes:
        return answer(204 if request.headers.get("authorization") == "Bearer right" else 401)

    (tmp_path / "token").write_text("wrong")
    async with stow_service(keep, options=strict) as service:
        destination = service.destination(
            authentication="bearer", token_file=str(tmp_path / "token")
        )
        requestor = DicomWebRequestor(TlsContexts(ListenerTls(), [destination]), 2.0)
        with pytest.raises(PeerRefusalError, match="does not take our credentials"):
            await requestor.echo(destination)
        (tmp_path / "token").write_text("right")
        assert (await requestor.echo(destination)).status == 0
