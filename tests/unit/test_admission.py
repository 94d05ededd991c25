"""Admission: every rule, and the order in which they are told."""

import msgspec
import pytest

from adapter.domain.admission import (
    VERIFICATION,
    AdmissionPolicy,
    AssociationRequest,
    Pressure,
    decide,
)
from adapter.domain.entities import Source

CT = "1.2.840.10008.5.1.4.1.1.2"
CALM = Pressure(associations=0, associations_max=2, space_is_low=False)


def asked(**changes):
    fields = {
        "called_ae_title": "BRAIN",
        "calling_ae_title": "CT1",
        "peer": "10.0.0.7",
        "peer_port": 40000,
        "abstract_syntaxes": (CT,),
    }
    return AssociationRequest(**fields | changes)


def policy(*sources, resolved=None, strict=True, verification=True):
    return AdmissionPolicy(
        called_ae_titles=frozenset({"BRAIN"}),
        reject_unknown_sources=strict,
        sources=sources or (Source(ae_title="CT1", host="10.0.0.7"),),
        resolved=resolved or {},
        verification_enabled=verification,
    )


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
    rules = policy(verification=False)
    full = Pressure(associations=2, associations_max=2, space_is_low=True, stopping=True)
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
    full = Pressure(associations=2, associations_max=2, space_is_low=True)
    assert told(decide(request, rules, full)) == (2, 3, 2, "dicom.scp.max_associations")
    low = Pressure(associations=1, associations_max=2, space_is_low=True)
    assert told(decide(request, rules, low)) == (2, 3, 1, "storage space is low")
    assert decide(request, rules, CALM) is None


def test_verification_alone_is_admitted_when_space_is_low():
    low = Pressure(associations=0, associations_max=2, space_is_low=True)
    assert decide(asked(abstract_syntaxes=(VERIFICATION,)), policy(), low) is None


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
        ("2001:db8::/32", "2001:db8::5", True),
        ("ct1.example", "10.0.0.7", True),
        ("ct1.example", "2001:db8::7", True),
        ("ct1.example", "10.0.0.8", False),
        ("ct2.example", "10.0.0.7", False),
    ],
)
def test_source_is_known_by_its_address(host, peer, known):
    resolved = {"ct1.example": frozenset({"10.0.0.7", "2001:db8::7"})}
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
