"""Carries a plan out on a snapshot, one small step at a time, as a cluster would: pods are replaced one by one.

Within a wave the steps come in any order and the rollouts of its workloads interleave; between waves the awaits have
been seen, so what a wave wrote holds everywhere when the next one begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from meshguard.model.objects import Pod, Ref
from meshguard.model.plan import Plan, Step
from meshguard.model.snapshot import Snapshot, resource_of
from meshguard.plan.apply import apply
from tests.properties.oracle import Oracle, owner_of, proxied

PROXY = {"name": "istio-proxy", "image": "local/proxyv2:dev"}


class Walk:
    """One walk; `snapshot` is where it stands."""

    def __init__(self, snapshot: Snapshot, rng: Random) -> None:
        self.snapshot, self._rng, self._made = snapshot, rng, 0

    def carry_out(self, plan: Plan, run: str) -> Iterator[tuple[str, str]]:
        """Carry the plan out; yields after every small step, with its phase and what it was."""
        for phase in plan.phases:
            for wave in phase.waves:
                for what in self._wave([step.for_run(run) for step in wave.steps]):
                    yield phase.name, what

    def _wave(self, steps: list[Step]) -> Iterator[str]:
        self._rng.shuffle(steps)
        rollouts = []
        for step in steps:
            self.snapshot = apply(step, self.snapshot)
            yield f"{step.id}: {step.sentence}"
            if step.restarts and step.target in self.snapshot.resources:
                rollouts.append(self._rollout(step.target))
        while rollouts:
            rollout = self._rng.choice(rollouts)
            try:
                yield next(rollout)
            except StopIteration:
                rollouts.remove(rollout)

    def _rollout(self, workload: Ref) -> Iterator[str]:
        for pod in self._pods_of(workload):
            yield from self._replace(pod, workload, f"{workload} rolls")

    def evict(self) -> Iterator[str]:
        """Replace a pod that would come back as it is: the node is drained, and nobody asked meshguard."""
        candidates = []
        for pod in self._pods_of(None):
            workload = self.snapshot.resources.get(owner_of(pod.doc))
            if workload is not None and self._admits(workload.doc, workload.ref.namespace) == proxied(pod.doc):
                candidates.append((pod, workload.ref))
        if candidates:
            yield from self._replace(*self._rng.choice(candidates), "an eviction")

    def _pods_of(self, workload: Ref | None) -> list[Pod]:
        pods = [p for p in self.snapshot.of_kind("Pod") if isinstance(p, Pod)]
        return [pod for pod in pods if workload is None or owner_of(pod.doc) == workload]

    def _admits(self, workload: Any, namespace: str) -> bool:
        return Oracle(self.snapshot).admits(namespace, workload["spec"]["template"])

    def _replace(self, pod: Pod, workload: Ref, why: str) -> Iterator[str]:
        """The new pod serves before the old one goes; whether it has a proxy is decided when it is created."""
        owner = self.snapshot.resources[workload]
        self._made += 1
        name = f"{workload.name}-new-{self._made}"
        new = self._pod(owner.doc, workload, name, injected=self._admits(owner.doc, workload.namespace))
        self.snapshot = self.snapshot.replace([new])
        yield f"{why}: {name} is there"
        self.snapshot = self.snapshot.replace([], [pod.ref])
        yield f"{why}: {pod.ref.name} is gone"

    def _pod(self, owner: Any, workload: Ref, name: str, *, injected: bool) -> Any:
        template = owner["spec"]["template"]
        containers = [*template["spec"]["containers"], *([PROXY] if injected else [])]
        doc = {
            "metadata": {
                "name": name,
                "namespace": workload.namespace,
                "labels": {
                    **template["metadata"].get("labels", {}),
                    **({"security.istio.io/tlsMode": "istio"} if injected else {}),
                },
                "annotations": {
                    **template["metadata"].get("annotations", {}),
                    **({"sidecar.istio.io/status": '{"revision":"default"}'} if injected else {}),
                },
                "ownerReferences": [{"kind": workload.kind, "name": workload.name, "controller": True}],
            },
            "spec": {**template["spec"], "containers": containers},
            "status": {
                "phase": "Running",
                "podIP": f"10.245.{self._made // 250}.{self._made % 250 + 1}",
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }
        return resource_of(doc, "Pod")
