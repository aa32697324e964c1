"""Absence that is only a missing right decides nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshguard.model.change import Change
from meshguard.model.objects import Ref
from meshguard.model.snapshot import OpenRun, Snapshot
from meshguard.plan.sight import RECORDS, SCOPE_KINDS, Blind, require_objects, require_records, require_scope
from tests.builders import shop

CART = Ref("Deployment", "shop-core", "cart")
RELAXED = Ref("PeerAuthentication", "shop-pay", "meshguard-permissive")
RUN = OpenRun("R", "jane", "why", "2026-11-01T03:00:00.000Z", ("shop-core",), {CART: (Change(("spec",), 1, 2),)})


def blind(*whats: str) -> Snapshot:
    return replace(shop().snapshot(), blind={what: f"{what} is forbidden" for what in whats})


@pytest.mark.parametrize("kind", SCOPE_KINDS)
def test_nobody_is_called_out_of_the_mesh_because_nobody_could_be_seen(kind: str) -> None:
    with pytest.raises(Blind, match=f"nothing was changed.*{kind} is forbidden"):
        require_scope(blind(kind))


def test_a_namespace_of_the_scope_must_be_seen_and_another_need_not() -> None:
    require_scope(blind("Pod in bank", "Node"), {"shop-core"})
    with pytest.raises(Blind, match="Pod in shop-core"):
        require_scope(blind("Pod in shop-core"), {"shop-core"})


def test_no_run_is_called_unknown_because_the_records_could_not_be_read() -> None:
    require_records(blind("ConfigMap in istio-system"))
    with pytest.raises(Blind, match="meshguard-system"):
        require_records(blind(RECORDS))


@pytest.mark.parametrize("what", ["Deployment", "Deployment in shop-core"])
def test_what_a_restore_must_bring_back_is_not_called_gone_because_it_could_not_be_seen(what: str) -> None:
    require_objects(blind("StatefulSet", "Deployment in bank"), RUN)
    with pytest.raises(Blind, match=what):
        require_objects(blind(what), RUN)
    with pytest.raises(Blind, match="PeerAuthentication"):
        require_objects(blind("PeerAuthentication"), replace(RUN, created={RELAXED: "uid"}))
