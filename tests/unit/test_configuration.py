"""Configuration: layers, origins, and every problem at once."""

import json

import pytest

from adapter.composition import warnings
from adapter.configuration import effective_values, json_schema, load
from adapter.errors import ConfigurationError
from adapter.relations import listening_ports, pipelines_without_program
from adapter.settings import Settings

ENTITY = """
[[application_entities]]
name = "brain"
ae_title = "BRAIN"
pipelines = { seg = "p1" }
"""


def file(tmp_path, text, name="adapter.toml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def problems(path=None, environment=None, flags=()):
    with pytest.raises(ConfigurationError) as raised:
        load(path, environment or {}, flags)
    assert str(raised.value) == "\n".join(raised.value.problems)
    return raised.value.problems


# --- layers


def test_defaults_are_a_configuration():
    layered = load(None, {})
    assert layered.settings == Settings()
    assert layered.origins == {}


def test_file_is_read(tmp_path):
    path = file(tmp_path, ENTITY + "[dicom.scp]\nport = 104\n")
    layered = load(path, {})
    assert layered.settings.dicom.scp.port == 104
    assert layered.settings.application_entities[0].pipelines == {"seg": "p1"}
    assert layered.origins["dicom.scp.port"] == str(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", "[dicom.scp]\nport = 104"),
        ("a.yaml", "dicom:\n  scp:\n    port: 104"),
        ("a.yml", "dicom: {scp: {port: 104}}"),
        ("a.json", '{"dicom": {"scp": {"port": 104}}}'),
    ],
)
def test_format_follows_from_the_name(tmp_path, name, text):
    assert load(file(tmp_path, text, name), {}).settings.dicom.scp.port == 104


def test_empty_file_changes_nothing(tmp_path):
    for name in ("a.toml", "a.yaml"):
        assert load(file(tmp_path, "", name), {}).settings == Settings()


def test_flags_win_over_environment_over_file(tmp_path):
    path = file(tmp_path, "[dicom.scp]\nport = 1\nmax_pdu = 10000\nmax_associations = 7\n")
    environment = {
        "DICOM_ADAPTER__DICOM__SCP__PORT": "2",
        "DICOM_ADAPTER__DICOM__SCP__MAX_PDU": "20000",
    }
    layered = load(path, environment, ["dicom.scp.port=3"])
    scp = layered.settings.dicom.scp
    assert (scp.port, scp.max_pdu, scp.max_associations) == (3, 20000, 7)
    assert layered.origins == {
        "dicom.scp.port": "--set dicom.scp.port",
        "dicom.scp.max_pdu": "DICOM_ADAPTER__DICOM__SCP__MAX_PDU",
        "dicom.scp.max_associations": str(path),
    }


def test_last_flag_wins():
    assert load(None, {}, ["dicom.scp.port=3", "dicom.scp.port=4"]).settings.dicom.scp.port == 4


def test_variables_of_others_are_ignored():
    assert load(None, {"DICOM_ADAPTER": "x", "PATH": "/bin", "DICOM_SCP__PORT": "1"}).origins == {}


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("storage.root=/data/x", "/data/x"),
        ('storage.root="/data/y"', "/data/y"),
        ("storage.root=a=b", "a=b"),
        ("storage.root= ./z", " ./z"),
    ],
)
def test_text_needs_no_quotes_in_a_flag(flag, value):
    assert load(None, {}, [flag]).settings.storage.root == value


def test_list_may_be_set_as_a_whole():
    flag = 'destinations=[{name = "pacs", ae_title = "PACS", host = "10.0.0.9", port = 104}]'
    assert load(None, {}, [flag]).settings.destinations[0].ae_title == "PACS"


def test_entry_of_a_list_is_reached_by_its_number(tmp_path):
    layered = load(file(tmp_path, ENTITY), {}, ["application_entities.0.timeout_s=9"])
    assert layered.settings.application_entities[0].timeout_s == 9.0


# --- problems


def test_every_problem_is_told_at_once(tmp_path):
    path = file(
        tmp_path,
        """
        surprise = 1
        [dicom.scp]
        port = 70000
        max_asociations = 5
        [storage]
        durability = "maybe"
        root = 7
        [[application_entities]]
        name = "brain"
        ae_title = "TOO LONG FOR AN AE TITLE"
        [[destinations]]
        name = "pacs"
        ae_title = "PACS"
        host = "10.0.0.9"
        """,
    )
    found = problems(path, {"DICOM_ADAPTER__API__PORT": "x"}, ["logging.level=loud", "nonsense"])
    expected = [
        ("--set nonsense", "is not KEY=VALUE"),
        (str(path), "surprise: unknown key"),
        (str(path), "dicom.scp.port = 70000: "),
        (str(path), "dicom.scp.max_asociations: unknown key; did you mean max_associations?"),
        (str(path), "storage.durability = 'maybe': "),
        (str(path), "storage.root = 7: "),
        (str(path), "application_entities[0].ae_title = 'TOO LONG FOR AN AE TITLE': "),
        (str(path), "destinations[0].port: is missing"),
        ("DICOM_ADAPTER__API__PORT", "api.port = 'x': "),
        ("--set logging.level", "logging.level = 'loud': "),
    ]
    for origin, text in expected:
        assert any(line.startswith(f"{origin}: {text}") for line in found), (origin, text, found)
    assert len(found) == len(expected)
    assert not [line for line in found if "\n" in line]


def test_allowed_values_are_listed(tmp_path):
    (line,) = problems(None, {}, ["storage.durability=maybe"])
    assert "allowed: 'fsync', 'os'" in line


def test_unknown_key_without_a_likeness_lists_the_known_ones():
    (line,) = problems(None, {}, ["shutdown.zzz=1"])
    assert line == (
        "--set shutdown.zzz: shutdown.zzz: unknown key; allowed: association_grace_s, deadline_s"
    )


def test_problem_in_an_entry_names_the_variable_it_comes_from(tmp_path):
    path = file(tmp_path, ENTITY)
    variable = "DICOM_ADAPTER__APPLICATION_ENTITIES__0__TIMEOUT_S"
    (line,) = problems(path, {variable: "-1"})
    assert line.startswith(f"{variable}: application_entities[0].timeout_s = -1: ")


def test_problem_in_a_list_set_as_a_whole_names_the_flag(tmp_path):
    path = file(tmp_path, ENTITY)
    found = problems(path, {}, ['destinations=[{name = "pacs", ae_title = "PACS", port = 0}]'])
    assert len(found) == 2
    assert all(line.startswith("--set destinations: destinations[0]") for line in found)


@pytest.mark.parametrize(
    "flag",
    ["application_entities.7.name=x", "application_entities.x.name=x", "storage.root.x=1"],
)
def test_flag_that_leads_nowhere_is_a_problem(tmp_path, flag):
    path = file(tmp_path, ENTITY + '[storage]\nroot = "./data"\n')
    found = problems(path, {}, [flag])
    assert found[0].startswith(f"--set {flag.partition('=')[0]}: ")


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "0", "3601", "true", "[]"])
def test_seconds_are_positive_and_finite(text):
    (line,) = problems(None, {}, [f"dicom.scp.artim_s={text}"])
    assert line.startswith("--set dicom.scp.artim_s: dicom.scp.artim_s = ")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", "[dicom\nport = 104"),
        ("a.toml", "a = 2001-99-99"),
        ("a.yaml", "dicom:\n  scp: [1,\nx: }"),
        ("a.yaml", "date: 2001-99-99"),
        ("a.json", '{"dicom":\n {"scp":'),
        ("a.json", "[1, 2]"),
        ("a.yaml", "just text"),
    ],
)
def test_file_that_cannot_be_parsed_is_one_line(tmp_path, name, text):
    path = file(tmp_path, text, name)
    (line,) = problems(path)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line


def test_file_that_is_no_text_is_one_line(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xff\xfe\0")
    assert len(problems(path)) == 1


def test_missing_file_is_named(tmp_path):
    assert problems(tmp_path / "no.toml") == [f"{tmp_path / 'no.toml'}: No such file or directory"]


# --- between keys


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["dicom.scp.answer_s=30"], "dicom.scp.answer_s must be below dicom.scp.dimse_s"),
        (["shutdown.deadline_s=10"],
         "shutdown.association_grace_s must be below shutdown.deadline_s"),
    ],
)  # fmt: skip
def test_limits_that_depend_on_each_other_are_checked(flags, text):
    assert text in problems(None, {}, flags)


def test_api_for_other_machines_needs_a_word_about_authentication():
    (line,) = problems(None, {}, ["api.host=0.0.0.0"])
    assert 'say api.auth = "none"' in line
    assert load(None, {}, ["api.host=0.0.0.0", "api.auth=none"]).settings.api.auth == "none"


def test_names_are_used_once_and_references_resolve(tmp_path):
    path = file(
        tmp_path,
        ENTITY.replace("name", 'destinations = ["archive"]\nname', 1)
        + ENTITY
        + """
        [[destinations]]
        name = "pacs"
        ae_title = "PACS"
        host = "10.0.0.9"
        port = 104
        [[destinations]]
        name = "pacs"
        ae_title = "PACS2"
        host = "10.0.0.9"
        port = 104
        """,
    )
    assert problems(path) == [
        f"{path}: application_entities: ae_title 'BRAIN' is used twice",
        f"{path}: application_entities: name 'brain' is used twice",
        f"{path}: destinations: name 'pacs' is used twice",
        f"{path}: application_entities[0].destinations: 'archive' is not among the destinations",
    ]


def test_settings_of_a_processor_are_checked(tmp_path):
    path = file(tmp_path, ENTITY + 'settings = { timeout = "soon", colour = "red" }\n')
    found = problems(path)
    assert len(found) == 2
    assert found[0].startswith(f"{path}: application_entities[0].settings.timeout: ")
    assert found[1].startswith(f"{path}: application_entities[0].settings.colour: ")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_destination_is_not_the_adapter_itself(host):
    flag = f'destinations=[{{name = "me", ae_title = "ME", host = "{host}", port = 11112}}]'
    assert problems(None, {}, [flag]) == ["destinations: 'me' is this adapter itself"]


OWN_PORTS = """
[[application_entities]]
name = "one"
ae_title = "ONE"
pipelines = {{ seg = "p1" }}
port = {one}
[[application_entities]]
name = "two"
ae_title = "TWO"
pipelines = {{ seg = "p1" }}
[[application_entities]]
name = "three"
ae_title = "THREE"
pipelines = {{ seg = "p1" }}
port = {three}
"""


@pytest.mark.parametrize(
    ("one", "three", "expected"),
    [
        (104, 105, [
            ("dicom.scp.port", 11112, ["TWO"]), ("application_entities[0].port", 104, ["ONE"]),
            ("application_entities[2].port", 105, ["THREE"]),
        ]),
        (104, 104, [
            ("dicom.scp.port", 11112, ["TWO"]),
            ("application_entities[0].port", 104, ["ONE", "THREE"]),
        ]),
        (11112, 104, [
            ("dicom.scp.port", 11112, ["ONE", "TWO"]),
            ("application_entities[2].port", 104, ["THREE"]),
        ]),
    ],
)  # fmt: skip
def test_ae_titles_answer_on_their_own_port_or_the_shared_one(tmp_path, one, three, expected):
    settings = load(file(tmp_path, OWN_PORTS.format(one=one, three=three)), {}).settings
    assert [
        (key, port, [entity.ae_title for entity in entities])
        for key, port, entities, *_ in listening_ports(settings)
    ] == expected


def test_port_of_an_ae_title_is_not_that_of_the_api(tmp_path):
    path = file(tmp_path, OWN_PORTS.format(one=5000, three=105))
    assert problems(path) == [f"{path}: application_entities[0].port = 5000 is api.port as well"]
    elsewhere = load(path, {}, ["dicom.scp.host=10.0.0.1"])  # two addresses, two sockets
    assert elsewhere.settings.api.port == 5000


def test_destination_is_not_an_ae_title_of_the_adapter(tmp_path):
    path = file(tmp_path, OWN_PORTS.format(one=104, three=105))
    flag = 'destinations=[{name = "me", ae_title = "ONE", host = "::1", port = 104}]'
    (line,) = problems(path, {}, [flag])
    assert line == "--set destinations: destinations: 'me' is this adapter itself"


@pytest.mark.parametrize(
    "host",
    ["10.0.0.0/33", "10.0.0.300", "10.0.0.1-10.0.0.9", "fe80::/129", "ct 1", "ct1..example", "1"],
)
def test_host_of_a_source_that_can_match_nobody_is_refused(host):
    flag = f'sources=[{{ae_title = "CT1", host = ["10.0.0.1", "{host}"]}}]'
    assert problems(None, {}, [flag]) == [
        f"sources[0].host: {host!r} is no address, network or name"
    ]


@pytest.mark.parametrize(
    "host",
    ["10.0.0.1", "10.0.0.9/24", "::1", "2001:db8::/32", "fe80::1%eth0", "ct1", "ct-1.example.org.",
     "7t.example"],
)  # fmt: skip
def test_host_of_a_source_is_an_address_a_network_or_a_name(host):
    flag = f'sources=[{{ae_title = "CT1", host = "{host}"}}]'
    assert load(None, {}, [flag]).settings.sources[0].hosts == [host]


# --- secrets

HASH = f"scrypt${'A' * 22}==${'B' * 43}="


def test_users_are_never_shown(tmp_path):
    path = file(tmp_path, f'[dicom.scp.user_identity.users]\nsnow_white = "{HASH}"\n')
    layered = load(path, {})
    assert layered.settings.dicom.scp.user_identity.users == {"snow_white": HASH}
    shown = [row for row in effective_values(layered) if row[0].startswith("dicom.scp.user_")]
    assert shown == [
        ("dicom.scp.user_identity.mode", '"accept"', "default"),
        ("dicom.scp.user_identity.users", '"(hidden)"', str(path)),
    ]
    assert "snow" not in str([*effective_values(layered)])


def test_passcode_in_place_of_its_hash_is_not_repeated():
    (line,) = problems(None, {}, ['dicom.scp.user_identity.users={snow_white = "sesame"}'])
    assert line == (
        "--set dicom.scp.user_identity.users: dicom.scp.user_identity.users: "
        "is not of the form it must have"
    )


def test_pipelines_without_a_program_are_found(tmp_path):
    text = """
[platform]
engine = "command"
pipelines = [{ id = "p1", command = ["/bin/true"] }]
[[application_entities]]
name = "brain"
ae_title = "BRAIN"
pipelines = { a = "p1", b = "p3" }
settings = { pipeline-lung = "p2" }
"""
    settings = load(file(tmp_path, text), {}).settings
    assert list(pipelines_without_program(settings)) == [
        "application_entities[0]: pipeline 'b': platform.pipelines has no entry with id 'p3'",
        "application_entities[0]: pipeline 'lung': platform.pipelines has no entry with id 'p2'",
    ]


# --- showing it


def test_effective_values_name_their_origin(tmp_path):
    path = file(tmp_path, ENTITY)
    rows = {key: (value, origin) for key, value, origin in effective_values(
        load(path, {"DICOM_ADAPTER__DICOM__SCP__PORT": "104"}))}  # fmt: skip
    assert rows["dicom.scp.port"] == ("104", "DICOM_ADAPTER__DICOM__SCP__PORT")
    assert rows["dicom.scp.max_pdu"] == ("131072", "default")
    value, origin = rows["application_entities"]
    assert json.loads(value)[0]["ae_title"] == "BRAIN"
    assert origin == str(path)


def test_schema_describes_every_top_level_key():
    schema = json_schema()
    settings = schema["$defs"]["Settings"]["properties"]
    assert set(settings) == set(Settings.__struct_fields__)


def test_text_that_spells_a_number_is_text_where_text_is_due():
    layered = load(None, {"DICOM_ADAPTER__DICOM__SCU__AE_TITLE": "123"}, ["dicom.scp.port=104"])
    assert layered.settings.dicom.scu.ae_title == "123"
    assert layered.settings.dicom.scp.port == 104
    quoted = load(None, {}, ['dicom.scu.ae_title="NO"'])
    assert quoted.settings.dicom.scu.ae_title == "NO"


# --- engine http


HTTP = ("platform.engine=http", "platform.endpoint=https://platform.example.org:8443/api")


@pytest.mark.parametrize(
    "endpoint",
    [
        "", "platform.example.org", "ftp://a/", "https://", "http://a:port/", "http://a:0/",
        "http://a:99999/", "https://me:secret@a/", "https://a/?x=1", "https://a/#x", "http://a/ b",
    ],
)  # fmt: skip
def test_engine_http_needs_an_endpoint_and_nothing_else_in_it(endpoint):
    (problem,) = problems(flags=(HTTP[0], f'platform.endpoint="{endpoint}"'))
    assert "platform.endpoint" in problem


def test_engine_http_takes_one_key():
    assert load(None, {}, HTTP).settings.platform.engine == "http"
    both = ("platform.http.api_key=a-key", "platform.http.api_key_file=/run/key")
    (problem,) = problems(flags=(*HTTP, *both))
    assert problem == "platform.http.api_key_file: there is platform.http.api_key as well"


def test_api_key_is_never_shown():
    layered = load(None, {"DICOM_ADAPTER__PLATFORM__HTTP__API_KEY": "s3cret-key"}, HTTP)
    assert layered.settings.platform.http.api_key == "s3cret-key"
    assert not [row for row in effective_values(layered) if "s3cret-key" in row[1]]
    (problem,) = problems(flags=(*HTTP, 'platform.http.api_key="s3cret key"'))
    assert "s3cret" not in problem


# --- destinations of other types


def destination_problems(text):
    return [line.partition(": ")[2] for line in problems(None, {}, [f"destinations=[{{{text}}}]"])]


def test_folder_destination_needs_nothing_but_its_path():
    flag = 'destinations=[{name = "watched", type = "folder", path = "/srv/in"}]'
    assert load(None, {}, [flag]).settings.destinations[0].path == "/srv/in"


def test_keys_of_another_type_and_missing_ones_are_told_at_once():
    assert destination_problems('name = "x", type = "folder", ae_title = "X", port = 104') == [
        "destinations[0].path: is missing",
        "destinations[0].ae_title: is for destinations of type 'dicom'",
        "destinations[0].port: is for destinations of type 'dicom'",
    ]
    assert destination_problems('name = "x", path = "/srv"') == [
        "destinations[0].ae_title: is missing",
        "destinations[0].host: is missing",
        "destinations[0].port: is missing",
        "destinations[0].path: is for destinations of type 'folder'",
    ]


def test_unknown_type_is_one_problem():
    (line,) = destination_problems('name = "x", type = "ftp", path = "/srv"')
    assert line.endswith("(allowed: 'dicom', 'dicomweb', 'folder')")


@pytest.mark.parametrize("path", ["data", "./in", ""])
def test_path_of_a_folder_destination_begins_at_the_root(path):
    flag = f'destinations=[{{name = "x", type = "folder", path = "{path}"}}]'
    (line,) = problems(None, {}, [flag])
    assert line == f"destinations[0].path: {path!r} does not begin with /"


@pytest.mark.parametrize("path", ["/data", "/data/payloads/x", "/"])
def test_folder_destination_and_storage_are_not_within_one_another(path):
    flag = f'destinations=[{{name = "x", type = "folder", path = "{path}"}}]'
    (line,) = problems(None, {}, [flag, "storage.root=/data"])
    assert line == f"destinations[0].path: {path!r} and storage.root are within one another"


BASIC = ', authentication = "basic", user = "me"'
WEB = 'name = "x", type = "dicomweb", url = "https://web.example.org/rs"'


@pytest.mark.parametrize(
    "more",
    [
        "",
        ', authentication = "basic", user = "me", password_file = "/run/p"',
        ', authentication = "basic", user = "me", password_environment = "P"',
        ', authentication = "bearer", token_file = "/run/t", batch_size = 100, answer_s = 600',
        ', authentication = "bearer", token_environment = "T", tls = { ca = "/ca.pem" }',
        ', authentication = "mtls", tls = { certificate = "/c.pem" }',
    ],
)
def test_dicomweb_destination_takes_its_kinds_of_authentication(more):
    flag = f"destinations=[{{{WEB}{more}}}]"
    assert load(None, {}, [flag]).settings.destinations[0].type == "dicomweb"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (', authentication = "basic"', [
            "user: authentication \"basic\" needs it",
            "password_file: authentication \"basic\" needs either it or password_environment",
        ]),
        (BASIC + ', password_file = "/p", password_environment = "P"', [
            "password_file: authentication \"basic\" needs either it or password_environment",
        ]),
        (', user = "me", token_file = "/t"', [
            "user: authentication \"none\" has none",
            "token_file: authentication \"none\" has no use for it",
        ]),
        (', authentication = "bearer", password_file = "/p"', [
            "password_file: authentication \"bearer\" has no use for it",
            "token_file: authentication \"bearer\" needs either it or token_environment",
        ]),
        (', authentication = "mtls"', ["tls.certificate: authentication \"mtls\" needs it"]),
        (', tls = { key = "/k.pem" }', ["tls.key: a key needs its certificate"]),
    ],
)  # fmt: skip
def test_keys_of_another_authentication_are_told_at_once(more, expected):
    found = problems(None, {}, [f"destinations=[{{{WEB}{more}}}]"])
    assert found == [f"destinations[0].{line}" for line in expected]


@pytest.mark.parametrize(
    "url",
    ["", "web", "ftp://web", "https://me:pw@web", "https://web?q", "https://web#f", "http:///x"],
)
def test_url_of_a_service_is_one(url):
    flag = f'destinations=[{{name = "x", type = "dicomweb", url = "{url}"}}]'
    (line,) = problems(None, {}, [flag])
    assert line.startswith("destinations[0].url: is no address such as https://")
    assert "pw" not in line


def test_tls_needs_https():
    flag = 'destinations=[{name = "x", type = "dicomweb", url = "http://web", tls = {}}]'
    assert problems(None, {}, [flag]) == ["destinations[0].tls: url is without TLS"]


def test_password_itself_is_no_key():
    (line,) = destination_problems(f'{WEB}, password = "s3cret"')
    assert "unknown key" in line
    assert "s3cret" not in line


def test_secret_that_goes_in_the_clear_is_warned_of():
    text = WEB.replace("https", "http") + ', authentication = "bearer", token_file = "/t"'
    (line,) = warnings(load(None, {}, [f"destinations=[{{{text}}}]"]).settings)
    assert line == 'destinations[0].url: authentication "bearer" without https is readable'
