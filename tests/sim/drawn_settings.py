"""Configurations of the simulated gateway: what one seed makes of the AE Titles of all."""

from random import Random

import msgspec
from fakes.instances import CT, MR, PATIENT_ID, STUDY

from adapter.domain.entities import ApplicationEntity, Destination, OneProcessor
from adapter.domain.results_service import ResultsSettings
from adapter.settings import Settings

AE_TITLES = ("AE1", "AE2")
PIPELINES = ("one", "two")

SETTINGS = msgspec.convert(
    {
        "dicom": {
            "scp": {"reject_unknown_sources": False, "max_associations": 6},
            "scu": {
                "export": {
                    "retry_delay_s": 5.0,
                    "max_retries": 1000,
                    "failure_threshold": 0.0,
                },
                "commitment": {"deadline_s": 20.0, "max_retries": 1000, "max_instances": 7},
            },
        },
        "platform": {"max_retries": 1000, "retry_delay_s": 5.0},
        "results": {"report_s": 20.0, "retry_delay_s": 2.0, "poll_ms": 5000, "fetch_s": 10.0},
        "storage": {"retention": {"completed_s": 30.0}},
        "destinations": [
            {"name": "pacs", "ae_title": "PACS", "host": "pacs", "port": 104},
            {"name": "spare", "ae_title": "SPARE", "host": "spare", "port": 104},
            {
                "name": "archive",
                "ae_title": "ARCHIVE",
                "host": "archive",
                "port": 104,
                "storage_commitment": True,
            },
            {"name": "ct1", "ae_title": "CT1", "host": "ct1", "port": 104},
        ],
        "application_entities": [
            {
                "name": title.lower(),
                "ae_title": title,
                "timeout_s": 5.0,
                "max_age_s": 60.0,
                "pipelines": {name: name for name in PIPELINES},
                "destinations": ["pacs", "archive"],
                "storage_commitment": "held",
            }
            for title in AE_TITLES
        ],
    },
    Settings,
)


def drawn_settings(rng: Random, policies: Random) -> Settings:
    """Give each AE Title policies of its own; half of what is drawn are the defaults.

    Args:
        rng: Draws everything, but
        policies: draws what is taken, what becomes of what comes again, what goes first.
    """
    return msgspec.structs.replace(
        SETTINGS,
        results=drawn_service(rng),
        destinations=list(SETTINGS.destinations),
        application_entities=[
            drawn_policies(entity, rng, policies) for entity in SETTINGS.application_entities
        ],
    )


def drawn_service(rng: Random) -> ResultsSettings:
    """Draw whether there is a Results Service elsewhere, and where its files are."""
    there = rng.choice(("", "http://service"))
    return msgspec.structs.replace(
        SETTINGS.results,
        service_url=there,
        files_url=there and rng.choice(("", "http://service/files")),
    )


def drawn_destination(seed: int) -> Destination:
    """Draw how many associations the PACS takes, and whether something else takes its place."""
    rng = Random(f"destination {seed}")
    return msgspec.structs.replace(
        SETTINGS.destinations[0],
        max_associations=rng.choice((1, 3)),
        fallback=rng.choice(("", "spare")),
        fallback_after_s=rng.choice((0.0, 20.0)),
        rate_mb_s=rng.choice((0.0, 0.00001)),
    )


def drawn_policies(entity: ApplicationEntity, rng: Random, policies: Random) -> ApplicationEntity:
    """Draw how an AE Title groups, and what it does with instances; see `drawn_settings`."""
    grouping = rng.choice(
        ("0020,000D", "0020,000D", "0020,000E", "0008,0050", "association",
         ["association", "0020,000D"])
    )  # fmt: skip
    drawn = msgspec.structs.replace(
        entity,
        grouping=grouping,
        timeout_s=drawn_timeout(grouping, rng),
        processors=drawn_processors(grouping, rng),
        max_instances=rng.choice((0, 0, 3)),
        late_arrivals=rng.choice(("new-job", "new-job", "ignore", "supplement")),
        late_arrival_window_s=rng.choice((10.0, 1000.0)),
        on_abort=rng.choice(("keep", "keep", "drop", "hold")),
        overwrite_same_instance=policies.choice((False, False, True, "keep-both")),
        ignored_sop_classes=policies.choice(([], [], [], [MR])),
        allowed_sop_classes=policies.choice(([], [], [CT], [CT, MR])),
        required_attributes=policies.choice(([], [], [], [PATIENT_ID, STUDY])),
        priority=policies.choice(("lower", "normal", "higher", "immediate")),
    )
    if policies.random() < 0.2 and drawn.timeout_s:
        return msgspec.structs.replace(drawn, grouping=PATIENT_ID)
    return drawn


def drawn_timeout(grouping: str | list[str], rng: Random) -> float:
    return rng.choice((0.0, 5.0)) if "association" in grouping else rng.choice((2.0, 5.0))


def drawn_processors(of_entity: str | list[str], rng: Random) -> list[OneProcessor]:
    """Draw an only processor, or some more: with the same groups, with others, with some of them.

    Args:
        of_entity: What the AE Title groups by.
    """
    grouping = rng.choice((of_entity, "0020,000E", "association"))
    drawn = [
        OneProcessor(name="same", processor="aetitle"),
        OneProcessor(
            name="other", processor="aetitle", grouping=grouping,
            timeout_s=drawn_timeout(grouping, rng), pipelines={"three": "three"},
        ),
        OneProcessor(name="picky"),
    ]  # fmt: skip
    return drawn[: rng.choice((0, 0, 2, 3))] if rng.random() < 0.7 else drawn[2:]
