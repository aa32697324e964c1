"""The whole life of the full testbed: up, killed, removed without a trace, up again."""

import pytest

from testbed.api import Testbed
from tests.testbed_itself.machine import kill_all, look

pytestmark = pytest.mark.testbed


def test_up_killed_removed_without_a_trace(able_machine: None) -> None:
    testbed = Testbed()
    testbed.down()
    before = look("main")
    testbed.up()
    assert testbed.status()["healthy"]
    assert look("main").processes
    assert look("main").cgroups > before.cgroups
    kill_all("main")
    testbed.down()
    after = look("main")
    testbed.up()
    assert after == before
