"""Webhooks in the configuration, and the signature of what they are told."""

import base64
import hashlib
import hmac
from typing import get_args

import pytest

from adapter.domain.event_types import TOPICS
from adapter.domain.webhooks import Topic, Webhook, signature, webhook_problems


def hook(**changes):
    return Webhook(**{"name": "ris", "url": "https://ris.example.org/hook",
                      "secret_file": "/run/secret", **changes})  # fmt: skip


def test_topics_are_those_of_events():
    assert set(get_args(Topic)) == set(TOPICS)


def test_signature_is_the_one_of_the_specification():
    """The example of Standard Webhooks 1.0, "Signature scheme"."""
    body = b'{"test": 2432232314}'
    signed = signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek",
                       1614265330, body)  # fmt: skip
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secret", ["plain text", "whsec_is no base64"])
def test_secret_that_is_no_base64_is_its_text(secret):
    expected = hmac.digest(secret.encode(), b"1:2.7.[]", hashlib.sha256)
    assert signature(secret, "1:2", 7, b"[]") == f"v1,{base64.b64encode(expected).decode()}"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"url": "ftp://ris"}, "is no address"),
        ({"url": "https://user@ris/hook"}, "is no address"),
        ({"tls": {"key": "key.pem"}}, "a key needs its certificate"),
    ],
)
def test_what_cannot_be_is_said_with_its_key(changes, problem):
    if "tls" in changes:
        from adapter.domain.entities import DestinationTls

        changes = {"tls": DestinationTls(**changes["tls"])}
    (line,) = webhook_problems([hook(**changes)])
    assert line.startswith("webhooks[0].")
    assert problem in line


def test_names_are_used_once():
    assert list(webhook_problems([hook(), hook()])) == ["webhooks: name 'ris' is used twice"]
