"""What a container has written: the simulator's containers say only that they have started and ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from meshguard.sim.api.status import Doc, bad_request


def lines_of(pod: Doc, query: Mapping[str, str], now: str) -> Iterator[str]:
    """Yield the log of a container. Raises ApiError (400) for a container that is not there or not chosen."""
    name, spec = pod["metadata"]["name"], pod["spec"]
    containers = [c["name"] for c in spec.get("containers") or ()]
    others = [c["name"] for c in (*spec.get("initContainers", ()), *spec.get("ephemeralContainers", ()))]
    chosen = query.get("container", "")
    if not chosen:
        if len(containers) > 1:
            words = " ".join(containers)
            raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{words}]")
        chosen = containers[0]
    if chosen not in (*containers, *others):
        raise bad_request(f"container {chosen} is not valid for pod {name}")
    statuses = pod.get("status", {})
    found = [*statuses.get("containerStatuses", []), *statuses.get("initContainerStatuses", [])]
    state = next((status.get("state", {}) for status in found if status["name"] == chosen), None)
    if state is None or "waiting" in state:
        reason = (state or {}).get("waiting", {}).get("reason", "ContainerCreating")
        raise bad_request(f'container "{chosen}" in pod "{name}" is waiting to start: {reason}')
    began = state.get("running", state.get("terminated", {})).get("startedAt", now)
    lines = [(began, f"{chosen} of {name} has started")]
    if "terminated" in state:
        lines.append((state["terminated"].get("finishedAt", now), f"{chosen} of {name} has ended"))
    tail = int(query.get("tailLines", len(lines)))
    stamped = query.get("timestamps") == "true"
    for at, line in lines[len(lines) - min(tail, len(lines)) :]:
        yield f"{at} {line}\n" if stamped else f"{line}\n"
