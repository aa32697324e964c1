"""Fixtures for pytest: the full testbed, one for the whole run, and light clusters.

Use them by importing them in a ``conftest.py``. On a machine that cannot carry a testbed their tests are skipped with
a sentence that says why; where ``MESHGUARD_REQUIRE_TESTBED=1`` is set they fail instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from testbed import full
from testbed.api import Testbed
from testbed.errors import TestbedError

REQUIRE = "MESHGUARD_REQUIRE_TESTBED"


@pytest.fixture(scope="session")
def able_machine() -> None:
    """Skip where no testbed can be had."""
    try:
        full.require_machine()
    except TestbedError as error:
        if os.environ.get(REQUIRE) == "1":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def testbed(able_machine: None) -> Testbed:
    """Return the full testbed, up and healthy. It stays up after the run: the next one starts at once."""
    bed = Testbed()
    bed.up()
    return bed


@pytest.fixture
def light_cluster(able_machine: None) -> Iterator[Callable[[str], Testbed]]:
    """Return a function that brings up a light cluster by its name; all are taken down after the test."""
    clusters: list[Testbed] = []

    def bring_up(name: str) -> Testbed:
        cluster = Testbed(name)
        clusters.append(cluster)
        cluster.up()
        return cluster

    yield bring_up
    for cluster in clusters:
        cluster.down()
