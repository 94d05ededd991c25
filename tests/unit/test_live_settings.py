"""Settings that others take the place of: what changes, what stays, and what is told of it."""

import tomllib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.domain.entities import Source
from adapter.domain.reconfiguration import differences
from adapter.errors import ConfigurationError
from adapter.live_settings import (
    RELOADABLE,
    LiveSettings,
    SettingsProposal,
    export_rules_of,
    retention_of,
)
from adapter.settings import Settings


def settings(text):
    return msgspec.convert(tomllib.loads(text), Settings)


def proposal(old, new):
    live = LiveSettings(settings(old))
    return live, SettingsProposal(live, settings(new), None)


def plan(old, new):
    return [(c.key, c.old, c.new, c.restart) for c in proposal(old, new)[1].changes]


def test_nothing_changes():
    assert plan("", "") == []


@pytest.mark.parametrize("key", RELOADABLE)
def test_every_key_that_may_change_exists(key):
    tree = msgspec.to_builtins(Settings())
    for name in key.split("."):
        tree = tree[name]


def test_what_needs_no_restart_counts_and_the_rest_stays():
    live, other = proposal(
        "", "[storage]\nwatermark_percent = 90\nroot = '/x'\n[dicom.scp]\nport = 104\n"
    )
    assert [(c.key, c.restart) for c in other.changes] == [
        ("dicom.scp.port", True), ("storage.root", True), ("storage.watermark_percent", False),
    ]  # fmt: skip
    assert live.settings == Settings()
    other.adopt()
    assert live.settings.storage.watermark_percent == 90
    assert (live.settings.storage.root, live.settings.dicom.scp.port) == ("./data", 11112)


def test_rules_stay_the_same_objects_with_other_values():
    live, other = proposal(
        "",
        "[storage.retention]\ncompleted_s = 7\n[dicom.scu.export]\nmax_retries = 9\n",
    )
    retention, rules = live.kept(retention_of), live.kept(export_rules_of)
    other.adopt()
    assert retention.completed_s == 7
    assert (rules.max_retries, rules.retry_delay_s) == (9, 60.0)


PACS = '[[destinations]]\nname = "pacs"\nae_title = "P"\nhost = "h"\nport = {port}\n'


def test_entries_of_lists_are_told_by_their_names():
    assert plan(PACS.format(port=1), PACS.format(port=2)) == [
        ("destinations[pacs].port", 1, 2, False)
    ]
    (key, old, new, restart) = plan("", PACS.format(port=1))[0]
    assert (key, old, restart) == ("destinations[pacs]", None, False)
    assert new["ae_title"] == "P"
    assert plan(PACS.format(port=1), "")[0][2] is None


def test_source_without_a_name_has_one():
    live, other = proposal("", '[[sources]]\nae_title = "CT1"\nhost = "10.0.0.1"\n')
    assert [c.key for c in other.changes] == ["sources[CT1]"]
    other.adopt()
    (source,) = live.entities()
    assert source == Source(ae_title="CT1", host="10.0.0.1", name="CT1")


def test_secrets_are_hidden():
    http = "[platform.http]\napi_key = '{}'\n"
    assert plan(http.format("old-key"), http.format("new-key")) == [
        ("platform.http.api_key", "(hidden)", "(hidden)", True)
    ]
    users = f"[dicom.scp.user_identity]\nusers = {{ bob = 'scrypt${'A' * 22}==${'B' * 43}=' }}\n"
    assert plan("", users) == [("dicom.scp.user_identity.users", {}, "(hidden)", True)]


def test_what_would_run_is_checked_as_a_whole():
    main = '[[application_entities]]\nname = "m"\nae_title = "M"\npipelines = { a = "b" }\n'
    with pytest.raises(ConfigurationError) as raised:  # its answer_s is below, ours is not
        proposal("[dicom.scp]\nanswer_s = 20\n", main + "[dicom.scp]\nanswer_s = 2\ndimse_s = 5\n")
    (problem,) = raised.value.problems
    assert problem.startswith("with what needs a restart left as it is: dicom.scp.answer_s")


VALUES = st.recursive(st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner))
TREES = st.dictionaries(st.sampled_from("abc"), VALUES)


@given(TREES, TREES)
def test_there_are_differences_exactly_where_trees_differ(old, new):
    found = list(differences(old, new, {}))
    assert bool(found) == (old != new)
    for key, before, now in found:
        assert before != now or key not in new
