"""The line that each mistake in a configuration file is told by: where, what, and what may be."""

import pytest

from adapter.configuration import load
from adapter.errors import ConfigurationError

ENTITY = '[[application_entities]]\nname = "a"\nae_title = "A"\npipelines = { x = "1" }\n'
PACS = '[[destinations]]\nname = "p"\nae_title = "P"\nhost = "h"\nport = 1\n'
PROGRAM = '[[platform.pipelines]]\nid = "p"\ncommand = ["/x"]\n'
SCP = "[dicom.scp]\n"


def lines(tmp_path, text, name="a.toml"):
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(ConfigurationError) as raised:
        load(file, {})
    return [line.removeprefix(f"{file}: ") for line in raised.value.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dicm = 3", "dicm: unknown key; did you mean dicom?"),
        ("dicom = 3", "dicom = 3: expected a table, got a whole number"),
        (SCP + "max-pdu = 1", "dicom.scp.max-pdu: unknown key; did you mean max_pdu?"),
        (SCP + "port = 99999",
         "dicom.scp.port = 99999: expected a whole number <= 65535 (allowed: 0 to 65535)"),
        (SCP + 'port = "104"',
         "dicom.scp.port = '104': expected a whole number, got text (allowed: 0 to 65535)"),
        (SCP + "port = true",
         "dicom.scp.port = True: expected a whole number, got true or false (allowed: 0 to 65535)"),
        (SCP + "artim_s = nan",
         "dicom.scp.artim_s = nan: expected a number > 0.0 (allowed: above 0, up to 3600)"),
        (SCP + 'receivers = "many"',
         "dicom.scp.receivers = 'many': is none of what it may be (allowed: 0 to 64, 'auto')"),
        (SCP + 'preferred_transfer_syntaxes = "1.2"',
         "dicom.scp.preferred_transfer_syntaxes = '1.2': expected a list, got text"),
        ('[dicom.scp.verification]\ntransfer_syntaxes = ["1.2", "abc"]',
         ("dicom.scp.verification.transfer_syntaxes[1] = 'abc': "
         "must be a UID such as 1.2.840.10008.1.2")),
        ("[dicom.scp.verification]\ntransfer_syntaxes = []",
         "dicom.scp.verification.transfer_syntaxes = []: expected a list of length >= 1"),
        (ENTITY.replace('"A"', '"A\\\\B"'),
         ("application_entities[0].ae_title = 'A\\\\B': must be 1 to 16 printable ASCII characters "
         "but the backslash, and not only spaces")),
        (ENTITY.replace('"A"', '"ABCDEFGHIJKLMNOPQ"'),
         "application_entities[0].ae_title = 'ABCDEFGHIJKLMNOPQ': expected text of length <= 16"),
        (ENTITY.replace('name = "a"', 'name = "a b"'),
         ("application_entities[0].name = 'a b': must be letters, digits, dots, hyphens and "
         "underscores, a letter or digit first")),
        (ENTITY.replace("pipelines", "pipeline"), None),
        (ENTITY.replace('"1"', "1"),
         "application_entities[0].pipelines.x = 1: expected text, got a whole number"),
        (ENTITY + 'overwrite_same_instance = "yes"',
         ("application_entities[0].overwrite_same_instance = 'yes': "
         "is none of what it may be (allowed: true, false, 'keep-both')")),
        (ENTITY + "grouping = [1]",
         "application_entities[0].grouping[0] = 1: expected text, got a whole number"),
        (ENTITY + "processors = [{ name = 'x', timeout = 3 }]",
         "application_entities[0].processors[0].timeout: unknown key; did you mean timeout_s?"),
        (ENTITY + "timeout_s = 0",
         'application_entities[0].timeout_s: 0 needs "association" in grouping'),
        ('[application_entities]\nname = "a"',
         "application_entities = {'name': 'a'}: expected a list, got a table"),
        ('application_entities = ["a"]',
         "application_entities[0] = 'a': expected a table, got text"),
        ('[[sources]]\nae_title = "A"\nhost = ["10.0.0.1", 3]',
         "sources[0].host[1] = 3: expected text, got a whole number"),
        ('[[sources]]\nae_title = "A"\nhost = "10.0.0.0/40"',
         "sources[0].host: '10.0.0.0/40' is no address, network or name"),
        (PACS.replace("port = 1", "port = 0"),
         "destinations[0].port = 0: expected a whole number >= 1 (allowed: 1 to 65535)"),
        (PACS + 'window = "22-6"',
         "destinations[0].window = '22-6': must be a time of day such as 22:00-06:00"),
        (PACS + "tls = true", "destinations[0].tls = True: expected a table, got true or false"),
        (PACS + 'tls = { cert = "x" }', None),
        (PROGRAM + "environment = { A = 1 }",
         "platform.pipelines[0].environment.A = 1: expected text, got a whole number"),
        (PROGRAM.replace('["/x"]', '"/x"'),
         "platform.pipelines[0].command = '/x': expected a list, got text"),
        ('[dicom.scp.user_identity.users]\nbob = "secret"',
         "dicom.scp.user_identity.users: is not of the form it must have"),
        ('[storage]\ndurability = "none"',
         "storage.durability = 'none': is none of what it may be (allowed: 'fsync', 'os')"),
        ("[dicom.scp\n", "Expected ']' at the end of a table declaration (at line 1, column 11)"),
    ],
)  # fmt: skip
def test_mistake_is_one_line_that_says_what_may_be(tmp_path, text, expected):
    (line,) = lines(tmp_path, text)
    if expected is None:
        assert ": unknown key; " in line
    else:
        assert line == expected


def test_keys_and_values_of_yaml_that_toml_cannot_have(tmp_path):
    found = lines(tmp_path, "dicom: {scp: {port: null, 12: x}}\nsources: [null]\n", "a.yaml")
    assert found[0].startswith("dicom.scp.port = None: expected a whole number, got nothing")
    assert found[1].startswith("dicom.scp.12: unknown key; allowed: host, port, ")
    assert found[2] == "sources[0] = None: expected a table, got nothing"


def test_text_that_is_none_is_refused(tmp_path):
    (line,) = lines(tmp_path, '{"dicom": {"scp": {"host": "\\ud800"}}}', "a.json")
    assert "surrogates not allowed" in line
