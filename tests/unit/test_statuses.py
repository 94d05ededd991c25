"""DIMSE statuses, judged as pynetdicom's tables judge them."""

import pytest
from pynetdicom.status import GENERAL_STATUS, STORAGE_SERVICE_CLASS_STATUS

from adapter.domain import statuses
from adapter.domain.statuses import is_success, is_transient

KNOWN = {**GENERAL_STATUS, **STORAGE_SERVICE_CLASS_STATUS}


def test_success_and_warnings_of_the_storage_service_mean_stored():
    stored = {code for code, (kind, *_) in KNOWN.items() if kind in ("Success", "Warning")}
    assert {code for code in KNOWN if is_success(code)} == stored


def test_every_warning_code_means_stored():
    accepted = {code for code in range(0x10000) if is_success(code)}
    assert accepted == {0x0000, 0x0001, 0x0107, 0x0116, *range(0xB000, 0xC000)}


def test_lack_of_resources_is_transient():
    transient = {code for code in range(0x10000) if is_transient(code)}
    assert transient == {0x0110, 0x0213, *range(0xA700, 0xA800)}


def test_no_status_is_both():
    assert not [code for code in range(0x10000) if is_success(code) and is_transient(code)]


@pytest.mark.parametrize(
    "status",
    [
        statuses.OUT_OF_RESOURCES,
        statuses.DATA_SET_DOES_NOT_MATCH,
        statuses.CANNOT_UNDERSTAND,
        statuses.PROCESSING_FAILURE,
        statuses.SOP_CLASS_NOT_SUPPORTED,
        statuses.INVALID_INSTANCE,
        statuses.UNRECOGNIZED_OPERATION,
    ],
)
def test_every_failure_we_answer_is_a_failure_of_the_standard(status):
    assert KNOWN[status][0] == "Failure"
    assert not is_success(status)
