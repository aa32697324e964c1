"""What a person is told first when a plan may not be carried out."""

from __future__ import annotations

import pytest

from meshguard.consent import Blocked, ConsentError, settle
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.objects import Ref
from meshguard.model.plan import Direction, Plan

LACKING = ["patch namespaces in the whole cluster", "create configmaps in meshguard-system"]


def plan(*codes: str) -> Plan:
    findings = tuple(Finding(CODES[code], Ref("Namespace", "", "shop"), "so it is") for code in codes)
    return Plan(Direction.EXIT, "istio-sidecar", "uid", "here", ("shop",), (), findings)


def test_all_missing_rights_are_told_before_the_record_that_cannot_be_kept() -> None:
    with pytest.raises(ConsentError, match=r"patch namespaces .*; create configmaps") as told:
        settle(plan("MG704"), LACKING)
    assert not isinstance(told.value, Blocked)


def test_with_every_right_the_record_that_cannot_be_kept_blocks() -> None:
    with pytest.raises(Blocked, match="MG704"):
        settle(plan("MG704"))


def test_what_blocks_everybody_is_told_before_the_rights_of_one() -> None:
    with pytest.raises(Blocked, match="MG301"):
        settle(plan("MG301", "MG704"), LACKING)


def test_nothing_in_the_way_settles() -> None:
    settle(plan())
