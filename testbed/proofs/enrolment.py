"""What meshguard says would happen to a new pod, compared with what the API server and istiod really do.

    python -m testbed.proofs.enrolment          (QUICK=1: a sample in which every row of the tables still decides)

The full product of namespace labels, pod labels, annotations, revision, tag, leftover and host network is sent to the
real API server as dry-run creates. Compared are the outcome (injected, not injected, refused) and the revision that
injected. Every row of the rules' tables must decide at least five combinations. The last line is one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from meshguard.app import Session, Target, session
from meshguard.mesh.istio_sidecar import names
from meshguard.mesh.istio_sidecar.injector import INJECTOR_STEPS, Candidate
from meshguard.mesh.istio_sidecar.membership import Due, DueAnswer, due, injectors
from meshguard.mesh.istio_sidecar.webhooks import WEBHOOK_RULES
from meshguard.ports import Rejected
from testbed.api import Testbed
from testbed.proofs import own_cluster
from testbed.proofs.enrolment_scenery import MARK, Labels, Scenery, built, named
from testbed.proofs.record import Proof, is_quick

CONTEXT = "testbed"
LEAST_PER_ROW, LEAST_IN_ALL = 5, 300
AT_ONCE = 6
_OTHER_ROWS = ("no webhook", "nobody answers", "unknown template", "two proxies")
_UNSERVED = "never-installed"
_SLOW = ("context deadline exceeded", "Client.Timeout", "connection refused")
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Pod:
    """One combination: a pod that is to be created in a namespace."""

    namespace: Labels
    labels: dict[str, str]
    annotations: dict[str, str]
    host_network: bool = False

    def candidate(self, mark: str) -> Candidate:
        """The pod as the rules see it."""
        labels = {**self.namespace.labels, names.NAMESPACE_NAME: self.namespace.name, MARK: mark}
        return Candidate(self.namespace.name, labels, self.labels, self.annotations, self.host_network)

    def manifest(self) -> dict[str, object]:
        """The pod as the API server gets it."""
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "enrolment",
                "namespace": self.namespace.name,
                "labels": self.labels,
                "annotations": self.annotations,
            },
            "spec": {
                "hostNetwork": self.host_network,
                "containers": [{"name": "app", "image": "local/pause:dev", "imagePullPolicy": "IfNotPresent"}],
            },
        }

    def __str__(self) -> str:
        network = ", on the host's network" if self.host_network else ""
        return f"namespace {self.namespace.labels}, pod {self.labels}, annotations {self.annotations}{network}"


def namespaces(scenery: Scenery) -> list[Labels]:
    """All namespaces that the pods are created in; the last one is where the rule `auto` holds."""
    asked = ("default", "skew", scenery.stable, scenery.canary, scenery.both, scenery.gone, scenery.ignored, _UNSERVED)
    sets = [
        {**injection, **revision}
        for injection, revision in product(
            _values(names.NS_INJECTION, "enabled", "disabled", "wrong"), _values(names.REVISION, *asked)
        )
    ]
    sets += [{names.REVISION: injector.revision} for injector in scenery.injectors]
    sets.append({f"{MARK}-auto": "yes"})
    return [Labels(f"{scenery.system}-{number}", labels) for number, labels in enumerate(sets)]


def combinations(scenery: Scenery, spaces: Sequence[Labels]) -> Iterator[Pod]:
    """The full product for the cluster's own injectors, and one for the settings of the injectors of our own."""
    own = {injector.revision for injector in scenery.injectors}
    injects = _values(names.POD_INJECT, "true", "false", "yes")
    revisions = _values(names.REVISION, "default", scenery.canary, scenery.gone, _UNSERVED)
    annotations = _values(names.POD_INJECT, "true", "false")
    odd = [{names.POD_INJECT: word} for word in ("yes", "")]
    for space in spaces:
        if space.labels.get(names.REVISION) in own:
            selected = [{}, {"never": "yes"}, {"always": "yes"}, {"never": "yes", "always": "yes"}]
            for inject, annotation, extra, host in product(
                [*injects, odd[1]], [*annotations, *odd], selected, (False, True)
            ):
                yield Pod(space, {**inject, **extra}, annotation, host)
        else:
            for inject, revision, annotation, host in product(injects, revisions, annotations, (False, True)):
                yield Pod(space, {**inject, **revision}, annotation, host)
        if names.NS_INJECTION in space.labels or names.REVISION in space.labels:
            templates = _values(names.TEMPLATES_ANNOTATION, "sidecar", "sidecar, grpc-agent", "missing", "")[1:]
            for template, inject in product(templates, injects):
                yield Pod(space, inject, template)
    for system in ("kube-system", "kube-public", "kube-node-lease"):
        for inject, annotation in product(_values(names.POD_INJECT, "true", "false"), annotations):
            yield Pod(Labels(system, {}), inject, annotation)


def _values(key: str, *values: str) -> list[dict[str, str]]:
    return [{}, *({key: value} for value in values)]


def main() -> int:
    """Make the proof and return the exit code: 0 when it holds."""
    testbed = own_cluster.up()
    scenery = named()
    spaces = namespaces(scenery)
    with Proof("enrolment", quick=is_quick()) as proof, built(testbed, scenery, spaces):
        wrong = asyncio.run(_prove(testbed, scenery, spaces, proof))
    for line in wrong:
        print(f"the proof does not hold: {line}", file=sys.stderr)
    return 1 if wrong else 0


async def _prove(testbed: Testbed, scenery: Scenery, spaces: Sequence[Labels], proof: Proof) -> list[str]:
    async with session(Target(context=CONTEXT, kubeconfig=str(testbed.kubeconfig))) as opened:
        # The API server learns of webhooks in the order of their creation, and that of `auto` was made last.
        await _await_injection(opened, Pod(spaces[-1], {}, {}))
        known = injectors(await opened.snapshot())
        said = [(pod, due(pod.candidate(scenery.run), known)) for pod in combinations(scenery, spaces)]
        if is_quick():
            said = _sample(said)
        limit = asyncio.Semaphore(AT_ONCE)
        seen = await asyncio.gather(*(_really(opened, pod, limit) for pod, _ in said))
    rows: Counter[str] = Counter()
    differences = []
    open_questions: Counter[str] = Counter()
    for (pod, answer), (outcome, revision, words) in zip(said, seen, strict=True):
        rows.update(_rows(answer))
        if answer.due is Due.UNKNOWN:
            open_questions[outcome.value] += 1
            continue
        if (answer.due, answer.revision if answer.due is Due.INJECTED else "") != (outcome, revision):
            differences.append(
                f"{pod}: said {answer.due} {answer.revision} ({answer.reason}); is {outcome} {revision} {words}"
            )
    every_row = [*(rule.name for rule in WEBHOOK_RULES), *(step.name for step in INJECTOR_STEPS), *_OTHER_ROWS]
    for row in every_row:
        print(f"  {row:<18} decided {rows[row]}")
    proof.count("decided by", rows)
    proof.count("outcomes", Counter(outcome.value for outcome, _, _ in seen))
    decided = len(said) - open_questions.total()
    print(f"  left to the dry run by the rules: {open_questions.total()}; really {dict(open_questions)}")
    proof.count("left to the dry run", open_questions)
    proof.note({"differences": differences, "webhooks": len(known)})
    proof.say({"combinations": decided, "differences": len(differences)})
    few = [f"row {row!r} decided only {rows[row]} combinations" for row in every_row if rows[row] < LEAST_PER_ROW]
    short = [f"only {decided} combinations"] if decided < LEAST_IN_ALL else []
    return [*differences, *few, *short]


def _rows(answer: DueAnswer) -> tuple[str, ...]:
    return answer.rows or ("no webhook",)


def _sample(said: list[tuple[Pod, DueAnswer]]) -> list[tuple[Pod, DueAnswer]]:
    """Draw a reproducible sample in which every row still decides often enough."""
    shuffled = random.Random(1).sample(said, len(said))
    begin = LEAST_IN_ALL + 10 * LEAST_PER_ROW  # some of them are left to the dry run
    chosen, rest = shuffled[:begin], shuffled[begin:]
    rows = Counter(row for _, answer in chosen for row in _rows(answer))
    for pair in rest:
        if any(rows[row] < LEAST_PER_ROW for row in _rows(pair[1])):
            chosen.append(pair)
            rows.update(_rows(pair[1]))
    return chosen


async def _really(opened: Session, pod: Pod, limit: asyncio.Semaphore) -> tuple[Due, str, str]:
    """Send the pod as a dry run: the outcome, the revision that injected, and the words of a refusal.

    Raises TimeoutError when istiod stays too slow to answer: that says nothing about the rules.
    """
    async with limit, asyncio.timeout(_PATIENCE_S):
        while True:
            try:
                admitted = await opened.cluster.admit_pod(pod.manifest())
            except Rejected as refused:
                if any(word in str(refused) for word in _SLOW):
                    await asyncio.sleep(0.5)
                    continue
                return Due.REFUSED, "", str(refused)
            break
    spec = admitted["spec"]
    containers = [c["name"] for c in (*spec["containers"], *(spec.get("initContainers") or ()))]
    if names.PROXY_CONTAINER not in containers:
        return Due.NOT_INJECTED, "", ""
    status = json.loads(admitted["metadata"]["annotations"][names.STATUS_ANNOTATION])
    return Due.INJECTED, str(status["revision"]), ""


async def _await_injection(opened: Session, pod: Pod) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            outcome, _, _ = await _really(opened, pod, asyncio.Semaphore(1))
            if outcome is Due.INJECTED:
                return
            await asyncio.sleep(0.5)


if __name__ == "__main__":
    raise SystemExit(main())
