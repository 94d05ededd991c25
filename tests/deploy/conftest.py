"""Tests of deploy/: skipped where their tools are not installed, unless REQUIRE_PEERS=1.

`make deploy-tools` installs them (locks/deploy.lock).
"""

import importlib
from types import ModuleType

import pytest
from health import missing


def tool(name: str) -> ModuleType:
    """Return a module that only these tests need."""
    try:
        return importlib.import_module(name)
    except ImportError:
        missing(f"{name} is not installed: make deploy-tools")
        raise


@pytest.fixture(scope="session")
def helm() -> ModuleType:
    """Helm itself, as a library."""
    return tool("helm_python")


@pytest.fixture(scope="session")
def kubernetes() -> ModuleType:
    """What validates against the schemas of Kubernetes."""
    return tool("kubernetes_validate")


@pytest.fixture(scope="session")
def compose() -> ModuleType:
    """What knows the Compose specification."""
    return tool("compose_spec")
