"""Every form of Clara's configuration becomes one of ours, and what is lost is told."""

import json

import pytest
import tomlkit

from adapter.clara.conversion import convert
from adapter.configuration import load
from adapter.errors import ConfigurationError

JOB_PROCESSOR = "Nvidia.Clara.DicomAdapter.Server.Processors.AeTitleJobProcessor, Nvidia.Clara.Any"
OF_0_8 = """\ufeff{
  // as an operator keeps it
  "ConnectionStrings": { "DicomAdapterDatabase": "Data Source=/database/some.db" },
  "DicomAdapter": {
    "dicom": {
      "scp": {
        "port": 1104, "maximumNumberOfAssociations": 40, "rejectUnknownSources": true,
        "logDimseDatasets": false,
        "verification": { "enabled": true, "transferSyntaxes": ["1.2.840.10008.1.2.1"] },
      },
      "scu": {
        "aeTitle": "HOSPITALSCU", "maximumNumberOfAssociations": 6, "logDataPDUs": true,
        "export": { "maximumRetries": 5, "failureThreshold": 0.25, "pollFrequencyMs": 750,
                    "agent": "DICOMweb" } /* never bound */
      }
    },
    "services": {
      "platform": { "endpoint": "10.0.0.4:30002", "parallelUploads": "8", "uploadMetadata": "True",
                    "metadataDicomSource": ["0010,0020", "(0008,0060)", "0020000d", "Modality"],
                    "maxRetries": 2, "retryDelaySeconds": 90 },
      "resultsServiceEndpoint": "http://10.0.0.4:8088"
    },
    "storage": { "temporary": "/payloads", "watermarkPercent": 75, "reserveSpaceGB": 12 }
  },
  "Logging": { "LogLevel": { "Default": "Information", "System": "Warning" } },
  "AllowedHosts": "*",
}
"""
OF_0_7 = {
    "DicomAdapter": {
        "readAeTitlesFromCrd": False,
        "crdReadIntervals": 10000,
        "dicom": {
            "scp": {
                "port": 104,
                "aeTitles": [
                    {
                        "name": "Brain Tumour",
                        "aeTitle": "BrainTumor",
                        "overwriteSameInstance": True,
                        "ignoredSopClasses": ["1.2.840.10008.5.1.4.1.1.7", "not a UID"],
                        "processor": JOB_PROCESSOR,
                        "processorSettings": {
                            "timeout": "2", "jobRetryDelay": "7000", "priority": "Higher",
                            "groupBy": "(0010,0020)", "pipeline-brain_tumor": "8abf",
                            "pipeline-brain-tumor": "9abf", "groupSize": "3",
                        },
                    },
                    {"name": "echo-only", "aeTitle": "NOJOBS"},
                ],
                "max-associations": 1500,
                "reject-unknown-sources": False,
                "sources": [
                    {"hostIp": "10.1.2.3", "aeTitle": "CT1"},
                    {"hostIp": "10.1.2.300", "aeTitle": "CT2"},
                ],
            },
            "scu": {
                "ae-title": "ClaraSCU",
                "destinations": [
                    {"name": "PACS 1", "aeTitle": "PACS1", "hostIp": "10.0.0.9", "port": "104"},
                    {"name": "x", "aeTitle": "WAYTOOLONGFORANAETITLE", "hostIp": "h", "port": 1},
                ],
            },
        },
        "services": {"platformEndpoint": "10.0.0.4:30002", "resultsServiceEndpoint": "nowhere"},
        "storage": {"temporary": "/payloads"},
    },
    "Serilog": {"MinimumLevel": {"Default": "Debug"}, "WriteTo": [{"Name": "Console"}]},
}  # fmt: skip
APP_YAML = """
dicom:
  scp:
    port: 1004
    ae-titles:
      - ae-title: LIVER
        timeout: 0
        processors: ["Nvidia.Clara.Dicom.Processors.JobProcessor,Nvidia.Clara.DicomServer"]
      - { ae-title: PATIENTS, timeout: 30, timeout-group: Patient, overwrite-same-instance: true }
      - { ae-title: WINDOW, timeout: 20, timeout-group: Association, processors: ["Own.Zip,Own"] }
      - { ae-title: IDLE }
    max-associations: 4
    reject-unknown-sources: false
    sources: [{ host-ip: 10.1.2.3, ae-title: CT1 }]
  scu:
    ae-title: CLARASCU
    max-associations: 3
    destinations: [{ name: pacs, host-ip: 10.0.0.9, port: 104, ae-title: PACS }]
workflows:
  - { name: liver, clara-ae-title: LIVER, destination-name: pacs, workflow: 613e3fce-0d96-495a }
  - { name: all, clara-ae-title: PATIENTS, destination: elsewhere, workflow: 713e3fce-0d96-495a }
  - { name: win, clara-ae-title: WINDOW, destination-name: pacs, workflow: 813e3fce-0d96-495a }
  - { name: gone, clara-ae-title: GONE, workflow: 913e3fce-0d96-495a }
storage: { temporary: /var/storage, payloads: /app/payloads, output: /app/output }
"""
SAMPLES = {
    "appsettings.json": OF_0_8,
    "appsettings-0.7.json": json.dumps(OF_0_7),
    "app.yaml": APP_YAML,
    "flat.json": '{"DicomAdapter:Dicom:Scp:Port": "11113", "dicomadapter": {"STORAGE": {}}}',
    "old-root.json": '{"dicom": {"scp": {"port": 106}}}',
    "empty.json": '{"DicomAdapter": {}}',
}


@pytest.fixture
def converted(tmp_path, request):
    return convert_text(tmp_path, request.param)


def convert_text(tmp_path, name, text=None):
    file = tmp_path / name
    file.write_text(SAMPLES[name] if text is None else text)
    return convert(file)


@pytest.mark.parametrize("converted", SAMPLES, indirect=True)
def test_every_form_becomes_a_valid_configuration(converted, tmp_path):
    assert converted.problems == []
    result = tmp_path / "adapter.toml"
    result.write_text(tomlkit.dumps(converted.tree))
    assert load(result, {}).settings == converted.settings()


@pytest.mark.parametrize("converted", ["appsettings.json"], indirect=True)
def test_keys_of_0_8_are_carried(converted):
    assert converted.tree == {
        "dicom": {
            "scp": {
                "port": 1104, "max_associations": 40, "reject_unknown_sources": True,
                "log_dimse_datasets": False,
                "verification": {"enabled": True, "transfer_syntaxes": ["1.2.840.10008.1.2.1"]},
            },
            "scu": {
                "ae_title": "HOSPITALSCU", "max_associations": 6, "log_data_pdus": True,
                "export": {"max_retries": 5, "failure_threshold": 0.25},
            },
        },
        "platform": {
            "parallel_uploads": 8, "upload_metadata": True, "max_retries": 2, "retry_delay_s": 90,
            "metadata_dicom_source": ["0010,0020", "0008,0060", "0020,000D"],
        },
        "results": {"service_url": "http://10.0.0.4:8088", "poll_ms": 750},
        "storage": {"root": "/payloads", "watermark_percent": 75, "reserve_space_gb": 12},
        "logging": {"level": "info"},
    }  # fmt: skip


@pytest.mark.parametrize("converted", ["appsettings.json"], indirect=True)
def test_what_0_8_said_besides_is_told_with_its_reason(converted):
    lost = [line for line in converted.lines if ": not carried: " in line]
    assert [line.partition(":")[0] for line in lost] == [
        "DicomAdapter.services.platform.metadataDicomSource",
        "ConnectionStrings.DicomAdapterDatabase",
        "AllowedHosts",
        "DicomAdapter.dicom.scu.export.agent",
        "DicomAdapter.services.platform.endpoint",
        "Logging.LogLevel.System",
    ]
    assert "'Modality' is no tag" in lost[0]
    notes = [line.partition(":")[0] for line in converted.lines if ": note: " in line]
    assert "DicomAdapter.dicom.scu.export.maximumRetries" in notes  # had no effect in Clara
    assert "DicomAdapter.storage.watermarkPercent" in notes


@pytest.mark.parametrize("converted", ["appsettings-0.7.json"], indirect=True)
def test_parties_of_0_7_are_carried(converted):
    tree = converted.tree
    assert tree["application_entities"] == [
        {
            "name": "Brain-Tumour", "ae_title": "BrainTumor", "overwrite_same_instance": True,
            "ignored_sop_classes": ["1.2.840.10008.5.1.4.1.1.7"], "priority": "higher",
            "grouping": "0010,0020", "settings": {"jobRetryDelay": 7000},
            "pipelines": {"brain_tumor": "8abf", "brain-tumor": "9abf"},
        }
    ]  # fmt: skip
    assert tree["sources"] == [{"ae_title": "CT1", "host": "10.1.2.3"}]
    assert tree["destinations"] == [
        {"name": "PACS-1", "ae_title": "PACS1", "host": "10.0.0.9", "port": 104}
    ]
    assert tree["dicom"]["scp"]["reject_unknown_sources"] is False
    assert tree["dicom"]["scp"]["max_associations"] == 1000
    assert tree["logging"] == {"level": "debug"}


@pytest.mark.parametrize("converted", ["appsettings-0.7.json"], indirect=True)
def test_each_line_names_a_key_and_why(converted):
    told = dict(line.split(": ", 1) for line in converted.lines)
    dicom = "DicomAdapter.dicom"
    assert "Clara did not read" in told[f"{dicom}.scp.reject-unknown-sources"]
    assert "no pipeline" in told[f"{dicom}.scp.aeTitles[1]"]
    assert "'10.1.2.300' is no address" in told[f"{dicom}.scp.sources[1]"]
    assert "ae_title" in told[f"{dicom}.scu.destinations[1]"]
    assert "no such setting" in told[f"{dicom}.scp.aeTitles[0].processorSettings.groupSize"]
    assert "'not a UID'" in told[f"{dicom}.scp.aeTitles[0].ignoredSopClasses"]
    assert "no address" in told["DicomAdapter.services.resultsServiceEndpoint"]
    assert "gRPC" in told["DicomAdapter.services.platformEndpoint"]
    assert "custom resources" in told["DicomAdapter.crdReadIntervals"]


@pytest.mark.parametrize("converted", ["app.yaml"], indirect=True)
def test_workflows_and_timeout_groups_are_carried(converted):
    assert converted.tree["application_entities"] == [
        {
            "name": "LIVER", "ae_title": "LIVER", "timeout_s": 0.0, "grouping": "association",
            "pipelines": {"liver": "613e3fce-0d96-495a"}, "destinations": ["pacs"],
        },
        {
            "name": "PATIENTS", "ae_title": "PATIENTS", "timeout_s": 30.0, "grouping": "0010,0020",
            "overwrite_same_instance": True, "pipelines": {"all": "713e3fce-0d96-495a"},
        },
        {
            "name": "WINDOW", "ae_title": "WINDOW", "timeout_s": 20.0, "grouping": "association",
            "pipelines": {"win": "813e3fce-0d96-495a"}, "destinations": ["pacs"],
        },
    ]  # fmt: skip
    told = dict(line.split(": ", 1) for line in converted.lines)
    assert "no 'elsewhere'" in told["workflows[1].destination-name"]
    assert "no AE Title 'GONE'" in told["workflows[3]"]
    assert "no pipeline" in told["dicom.scp.ae-titles[3]"]
    assert "plug-in" in told["dicom.scp.ae-titles[2].processors"]
    assert "each makes its own" in told["dicom.scp.ae-titles[2].timeout-group"]
    assert "storage.root" in told["storage.payloads"]


@pytest.mark.parametrize("converted", ["empty.json"], indirect=True)
def test_claras_defaults_are_said_where_ours_differ(converted):
    assert converted.tree == {
        "dicom": {"scp": {"port": 104}, "scu": {"ae_title": "ClaraSCU"}},
        "storage": {"root": "./payloads"},
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "{"),
        ("a.json", "[1]"),
        ("a.json", '{"Kestrel": {}}'),
        ("a.json", '{"dicom": {}, "Dicom": {}}'),
        ("a.json", "[" * 100_000),
        ("a.json", '{"dicom": "\\ud800"}'),
        ("a.json", '{"dicom": 1, "dicom:scp": {}}'),
        ("a.yaml", "a: [1"),
        ("a.yaml", ""),
        ("a.toml", "[dicom.scp]\nport = 1\n"),
    ],
)
def test_what_is_no_configuration_of_claras_is_refused(tmp_path, name, text):
    with pytest.raises(ConfigurationError) as raised:
        convert_text(tmp_path, name, text)
    (problem,) = raised.value.problems
    assert problem.startswith(f"{tmp_path / name}: ")


@pytest.mark.parametrize("value", ["null", '"x"', "[]", "{}", "-1", "1e999", "true"])
def test_values_of_any_kind_are_carried_or_told(tmp_path, value):
    scp = f'"port": {value}, "aeTitles": {value}, "sources": [{value}], "verification": {value}'
    text = f'{{"dicom": {{"scp": {{{scp}}}, "scu": {value}}}, "storage": {{"temporary": {value}}}}}'
    converted = convert_text(tmp_path, "a.json", text)
    assert converted.problems == []
    result = tmp_path / "adapter.toml"
    result.write_text(tomlkit.dumps(converted.tree), "utf-8")
    assert load(result, {}).settings == converted.settings()
