"""The columns of pods. Source: `printPod` in `pkg/printers/internalversion/printers.go`."""

from __future__ import annotations

from typing import Any

from meshguard.sim.api.status import Doc
from meshguard.sim.api.tables.ages import since

NONE = "<none>"


def row(doc: Doc, now: str) -> list[Any]:
    """The cells of one pod."""
    spec, status = doc["spec"], doc.get("status", {})
    reason = status.get("reason") or status.get("phase", "")
    if any(c.get("reason") == "SchedulingGated" for c in status.get("conditions", ())):
        reason = "SchedulingGated"
    restarts, last_restart = 0, ""
    native = [c for c in spec.get("initContainers", ()) if c.get("restartPolicy") == "Always"]
    total = len(spec.get("containers") or ()) + len(native)
    init, reason, initializing, restarts, ready, last_restart = _init(spec, status, reason)
    if not initializing or _initialized(status):
        restarts, last_restart, has_running = (init if native else 0), last_restart if native else "", False
        for container in reversed(status.get("containerStatuses", [])):
            restarts += container.get("restartCount", 0)
            last_restart = max(last_restart, _finished(container))
            state = container.get("state", {})
            waiting, terminated = state.get("waiting", {}), state.get("terminated")
            if waiting.get("reason"):
                reason = waiting["reason"]
            elif terminated is not None:
                reason = terminated.get("reason") or _exit(terminated)
            elif container.get("ready") and state.get("running") is not None:
                has_running = True
                ready += 1
        if reason == "Completed" and has_running:
            ready_condition = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ()))
            reason = "Running" if ready_condition else "NotReady"
    if doc["metadata"].get("deletionTimestamp"):
        reason = "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    shown = f"{restarts} ({since(last_restart, now)} ago)" if restarts and last_restart else str(restarts)
    gates = spec.get("readinessGates", ())
    return [
        doc["metadata"]["name"],
        f"{ready}/{total}",
        reason,
        shown,
        since(doc["metadata"].get("creationTimestamp"), now),
        status.get("podIP") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _gates(gates, status) if gates else NONE,
    ]


def _init(spec: Doc, status: Doc, reason: str) -> tuple[int, str, bool, int, int, str]:
    """What the init containers say: restarts of sidecars, reason, whether one works, restarts, ready, last restart."""
    native = {c["name"] for c in spec.get("initContainers", ()) if c.get("restartPolicy") == "Always"}
    restarts, native_restarts, ready, last, native_last = 0, 0, 0, "", ""
    statuses = status.get("initContainerStatuses", [])
    for number, container in enumerate(statuses):
        restarts += container.get("restartCount", 0)
        last = max(last, _finished(container))
        is_native = container["name"] in native
        if is_native:
            native_restarts += container.get("restartCount", 0)
            native_last = max(native_last, _finished(container))
        state = container.get("state", {})
        terminated, waiting = state.get("terminated"), state.get("waiting", {})
        if terminated is not None and terminated.get("exitCode") == 0:
            continue
        if is_native and container.get("started"):
            ready += 1 if container.get("ready") else 0
            continue
        if terminated is not None:
            reason = "Init:" + (terminated.get("reason") or _exit(terminated))
        elif waiting.get("reason") and waiting["reason"] != "PodInitializing":
            reason = "Init:" + waiting["reason"]
        else:
            reason = f"Init:{number}/{len(spec.get('initContainers', ()))}"
        return native_restarts, reason, True, restarts, ready, last
    return native_restarts, reason, False, restarts, ready, native_last


def _initialized(status: Doc) -> bool:
    return any(c["type"] == "Initialized" and c["status"] == "True" for c in status.get("conditions", ()))


def _finished(container: Doc) -> str:
    return str(container.get("lastState", {}).get("terminated", {}).get("finishedAt", ""))


def _exit(terminated: Doc) -> str:
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _gates(gates: Any, status: Doc) -> str:
    true = {c["type"] for c in status.get("conditions", ()) if c["status"] == "True"}
    return f"{sum(gate['conditionType'] in true for gate in gates)}/{len(gates)}"
