"""How many descriptors this process may have, and needs."""

import resource

from adapter.errors import ConfigurationError
from adapter.settings import Settings

DESCRIPTORS_PER_ASSOCIATION = 4
"""In a receiver process: socket, link, instance, and a folder while it is synced."""
DESCRIPTORS_RESERVED = 256
"""For ledger, pipelines and logs."""


def raise_descriptor_limit(settings: Settings) -> None:
    """Take as many descriptors as we may have.

    Raises:
        ConfigurationError: The limits of `dicom` need more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    scp, scu = settings.dicom.scp, settings.dicom.scu
    associations = scp.max_associations + scu.max_associations
    needed = DESCRIPTORS_PER_ASSOCIATION * associations + scp.max_half_open
    needed += settings.api.max_connections + DESCRIPTORS_RESERVED
    if hard != resource.RLIM_INFINITY and hard < needed:
        keys = "dicom.scp.max_associations, dicom.scp.max_half_open, api.max_connections"
        raise ConfigurationError([
            f"{keys}: need {needed} descriptors, the hard limit is {hard} (ulimit -Hn)"
        ])  # fmt: skip
