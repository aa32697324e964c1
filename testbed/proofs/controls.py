"""What the proof is compared with: a refusal, calm, the textbook recipe, and a plain rollout inside the mesh."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.api import Testbed
from testbed.proofs.break_glass import CONTEXT, MeshguardCli
from testbed.shop.records import Window
from testbed.waiting import wait_until

_CLIENT = "shop-web"
_WORKLOADS = (
    ("shop-web", "deployment/storefront"),
    ("shop-core", "deployment/cart"),
    ("shop-core", "deployment/catalogue"),
    ("shop-core", "statefulset/stock"),
    ("shop-core", "daemonset/agent"),
    ("shop-pay", "deployment/payments"),
    ("shop-pay", "deployment/ledger"),
)
_TEXTBOOK_WATCH_S = 12
_WRITES = ("create", "update", "patch", "delete")
#: Reviews and dry runs are sent by the same verbs and change nothing.
_HARMLESS = ("selfsubjectrulesreviews", "selfsubjectaccessreviews")


@dataclass(frozen=True)
class Compared:
    """The spans of the two controls."""

    textbook: Window
    rollout: Window


def refused_without_consent(testbed: Testbed, meshguard: MeshguardCli, namespaces: Sequence[str]) -> list[str]:
    """Try the exit without consents: exit code 4, and the audit log shows no write. Returns what was wrong."""
    seen = testbed.audit_log.stat().st_size
    scope = [word for namespace in namespaces for word in ("-n", namespace)]
    done = meshguard.call("exit", *scope, "--context", CONTEXT, "--reason", "no consents", "--yes")
    wrong = [] if done.returncode == 4 else [f"exit without consents: exit code {done.returncode}: {done.stderr}"]
    return [*wrong, *(f"without consents meshguard wrote: {write}" for write in writes_since(testbed.audit_log, seen))]


def writes_since(audit_log: Path, offset: int) -> list[str]:
    """Return meshguard's writes that the audit log holds from this offset on."""
    with audit_log.open() as log:
        log.seek(offset)
        events = [json.loads(line) for line in log if line.endswith("\n")]
    return [
        f"{event['verb']} {event['requestURI']}"
        for event in events
        if event.get("userAgent", "").startswith("meshguard")
        and event["verb"] in _WRITES
        and "dryRun=All" not in event["requestURI"]
        and event["objectRef"].get("resource") not in _HARMLESS
        and event["objectRef"].get("subresource") != "portforward"
    ]


def calm(seconds: int) -> Window:
    """Let a span of time pass in which nothing is done: it is what is measured."""
    start = time.time_ns()
    wait_until(lambda: time.time_ns() - start >= seconds * 1_000_000_000, seconds + 5, "the calm span to pass", 0.2)
    return Window(start, time.time_ns())


def compare(testbed: Testbed) -> Compared:
    """Make both controls, and leave everything as it was."""
    rollout = _rollout(testbed)
    return Compared(_textbook(testbed), rollout)


def _rollout(testbed: Testbed) -> Window:
    """Restart everything inside the mesh, as any deployment does: the shop's own floor."""
    start = time.time_ns()
    _restart(testbed, _WORKLOADS)
    end = time.time_ns()
    _take_mark_back(testbed, _WORKLOADS)
    return Window(start, end)


def _textbook(testbed: Testbed) -> Window:
    """Strip the label of the client's namespace and restart, as everybody documents it; then put it back."""
    client = [pair for pair in _WORKLOADS if pair[0] == _CLIENT]
    testbed.kubectl("label", "namespace", _CLIENT, "istio-injection-")
    _restart(testbed, client)
    outage = calm(seconds=_TEXTBOOK_WATCH_S)
    testbed.kubectl("label", "namespace", _CLIENT, "istio-injection=enabled")
    _take_mark_back(testbed, client)
    return outage


def _restart(testbed: Testbed, workloads: Sequence[tuple[str, str]]) -> None:
    for namespace, workload in workloads:
        testbed.kubectl("-n", namespace, "rollout", "restart", workload)
    _rolled_out(testbed, workloads)


def _take_mark_back(testbed: Testbed, workloads: Sequence[tuple[str, str]]) -> None:
    """Remove what `kubectl rollout restart` wrote into the templates; that is a rollout of its own."""
    patch = '{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":null}}}}}'
    for namespace, workload in workloads:
        testbed.kubectl("-n", namespace, "patch", workload, "--type=merge", "-p", patch)
    _rolled_out(testbed, workloads)


def _rolled_out(testbed: Testbed, workloads: Sequence[tuple[str, str]]) -> None:
    """Wait until every old pod is gone, not only until the new ones are ready."""
    for namespace, workload in workloads:
        testbed.kubectl("-n", namespace, "rollout", "status", workload, "--timeout=180s")
    spaces = sorted({namespace for namespace, _ in workloads})

    def settled() -> bool:
        listed = [json.loads(testbed.kubectl("-n", space, "get", "pods", "-o", "json"))["items"] for space in spaces]
        return not any("deletionTimestamp" in pod["metadata"] for items in listed for pod in items)

    wait_until(settled, 60, "the old pods to go", 0.5)
