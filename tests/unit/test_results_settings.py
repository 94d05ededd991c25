"""`results` in the configuration. Clara scenarios T-239, T-240."""

import msgspec
import pytest

from adapter.domain.results_service import ResultsSettings, results_problems


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"service_url": "http://127.0.0.1:5000"}, None),
        ({"service_url": "https://results.example.org/v1/"}, None),
        ({"service_url": "results.example.org"}, "results.service_url"),
        ({"service_url": "ftp://results.example.org"}, "results.service_url"),
        ({"service_url": "http://user:word@results.example.org"}, "results.service_url"),
        ({"service_url": "http://results.example.org/?a=b"}, "results.service_url"),
        ({"service_url": "http://"}, "results.service_url"),
        ({"files_url": "http://files.example.org"}, "results.files_url"),
        ({"service_url": "http://a", "files_url": "b"}, "results.files_url"),
        ({"api_key": "k", "api_key_file": "f"}, "results.api_key_file"),
        ({"tls": {"key": "k.pem"}}, "results.tls.key"),
    ],
)
def test_what_cannot_be_used_is_named(changes, problem):
    settings = msgspec.convert(changes, ResultsSettings)
    problems = list(results_problems(settings))
    assert [line.startswith(f"{problem}") for line in problems] == ([True] if problem else [])


@pytest.mark.parametrize(
    "changes", [{"poll_ms": 0}, {"report_s": 0}, {"fetch_s": 0}, {"service": "x"}, {"poll_ms": "x"}]
)
def test_out_of_range_is_refused(changes):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(changes, ResultsSettings)
