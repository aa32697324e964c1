"""The simulated API server compared with the real one, case by case.

    python -m testbed.proofs.api          (QUICK=1: every third case, and no seeded defects)

The same requests go to the API server of a light cluster and to the stand-in: status codes, documents (without what
may differ: names drawn at random, times, UIDs), sequences of watch events and kubectl's output must be equal. Then
defects are seeded into the stand-in, one by one, and each must be seen. The last line is one JSON object.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from testbed.api import Testbed
from testbed.proofs import own_cluster
from testbed.proofs.api_cases import ALL
from testbed.proofs.api_cases.bodies import thing
from testbed.proofs.api_cases.case import Case, Command, Step, post, wait
from testbed.proofs.api_defects import DEFECTS
from testbed.proofs.api_normal import differences, normal
from testbed.proofs.api_servers import Answer, Real, Server, StandIn, asked
from testbed.proofs.record import Proof, is_quick

CLUSTER = "api-proof"
LEAST = 200
#: What the real server can and the stand-in cannot; each is answered by an error, never by a silent success.
NOT_COVERED = (
    "pods/exec, pods/attach, pods/portforward, pods/proxy, services/proxy, nodes/proxy",
    "token requests and token reviews, certificates, leases of nodes, flow control",
    "events.k8s.io and autoscaling/v1 beside their preferred versions; alpha and beta versions",
    "CEL rules of custom resource definitions and of admission policies; validating webhooks; webhooks by URL",
    "conversion between versions of a custom resource; resource quotas and limit ranges as admission",
    "OpenAPI v2; protobuf and CBOR in answers; compression; HTTP/2",
    "owners of fields that the cluster's own controllers write",
    "autoscaling, since nobody measures; volumes; images; network policies as anything but objects",
)
Seen = list[Any]
#: Objects that controllers write into at any moment; only cases that wait for them compare that.
_CONTROLLED = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "Pod", "PodDisruptionBudget")


def main() -> int:
    """Make the proof and return the exit code: 0 when it holds."""
    chosen = ALL[::3] if is_quick() else ALL
    testbed = Testbed(CLUSTER)
    with Proof("api", quick=is_quick()) as proof:
        own_cluster.up(CLUSTER)
        try:
            real = played(Real(testbed.kubeconfig), chosen)
        finally:
            testbed.down()
        stand_in = StandIn()
        try:
            other = played(stand_in, chosen)
        finally:
            stand_in.close()
        wrong = compared(chosen, real, other)
        unseen = [] if is_quick() else unseen_defects(chosen, real)
        for line in wrong:
            print(line)
        print("not covered:", *NOT_COVERED, sep="\n  ")
        proof.note({"notCovered": NOT_COVERED, "differences": wrong, "defectsNotSeen": unseen})
        proof.count("requests", {case.name: len(case.steps) for case in chosen})
        seeded = {} if is_quick() else {"defects": len(DEFECTS), "defectsNotSeen": len(unseen)}
        proof.say({"cases": len(chosen), "differences": len(wrong), **seeded})
    few = len(chosen) < LEAST and not is_quick()
    for line in (*wrong, *(f"defect not seen: {name}" for name in unseen), *(["too few cases"] if few else [])):
        print(f"the proof does not hold: {line}", file=sys.stderr)
    return 1 if wrong or unseen or few else 0


def played(server: Server, cases: Sequence[Case], prefix: str = "case") -> list[Seen]:
    """Play all cases, each in a namespace of its own, and return what was seen, made comparable."""
    names = {case.name: f"{prefix}-{number}" for number, case in enumerate(cases)}
    for name in names.values():
        server.ask(post("/api/v1/namespaces", thing("v1", "Namespace", name)))
    for name in names.values():
        asked(server, wait(f"/api/v1/namespaces/{name}/serviceaccounts/default", kind="ServiceAccount"))
        asked(server, wait(f"/api/v1/namespaces/{name}/configmaps/kube-root-ca.crt", kind="ConfigMap"))
    return [play(server, case, names[case.name]) for case in cases]


def play(server: Server, case: Case, namespace: str) -> Seen:
    """Play one case."""
    seen: Seen = []
    known = {"{ns}": namespace, "{version}": "", "{continue}": ""}
    for step in case.steps:
        if isinstance(step, Command):
            answer = server.run(step, namespace)
        else:
            step = _filled(step, known)
            answer = asked(server, step)
            _learn(answer, known)
            if step.silent:
                continue
        hides = isinstance(step, Step) and step.method != "POST" and not case.settled
        seen.append(_comparable(answer, namespace, hides_controllers=hides))
    return seen


def _filled(step: Step, known: dict[str, str]) -> Step:
    def fill(text: str) -> str:
        for mark, value in known.items():
            text = text.replace(mark, value)
        return text

    body = step.body
    if body is not None and not isinstance(body, bytes):
        body = json.loads(fill(json.dumps(body)))
    query = {name: fill(value) for name, value in step.query.items()}
    if step.watches:
        query["resourceVersion"] = known["{version}"]
    headers = tuple((name, fill(value)) for name, value in step.headers)
    return replace(step, path=fill(step.path), body=body, query=query, headers=headers)


def _learn(answer: Answer, known: dict[str, str]) -> None:
    metadata = answer.body.get("metadata") if isinstance(answer.body, dict) else None
    if isinstance(metadata, dict) and str(answer.body.get("kind", "")).endswith("List"):
        known["{version}"] = metadata.get("resourceVersion", "")
        known["{continue}"] = metadata.get("continue", "") or known["{continue}"]


def _comparable(answer: Answer, namespace: str, *, hides_controllers: bool) -> Any:
    body = answer.body
    if hides_controllers and isinstance(body, dict):
        for doc in (body, *(row["object"] or {} for row in body.get("rows", ()))):
            _hide_controllers(doc)
    if isinstance(body, list):
        body = {"events": body}
    text = json.dumps({"status": answer.status, "warnings": sorted(answer.warnings), "body": body})
    return normal(json.loads(text.replace(namespace, "NAMESPACE")))


def _hide_controllers(doc: dict[str, Any]) -> None:
    annotations = (doc.get("metadata") or {}).get("annotations")
    if annotations and doc.get("kind") in (*_CONTROLLED, "PartialObjectMetadata"):
        doc["metadata"]["annotations"] = {k: v for k, v in annotations.items() if not k.startswith("deployment.")}
        if not doc["metadata"]["annotations"]:
            del doc["metadata"]["annotations"]
    if doc.get("kind") in _CONTROLLED:
        doc.pop("status", None)


def compared(cases: Sequence[Case], real: Sequence[Seen], other: Sequence[Seen]) -> list[str]:
    """Return the differences, one line for each case that has any."""
    out = []
    for case, first, second in zip(cases, real, other, strict=True):
        found = differences(first, second)
        if found:
            out.append(
                f"{case.name}: {'; '.join(found[:6])}" + (f" and {len(found) - 6} more" if len(found) > 6 else "")
            )
    return out


def unseen_defects(cases: Sequence[Case], real: Sequence[Seen]) -> list[str]:
    """Seed one defect after the other into the stand-in and return those that no case shows."""
    quiet = [(case, seen) for case, seen in zip(cases, real, strict=True) if not _is_slow(case)]
    unseen = []
    without = _first_difference(quiet)
    if without:
        unseen.append(f"without any defect, {without!r} differs")
    for name, defect in DEFECTS.items():
        with defect():
            shown_by = _first_difference(quiet)
        print(f"  seeded: {name}; seen in: {shown_by or 'no case'}", flush=True)
        if not shown_by:
            unseen.append(name)
    return unseen


def _is_slow(case: Case) -> bool:
    """Cases that start a process or collect events for a while are not played again for every defect."""
    return any(isinstance(step, Command) or step.watches for step in case.steps)


def _first_difference(expected: Sequence[tuple[Case, Seen]]) -> str:
    """Play cases until one differs, and return its name; "" when none does."""
    server = StandIn()
    for case, seen in expected:
        try:
            played_now = played(server, [case], f"seeded-{len(case.name)}-{abs(hash(case.name))}")
        except TimeoutError:
            return case.name
        if differences(seen, played_now[0]):
            return case.name
    return ""


if __name__ == "__main__":
    raise SystemExit(main())
