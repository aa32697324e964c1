"""Can this person break this glass now? Independent checks with deadlines; partial answers count."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from meshguard import app
from meshguard.cluster.errors import ConfigError
from meshguard.journal import mirror
from meshguard.mesh.istio_sidecar import membership
from meshguard.mesh.istio_sidecar.rights import RIGHTS
from meshguard.model.objects import Pod
from meshguard.model.proxy import ProxyUnreachable
from meshguard.model.rights import OWN_NAMESPACE, Purpose
from meshguard.plan.rights import all_for
from meshguard.ports import ClusterError, Forbidden, Unreachable

DEADLINE_S = 8.0
"""For everything that asks the cluster; the rest of the promised ten seconds is for starting up."""

SAMPLE = 16
"""How many proxies are read to see what reading all of them would take."""
LARGE_FLEET = 2_400


@dataclass(frozen=True)
class CheckResult:
    """One check: what was looked at, whether it is well, and what exactly was seen."""

    name: str
    ok: bool
    detail: str
    code: int = 0
    """The exit code that fits when it is not well; 0 for the general one."""


async def examine(target: app.Target) -> list[CheckResult]:
    """Make all checks; one that fails or takes too long does not keep the others from answering."""
    local = [_journal(target), _playbook()]
    try:
        async with app.session(target) as opened:
            return [await _reachable(opened), *local, *await _cluster_checks(opened)]
    except ConfigError as error:
        return [CheckResult("context", False, str(error), 2), *local]
    except Unreachable as error:
        return [CheckResult("reachable", False, str(error), 8), *local]
    except ClusterError as error:
        return [CheckResult("reachable", False, str(error), 3), *local]


async def _reachable(opened: app.Session) -> CheckResult:
    identity = await opened.cluster.identity()
    return CheckResult("reachable", True, f"context {identity.context}, Kubernetes {identity.version or 'unknown'}")


async def _cluster_checks(opened: app.Session) -> list[CheckResult]:
    checks: tuple[tuple[str, Callable[[app.Session], Awaitable[CheckResult]]], ...] = (
        ("rights", _rights),
        ("mesh", _mesh),
        ("mirror", _mirror),
        ("signals", _signals),
    )
    return list(await asyncio.gather(*(_bounded(name, check(opened)) for name, check in checks)))


async def _bounded(name: str, check: Awaitable[CheckResult]) -> CheckResult:
    try:
        async with asyncio.timeout(DEADLINE_S):
            return await check
    except TimeoutError:
        return CheckResult(name, False, f"no answer within {DEADLINE_S:.0f} s", 8)
    except Forbidden as error:
        return CheckResult(name, False, str(error), 3)
    except ClusterError as error:
        return CheckResult(name, False, str(error), 8)


async def _rights(opened: app.Session) -> CheckResult:
    wanted = all_for(Purpose.EXIT, RIGHTS)
    missing = await opened.cluster.missing_rights(wanted)
    if missing:
        return CheckResult("rights", False, f"missing for an exit anywhere: {'; '.join(missing)}", 3)
    return CheckResult("rights", True, f"all {len(wanted)} that an exit may need, in every namespace")


async def _mirror(opened: app.Session) -> CheckResult:
    why = await mirror.trouble(opened.cluster, app.own_rights())
    detail = f"runs cannot be mirrored in {OWN_NAMESPACE} (--local-journal-only works without): {why}"
    return CheckResult("mirror", not why, detail if why else f"runs can be mirrored in {OWN_NAMESPACE}", 3)


async def _mesh(opened: app.Session) -> CheckResult:
    snapshot = await opened.snapshot()
    webhooks = membership.injector_webhooks(snapshot)
    if not webhooks:
        return CheckResult("mesh", False, "no injection webhook of Istio in this cluster", 7)
    ready = membership.ready_injectors(snapshot)
    services = sorted({w.service for w in webhooks})
    told = ", ".join(f"{name} in {space} {'ready' if (space, name) in ready else 'DOWN'}" for space, name in services)
    blind = "".join(f"; not readable: {what}" for what in snapshot.blind)
    return CheckResult("mesh", bool(ready & set(services)) and not blind, told + blind, 4)


async def _signals(opened: app.Session) -> CheckResult:
    pods = [p for p in await opened.cluster.list("Pod") if isinstance(p, Pod)]
    meshed = [p for p in pods if membership.is_meshed(p) and p.ready and not p.terminating]
    if not meshed:
        return CheckResult("signals", False, "no ready proxy to ask", 7)
    asked = meshed[:SAMPLE]
    began = opened.clock.now()
    answers = await opened.signals.proxies(asked, ["inbound"])
    took = opened.clock.now() - began
    silent = [a for a in answers.values() if isinstance(a, ProxyUnreachable)]
    if silent:
        return CheckResult("signals", False, f"{silent[0].pod}: {silent[0].reason}", 8)
    fleet = took / len(asked) * LARGE_FLEET
    detail = f"{len(asked)} of {len(meshed)} proxies read in {took:.1f} s; {LARGE_FLEET:,} would take {fleet:.0f} s"
    return CheckResult("signals", True, detail)


def _journal(target: app.Target) -> CheckResult:
    folder = target.runs
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder) as probe:
            probe.write(b"x" * 4096)
            probe.flush()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return CheckResult("journal", False, f"{folder}: {error.strerror}", 3)
    return CheckResult("journal", True, f"{folder} is writable, {free // 2**20} MiB free")


def _playbook() -> CheckResult:
    found = shutil.which("ansible-playbook", path=str(Path(sys.executable).parent)) or shutil.which("ansible-playbook")
    result = CheckResult("playbook", found is not None, found or "ansible-playbook is not installed", 3)
    return replace(result, code=0) if result.ok else result
