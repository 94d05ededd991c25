"""Values that cannot be, one by one: each is one line that begins with its key (T-219 to T-243)."""

import pytest

from adapter.configuration import load
from adapter.errors import ConfigurationError

TOO_LONG = "A" * 17


def entry(**changes):
    """Return an inline table of strings and numbers."""
    pairs = (f"{key} = {value!r}" for key, value in changes.items())
    return f"[{{{', '.join(pairs)}}}]"


def destination(**changes):
    return entry(**{"name": "d", "ae_title": "D", "host": "pacs", "port": 104} | changes)


def source(**changes):
    return entry(**{"ae_title": "S", "host": "10.0.0.1"} | changes)


@pytest.mark.parametrize(
    ("flag", "key"),
    [
        (f"application_entities={entry(name='a', ae_title='')}",
         "application_entities[0].ae_title"),
        (f"application_entities={entry(name='a', ae_title=TOO_LONG)}",
         "application_entities[0].ae_title"),
        (f"destinations={destination(ae_title='')}", "destinations[0].ae_title"),
        (f"destinations={destination(ae_title='  ')}", "destinations[0].ae_title"),
        (f"destinations={destination(ae_title=TOO_LONG)}", "destinations[0].ae_title"),
        (f"destinations={destination(name='')}", "destinations[0].name"),
        (f"destinations={destination(host='')}", "destinations[0].host"),
        (f"destinations={destination(host=' ')}", "destinations[0].host"),
        (f"destinations={destination(port=0)}", "destinations[0].port"),
        (f"destinations={destination(port=65536)}", "destinations[0].port"),
        (f"sources={source(ae_title='')}", "sources[0].ae_title"),
        (f"sources={source(ae_title=TOO_LONG)}", "sources[0].ae_title"),
        (f"sources={source(host='')}", "sources[0].host"),
        ("dicom.scp.port=65536", "dicom.scp.port"),
        ("dicom.scp.max_associations=0", "dicom.scp.max_associations"),
        ("dicom.scp.verification.transfer_syntaxes=[]",
         "dicom.scp.verification.transfer_syntaxes"),
        ('dicom.scp.verification.transfer_syntaxes=["x"]',
         "dicom.scp.verification.transfer_syntaxes"),
        ('platform.metadata_dicom_source=["x"]', "platform.metadata_dicom_source"),
        ("storage.watermark_percent=1000", "storage.watermark_percent"),
    ],
)  # fmt: skip
def test_value_that_cannot_be_is_one_line_with_its_key(flag, key):
    with pytest.raises(ConfigurationError) as raised:
        load(None, {}, [flag])
    (line,) = raised.value.problems
    assert f": {key} = " in line or f": {key}[0] = " in line
    assert "\n" not in line


def test_destination_and_source_that_can_be_are_taken():
    flags = [f"destinations={destination()}", f"sources={source()}"]
    settings = load(None, {}, flags).settings
    assert [d.name for d in settings.destinations] == ["d"]
    assert [s.hosts for s in settings.sources] == [["10.0.0.1"]]
