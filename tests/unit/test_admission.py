"""Admission: every rule, and the order in which they are told."""

import dataclasses

import msgspec
import pytest

from adapter.domain.admission import (
    VERIFICATION,
    AdmissionPolicy,
    AssociationRequest,
    Pressure,
    UserIdentity,
    decide,
    is_reporter,
)
from adapter.domain.entities import Source

CT = "1.2.840.10008.5.1.4.1.1.2"
CALM = Pressure(associations=0, of_ae_title=0, of_source=0, space_is_low=False)


def asked(**changes):
    fields = {
        "called_ae_title": "BRAIN",
        "calling_ae_title": "CT1",
        "peer": "10.0.0.7",
        "peer_port": 40000,
        "abstract_syntaxes": (CT,),
    }
    return AssociationRequest(**fields | changes)


def policy(*sources, resolved=None, strict=True, verification=True, of_entity=0, of_source=0):
    return AdmissionPolicy(
        called_ae_titles={"BRAIN": of_entity},
        reject_unknown_sources=strict,
        sources=sources or (Source(ae_title="CT1", host="10.0.0.7"),),
        resolved=resolved or {},
        verification_enabled=verification,
        associations_max=5,
        per_source_max=of_source,
    )


def loaded(**changes):
    return dataclasses.replace(CALM, **changes)


def told(rejection):
    return (rejection.result, rejection.source, rejection.reason, rejection.why)


def test_known_source_is_admitted():
    assert decide(asked(), policy(), CALM) is None


def test_rules_are_told_in_order():
    """A request that breaks every rule is mended one rule at a time."""
    request = asked(
        called_ae_title="NOBODY",
        calling_ae_title="",
        peer="192.0.2.1",
        abstract_syntaxes=(VERIFICATION,),
        application_context_known=False,
        protocol_version_known=False,
    )
    rules = policy(verification=False, of_entity=4, of_source=4)
    full = Pressure(
        associations=5, of_ae_title=4, of_source=4, space_is_low=True, entity_is_down=True,
        stopping=True,
    )  # fmt: skip
    replace = msgspec.structs.replace
    assert told(decide(request, rules, full)) == (1, 2, 2, "protocol version")
    request = replace(request, protocol_version_known=True)
    assert told(decide(request, rules, full)) == (1, 1, 2, "application context")
    request = replace(request, application_context_known=True)
    assert told(decide(request, rules, full)) == (1, 1, 7, "called AE Title is not configured")
    request = replace(request, called_ae_title="BRAIN")
    assert told(decide(request, rules, full)) == (1, 1, 3, "calling AE Title is malformed")
    request = replace(request, calling_ae_title="CT2")
    assert told(decide(request, rules, full)) == (
        1, 1, 3, "calling AE Title is not among the sources",
    )  # fmt: skip
    request = replace(request, calling_ae_title="CT1")
    assert told(decide(request, rules, full)) == (
        1, 1, 3, "calling AE Title is a source, but not from this address",
    )  # fmt: skip
    request = replace(request, peer="10.0.0.7")
    assert told(decide(request, rules, full)) == (1, 1, 2, "verification is disabled")
    request = replace(request, abstract_syntaxes=(VERIFICATION, CT))
    assert told(decide(request, rules, full)) == (2, 3, 1, "shutting down")
    full = dataclasses.replace(full, stopping=False)
    assert told(decide(request, rules, full)) == (2, 3, 1, "the AE Title does not answer")
    full = dataclasses.replace(full, entity_is_down=False)
    assert told(decide(request, rules, full)) == (2, 3, 2, "dicom.scp.max_associations")
    full = dataclasses.replace(full, associations=4)
    assert told(decide(request, rules, full)) == (
        2, 3, 2, "dicom.scp.max_associations_per_source",
    )  # fmt: skip
    full = dataclasses.replace(full, of_source=3)
    assert told(decide(request, rules, full)) == (2, 3, 2, "max_associations of the AE Title")
    full = dataclasses.replace(full, of_ae_title=3)
    assert told(decide(request, rules, full)) == (2, 3, 1, "storage space is low")
    assert decide(request, rules, dataclasses.replace(full, space_is_low=False)) is None


@pytest.mark.parametrize("number", [0, 4, 1000])
def test_limit_of_zero_is_none(number):
    rules = policy(of_entity=0, of_source=0)
    assert decide(asked(), rules, loaded(of_ae_title=number, of_source=number)) is None


def test_repr_of_a_request_shows_no_user_identity():
    identity = UserIdentity(
        kind=2, primary=b"dr_strange", secondary=b"sesame", response_requested=True
    )
    shown = repr(asked(user_identity=identity))
    assert "kind=2" in shown
    assert "strange" not in shown
    assert "sesame" not in shown


def test_verification_alone_is_admitted_when_space_is_low():
    request = asked(abstract_syntaxes=(VERIFICATION,))
    assert decide(request, policy(), loaded(space_is_low=True)) is None


def test_storage_is_admitted_when_verification_is_disabled():
    assert decide(asked(), policy(verification=False), CALM) is None


def test_any_source_is_admitted_when_unknown_ones_are_not_rejected():
    request = asked(calling_ae_title="STRANGER", peer="192.0.2.1")
    assert decide(request, policy(strict=False), CALM) is None


def test_malformed_calling_title_is_rejected_even_then():
    rejection = decide(asked(calling_ae_title=""), policy(strict=False), CALM)
    assert told(rejection) == (1, 1, 3, "calling AE Title is malformed")


@pytest.mark.parametrize(
    ("host", "peer", "known"),
    [
        ("10.0.0.7", "10.0.0.7", True),
        ("10.0.0.7", "10.0.0.8", False),
        ("10.0.0.0/24", "10.0.0.200", True),
        ("10.0.0.9/24", "10.0.0.200", True),
        ("10.0.0.0/24", "10.0.1.1", False),
        ("10.0.0.7", "::ffff:10.0.0.7", True),
        ("10.0.0.7", "::1", False),
        ("fe80::/10", "fe80::1%eth0", True),
        ("fe80::1", "fe80::1%eth0", True),
        ("fe80::1%eth0", "fe80::1%eth0", True),
        ("fe80::1%eth0", "fe80::1%eth1", False),
        ("fe80::1%eth0", "fe80::1", False),
        ("::1", "::1", True),
        ("0:0:0:0:0:0:0:1", "::1", True),
        ("2001:db8::/32", "2001:db8::5", True),
        ("ct1.example", "10.0.0.7", True),
        ("ct1.example", "2001:db8::7", True),
        ("ct1.example", "::ffff:10.0.0.7", True),
        ("link.example", "fe80::1%eth0", True),
        ("link.example", "fe80::1%eth1", False),
        ("mapped.example", "10.0.0.9", True),
        ("ct1.example", "10.0.0.8", False),
        ("ct2.example", "10.0.0.7", False),
    ],
)
def test_source_is_known_by_its_address(host, peer, known):
    resolved = {
        "ct1.example": frozenset({"10.0.0.7", "2001:db8::7"}),
        "link.example": frozenset({"fe80::1%eth0"}),
        "mapped.example": frozenset({"::ffff:10.0.0.9"}),
    }
    rules = policy(Source(ae_title="CT1", host=host), resolved=resolved)
    assert (decide(asked(peer=peer), rules, CALM) is None) is known


def test_source_may_have_several_hosts_and_entries():
    sources = (
        Source(ae_title="CT1", host=["10.0.0.1", "10.0.0.2"]),
        Source(ae_title=" CT1 ", host="10.0.0.3"),
    )
    for last in (1, 2, 3):
        assert decide(asked(peer=f"10.0.0.{last}"), policy(*sources), CALM) is None
    assert decide(asked(peer="10.0.0.4"), policy(*sources), CALM) is not None


def test_ae_titles_are_compared_with_their_case():
    assert decide(asked(calling_ae_title="ct1"), policy(), CALM) is not None


# --- destinations that report storage commitment

COMMITMENT = "1.2.840.10008.1.20.1"
PACS = Source(ae_title="PACS", host="10.0.0.9")


def reporting(**changes):
    return dataclasses.replace(policy(), reports_ae_title="ADAPTER", reporters=(PACS,), **changes)


def reported(**changes):
    fields = {
        "called_ae_title": "ADAPTER", "calling_ae_title": "PACS", "peer": "10.0.0.9",
        "abstract_syntaxes": (COMMITMENT,),
    }  # fmt: skip
    return asked(**fields | changes)


def test_destination_may_report_to_our_title_as_requestor():
    assert decide(reported(), reporting(), CALM) is None
    assert is_reporter(reported(), reporting())


@pytest.mark.parametrize(
    "changes",
    [{"calling_ae_title": "CT1", "peer": "10.0.0.7"}, {"peer": "10.0.0.8"},
     {"calling_ae_title": "OTHER"}],
)  # fmt: skip
@pytest.mark.parametrize("strict", [True, False])
def test_nobody_else_may_call_it(changes, strict):
    rules = reporting(reject_unknown_sources=strict)
    assert decide(reported(**changes), rules, CALM).reason == 3
    assert not is_reporter(reported(**changes), rules)


def test_without_such_destinations_it_is_no_ae_title_of_ours():
    rules = dataclasses.replace(reporting(), reporters=())
    assert decide(reported(), rules, CALM).reason == 7
    assert decide(reported(called_ae_title=""), rules, CALM).reason == 7


def test_destination_that_calls_an_entity_is_no_reporter():
    assert not is_reporter(reported(called_ae_title="BRAIN"), reporting())
    assert decide(reported(called_ae_title="BRAIN"), reporting(), CALM).reason == 3


def test_destination_may_report_to_an_entity_that_has_our_title():
    rules = reporting(called_ae_titles={"ADAPTER": 0})
    assert decide(reported(), rules, CALM) is None
    assert is_reporter(reported(), rules)


def test_reports_are_taken_when_space_is_low():
    """They are what frees it."""
    assert decide(reported(), reporting(), loaded(space_is_low=True)) is None
    mixed = reported(abstract_syntaxes=(COMMITMENT, CT))
    assert decide(mixed, reporting(), loaded(space_is_low=True)) is not None
