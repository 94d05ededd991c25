"""User identity negotiation (PS3.7 D.3.3.7; F19): accepted or verified by policy, shown nowhere."""

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dicom_peers import DCMTK, run_peer
from harness import REPOSITORY, Adapter, environment, run_cli
from health import MakeAdapter, unharmed
from wire import Wire, associate_rq, data_set, item, part10

NAME, PASSCODE = "snow_white", "sevendwarfs"
REJECTED = ("reject", 1, 1, 1)
NAME_ONLY, NAME_AND_PASSCODE, KERBEROS, SAML, JWT = range(1, 6)


def identity(
    kind: int, primary: bytes = NAME.encode(), secondary: bytes = b"", *, response: bool = False
) -> bytes:
    """Return a User Identity sub-item."""
    fields = struct.pack(">H", len(primary)) + primary + struct.pack(">H", len(secondary))
    return item(0x58, bytes((kind, response)) + fields + secondary)


RIGHT = identity(NAME_AND_PASSCODE, secondary=PASSCODE.encode())


@pytest.fixture(scope="module")
def hashed() -> str:
    """What the configuration keeps of PASSCODE, by the command that makes it."""
    done = subprocess.run(
        [sys.executable, "-m", "adapter", "config", "passcode"], input=f"{PASSCODE}\n",
        env=environment(), cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.fixture
def verifying(make_adapter: MakeAdapter, hashed: str) -> Adapter:
    users = {NAME: hashed}
    return make_adapter({"dicom": {"scp": {"user_identity": {"mode": "verify", "users": users}}}})


def answer(adapter: Adapter, user: bytes) -> Any:
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq(user=user))
        return wire.answer()


def everything_shown(adapter: Adapter) -> str:
    """Return what an operator can see."""
    shown = [json.dumps(adapter.get("/api/associations"))]
    shown += [adapter.request("GET", path)[2].decode() for path in ("/metrics", "/health/status")]
    shown.append(run_cli("config", "show", "--origin", str(adapter.file)).stdout)
    return "\n".join((*shown, *adapter.log))


def test_user_with_the_passcode_is_accepted(verifying: Adapter) -> None:
    for _ in range(2):  # by the hash, then as one who is known
        with Wire(verifying.dicom_port) as wire:
            wire.associate(user=RIGHT)
            assert wire.store("1.2.3.1") == ("response", 0)
            wire.release()


WRONG = {
    "none": b"",
    "name_only": identity(NAME_ONLY),
    "no_passcode": identity(NAME_AND_PASSCODE),
    "other_passcode": identity(NAME_AND_PASSCODE, secondary=b"guess"),
    "other_name": identity(NAME_AND_PASSCODE, b"stepmother", PASSCODE.encode()),
    "kerberos": identity(KERBEROS, bytes(300)),
    "saml_with_entities": identity(
        SAML, b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'
    ),
    "jwt": identity(JWT, b"eyJhbGciOiJub25lIn0.e30."),
    "kind_0": identity(0),
    "kind_99": identity(99),
    "60_kB": identity(NAME_AND_PASSCODE, b"n" * 100, b"p" * 60_000),
    "binary": identity(NAME_AND_PASSCODE, b"\xff\0\r\n", b"\0"),
}


def test_whoever_is_not_believed_is_rejected_for_good(verifying: Adapter) -> None:
    with unharmed_for(verifying):
        assert {case: answer(verifying, user) for case, user in WRONG.items()} == dict.fromkeys(
            WRONG, REJECTED
        )
    assert verifying.metrics("dicom_adapter_rejections") == {
        "no user identity": 1,
        "user identity is not a name with a passcode": 6,
        "user identity is not known": 5,
    }


def unharmed_for(adapter: Adapter) -> Any:
    """`conftest.unharmed` sends no identity."""
    return unharmed(adapter, user=RIGHT)


def test_identity_that_is_cut_short_is_refused(verifying: Adapter) -> None:
    for value in (b"", b"\x02", b"\x02\x01\xff\xff", b"\x02\x01\x00\x04name"):
        assert answer(verifying, item(0x58, value))[0] in ("abort", "reject")


def test_nothing_is_looked_at_where_nothing_is_verified(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    answers = {case: answer(adapter, user) for case, user in WRONG.items()}
    assert answers == dict.fromkeys(WRONG, ("accept",))


@pytest.mark.parametrize("mode", ["accept", "verify"])
def test_identity_is_shown_nowhere(make_adapter: MakeAdapter, hashed: str, mode: str) -> None:
    adapter = make_adapter({
        "dicom": {"scp": {"user_identity": {"mode": mode, "users": {NAME: hashed}}}},
        "logging": {"level": "debug"},
    })  # fmt: skip
    for user in (RIGHT, *WRONG.values()):
        answer(adapter, user)
    shown = everything_shown(adapter)
    assert "association.accepted" in shown or "association.aborted" in shown
    for secret in (NAME, PASSCODE, hashed, "stepmother", "guess", "passwd", "eyJ", "ppp"):
        assert secret not in shown, secret


def test_positive_response_is_given_when_it_is_asked_for(verifying: Adapter) -> None:
    """PS3.7 D.3.3.7.2: an empty server response for a name with a passcode."""
    asking = identity(NAME_AND_PASSCODE, secondary=PASSCODE.encode(), response=True)
    for user, expected in ((asking, True), (RIGHT, False)):
        with Wire(verifying.dicom_port) as wire:
            wire.send(associate_rq(user=user))
            reply = wire.read_pdu()
            assert reply is not None
            assert reply[0] == 2
            assert (item(0x59, bytes(2)) in reply[1]) is expected


@pytest.mark.peer("dcmtk")
def test_dcmtk_shows_who_it_is(verifying: Adapter, tmp_path: Path) -> None:
    file = tmp_path / "1.dcm"
    file.write_bytes(part10("1.2.3.9", data_set("1.2.3.9")))
    target = ("-aec", "MAIN", "127.0.0.1", str(verifying.dicom_port), str(file))
    run_peer("storescu", "--user", NAME, "--password", PASSCODE, "--pos-response", *target)
    for wrong in (["--user", NAME, "--password", "guess"], ["--user", NAME], []):
        done = subprocess.run(
            [DCMTK["storescu"], *wrong, *target], capture_output=True, text=True, timeout=30,
            check=False,
        )  # fmt: skip
        assert done.returncode != 0
        assert "Rejected Permanent" in done.stderr


def test_guesses_keep_nobody_out_who_is_known(verifying: Adapter) -> None:
    assert answer(verifying, RIGHT) == ("accept",)
    guesses = [Wire(verifying.dicom_port) for _ in range(40)]
    for number, wire in enumerate(guesses):
        wire.send(associate_rq(user=identity(NAME_AND_PASSCODE, secondary=b"%d" % number)))
    assert answer(verifying, RIGHT) == ("accept",)
    answers = {wire.answer() for wire in guesses}
    assert answers <= {REJECTED, ("reject", 2, 3, 1), ("reject", 2, 3, 2)}
    assert REJECTED in answers
    for wire in guesses:
        wire.sock.close()
