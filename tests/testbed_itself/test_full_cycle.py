"""The whole life of the full testbed: up in time, killed, removed without a trace, up again."""

import time

import pytest

from testbed.api import Testbed
from tests.testbed_itself.machine import kill_all, look

pytestmark = pytest.mark.testbed

_WARM_UP_SECONDS = 90


def test_up_in_time_killed_removed_without_a_trace(able_machine: None) -> None:
    testbed = Testbed()
    testbed.down()
    before = look("main")
    began = time.monotonic()
    testbed.up()
    took = time.monotonic() - began
    assert testbed.status()["healthy"]
    assert look("main").processes
    assert look("main").cgroups > before.cgroups
    kill_all("main")
    testbed.down()
    after = look("main")
    testbed.up()
    assert after == before
    assert took <= _WARM_UP_SECONDS
