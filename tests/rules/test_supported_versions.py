"""Which control planes are refused: versions that nobody wrote these rules for, and those that nobody can name."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from meshguard.mesh.istio_sidecar import control_plane
from meshguard.mesh.istio_sidecar.rules import IstioSidecar
from meshguard.mesh.istio_sidecar.supported import SUPPORTED
from meshguard.mesh.protocol import Consents, LeaveRequest, RealignRequest
from meshguard.model.findings import Finding
from meshguard.model.objects import Ref
from meshguard.model.snapshot import Snapshot
from meshguard.plan.build import plan_exit, plan_realign
from tests.builders import World, shop

MESH = IstioSidecar()
WEB = frozenset({"shop-web"})
DOCS = Path(__file__).parents[2] / "docs" / "support.md"


def mesh_of(image: str, **labels: str) -> Snapshot:
    return istiod(image, **labels).snapshot()


def istiod(image: str, **labels: str) -> World:
    return shop().deployment(
        "istio-system",
        "istiod",
        port=15017,
        port_name="https-webhook",
        meshed=False,
        container={"image": image},
        template_labels=labels,
    )


def refusals(snapshot: Snapshot, consents: Consents | None = None) -> list[Finding]:
    plan = plan_exit(snapshot, MESH, LeaveRequest(WEB, consents or Consents()))
    return [f for f in plan.findings if f.code.id in ("MG408", "MG409")]


@pytest.mark.parametrize("minor", ["1.24", "1.25", "1.26", "1.27", "1.28", "1.29", "1.30", "1.31"])
def test_each_supported_version_is_taken(minor: str) -> None:
    assert refusals(mesh_of(f"docker.io/istio/pilot:{minor}.2-distroless")) == []


@pytest.mark.parametrize("version", ["1.22.3", "1.23.0", "1.32.0", "2.0.0"])
def test_any_other_version_is_refused_with_the_supported_ones(version: str) -> None:
    (finding,) = refusals(mesh_of(f"docker.io/istio/pilot:{version}"), Consents(unknown_version=True))
    assert finding.code.id == "MG408"
    assert finding.blocks
    assert finding.object == Ref("Deployment", "istio-system", "istiod")
    assert finding.detail == (
        f"it is Istio {version}; supported: 1.31 (seen), 1.24, 1.25, 1.26, 1.27, 1.28, 1.29, 1.30 (claimed)"
    )


def test_a_version_that_nobody_tells_is_refused_until_that_is_accepted() -> None:
    snapshot = mesh_of("registry.example.com:5000/pilot@sha256:0123")
    (finding,) = refusals(snapshot)
    assert (finding.code.id, finding.blocks) == ("MG409", True)
    assert "supported: 1.31 (seen)" in finding.detail
    assert [f.blocks for f in refusals(snapshot, Consents(unknown_version=True))] == [False]


def test_the_label_of_the_chart_tells_the_version_of_an_image_without_one() -> None:
    assert refusals(mesh_of("local/pilot:dev", **{"app.kubernetes.io/version": "1.31.0"})) == []
    (finding,) = refusals(mesh_of("local/pilot:dev", **{"app.kubernetes.io/version": "1.20.1"}))
    assert finding.code.id == "MG408"


def test_the_version_of_an_unreleased_chart_tells_nothing() -> None:
    (finding,) = refusals(mesh_of("local/pilot:dev", **{"app.kubernetes.io/version": "1.0.0"}))
    assert finding.code.id == "MG409"


def test_what_istiod_says_itself_counts_where_nothing_else_tells() -> None:
    snapshot = mesh_of("local/pilot:dev")
    assert [p.ref.name for p in control_plane.silent_pods(snapshot)] == ["istiod-0", "istiod-1"]
    told = {Ref("Pod", "istio-system", "istiod-1"): "1.31.0-4f3a-Clean"}
    assert refusals(replace(snapshot, told_versions=told)) == []
    assert control_plane.versions(replace(snapshot, told_versions=told)) == {"default": "1.31.0-4f3a-Clean"}


def test_nobody_is_asked_where_the_image_tells() -> None:
    assert control_plane.silent_pods(mesh_of("docker.io/istio/pilot:1.22.3")) == ()


def test_a_realignment_is_refused_as_well() -> None:
    plan = plan_realign(mesh_of("docker.io/istio/pilot:1.22.3"), MESH, RealignRequest(WEB))
    assert "MG408" in {f.code.id for f in plan.blockers}


def test_the_page_of_what_is_supported_says_what_the_table_says() -> None:
    (row,) = [line for line in DOCS.read_text().splitlines() if line.startswith("| Istio control plane |")]
    seen, claimed = (set(re.findall(r"1\.\d+", cell)) for cell in row.split("|")[2:4])
    assert seen == {str(row) for row in SUPPORTED if row.seen}
    assert claimed == {str(row) for row in SUPPORTED if not row.seen}
