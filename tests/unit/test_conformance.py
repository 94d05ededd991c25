"""What the conformance statement says in its tables is what the program does."""

import ast
import inspect
import re
import ssl
from pathlib import Path

from adapter.domain import admission, statuses
from adapter.domain.commitment import STORAGE_COMMITMENT
from adapter.domain.listener_tls import ListenerTls
from adapter.protocols.dimse import tls_contexts
from adapter.protocols.dimse.user_information import OUR_CLASS_UID, OUR_VERSION_NAME
from adapter.settings import Settings

ROOT = Path(__file__).parent.parent.parent
STATEMENT = (ROOT / "docs" / "conformance.md").read_text()
SENT_BY_PEERS = {"is_success", "is_transient", "status_words"}


def rows(section: str) -> list[list[str]]:
    """Return the rows of all tables of a section, without their heads."""
    _, _, rest = STATEMENT.partition(f"\n{section}\n")
    assert rest, f"no section {section}"
    text = re.split(r"\n#+ ", rest)[0]
    tables = re.findall(r"^\|.*\|\n\| ---.*\n((?:\|.*\|\n?)+)", text, re.MULTILINE)
    lines = [line for table in tables for line in table.splitlines()]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def statuses_used() -> set[int]:
    """Return the statuses that modules of the adapter take from `domain/statuses.py`."""
    names: set[str] = set()
    for module in (ROOT / "adapter").rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "adapter.domain.statuses":
                names |= {alias.name for alias in node.names}
    return {getattr(statuses, name) for name in names - SENT_BY_PEERS}


def test_every_status_we_answer_is_stated_and_no_other() -> None:
    sent = [*rows("### 3.2 Storage as SCP"), *rows("### 3.5 Storage Commitment Push Model as SCP")]
    stated = {int(cells[0], 16) for cells in sent}
    assert stated == statuses_used() - {statuses.CLASS_INSTANCE_CONFLICT}  # a Failure Reason


def test_meaning_of_every_response_is_stated() -> None:
    told = {
        re.compile(
            pattern.strip().replace("xxx", "[0-9A-F]{3}").replace("A7xx", "A7[0-9A-F]{2}")
        ): words
        for cell, words in rows("### 3.3 Storage as SCU")
        for pattern in cell.split(",")
    }
    for status in range(0x10000):
        named = f"0x{status:04X}"
        words = next((words for pattern, words in told.items() if pattern.fullmatch(named)), "held")
        assert words.startswith("delivered") == statuses.is_success(status), named
        assert words.startswith("sent again") == statuses.is_transient(status), named


def test_rejections_are_those_of_the_rules() -> None:
    source = inspect.getsource(admission)
    values = {"PERMANENT": 1, "TRANSIENT": 2, "SERVICE_USER": 1, "ACSE": 2, "PRESENTATION": 3}
    permanent = {
        (values[result], values[by], int(reason))
        for result, by, reason in re.findall(r"result=(\w+), source=(\w+), reason=(\d)", source)
    }
    transient = {(2, 3, admission.CONGESTION), (2, 3, admission.LOCAL_LIMIT)}
    stated = {
        tuple(map(int, cells[0].split("/")))
        for cells in rows("### 4.1 Acceptance")
        if re.fullmatch(r"\d/\d/\d", cells[0])
    }
    assert stated == permanent | transient | {(1, 1, 1)}  # identities: domain/identity.py


def test_association_parameters_are_stated() -> None:
    told = {cells[0]: cells[1] for cells in rows("### 4.1 Acceptance")}
    scp = Settings().dicom.scp
    assert told["implementation class UID"] == OUR_CLASS_UID
    assert told["implementation version name"] == OUR_VERSION_NAME
    assert told["maximum PDU length we announce"].endswith(f", {scp.max_pdu}")
    assert f", {scp.max_associations};" in told["associations at once"]
    assert told["A-ASSOCIATE-RQ has to arrive within"].endswith(f", {scp.artim_s:g} s")
    assert told["between two requests"].endswith(f", {scp.idle_s:g} s")
    assert told["within a message"].endswith(f", {scp.dimse_s:g} s")


def test_sop_classes_are_stated() -> None:
    told = {cells[1] for cells in rows("## 1 Overview") if len(cells) == 4}
    assert {admission.VERIFICATION, STORAGE_COMMITMENT} <= told


def test_cipher_suites_are_stated() -> None:
    told = {cells[0]: set(cells[1].split(", ")) for cells in rows("## 7 Security")}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(tls_contexts.CIPHERS_1_2)
    offered: dict[str, set[str]] = {"1.2": set(), "1.3": set()}
    for suite in context.get_ciphers():
        offered["1.3" if suite["name"].startswith("TLS_") else "1.2"].add(suite["name"])
    assert told == offered
    assert ListenerTls().minimum_version == "1.2"
