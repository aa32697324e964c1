"""What the plan says about the second shop before anything is done: findings, consents, and what each exit costs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testbed.api import Testbed
from testbed.proofs import controls, kinds_shop, kinds_stage
from testbed.proofs.break_glass import CONTEXT, MeshguardCli
from testbed.proofs.kinds_shop import Member

_INTERRUPTION = re.compile(r"Interruption: (\S+ \S+) has no ready pod for (\d+)-(\d+) s")
#: In the first shop: whoever leaves may call it, and then it must be told not to wait for TLS.
_SERVER_FIRST = "shop-pay/ledger:7070"
#: They stay because nothing can restart them.
_STAYING = ("bare", kinds_shop.PAUSED)


class ProofError(Exception):
    """The proof does not hold, or could not be made; the text says why."""


@dataclass(frozen=True)
class Cost:
    """How long a workload is without a ready pod, in seconds, as the plan states it."""

    low: float
    high: float


Costs = Mapping[str, Cost]
"""By workload; who is not there has no interruption."""


def consents(namespaces: Iterable[str]) -> tuple[str, ...]:
    """The options that let these namespaces leave, and nothing more."""
    spaces = set(namespaces)
    agreed = [m for m in kinds_shop.SERVERS if m.consent and m.namespace in spaces]
    targets = [_SERVER_FIRST, *(f"{m.namespace}/{m.name}" for m in agreed)]
    out = [word for target in targets for word in ("--accept-interruption", target)]
    if kinds_shop.ODD in spaces:
        out += ["--exclude", f"{kinds_shop.ODD}/{kinds_shop.PAUSED}"]
    return tuple(out)


def costs_of_exit(meshguard: MeshguardCli, namespaces: Sequence[str]) -> Costs:
    """What the plan of an exit says that its restarts cost."""
    scope = [word for namespace in namespaces for word in ("-n", namespace)]
    return costs(meshguard.json("plan", "exit", *scope, *consents(namespaces), "--context", CONTEXT))


def costs_of_restore(meshguard: MeshguardCli, run: str) -> Costs:
    """What the plan of a way back says that its restarts cost."""
    return costs(meshguard.json("plan", "restore", run, "--context", CONTEXT))


def costs(plan: Mapping[str, Any]) -> Costs:
    """What a plan says that its restarts cost, read from its words."""
    found = [match for note in plan["notes"] if (match := _INTERRUPTION.match(note))]
    return {match[1]: Cost(float(match[2]), float(match[3])) for match in found}


def wrong_in_plan(testbed: Testbed, meshguard: MeshguardCli) -> list[str]:
    """Plan the whole shop without consents: it must be refused, write nothing, and say what the table says."""
    wrong = controls.refused_without_consent(testbed, meshguard, kinds_shop.LEAVING)
    scope = [word for namespace in kinds_shop.LEAVING for word in ("-n", namespace)]
    # exit code 4, since it is blocked: the plan is printed all the same
    plan = json.loads(meshguard.call("plan", "exit", *scope, "--context", CONTEXT, "-o", "json").stdout)
    return [*wrong, *differences(plan)]


def differences(plan: Mapping[str, Any]) -> list[str]:
    """Compare a plan of the whole shop, made without consents, with the table."""
    found = {(f["code"], f["object"]): f for f in plan["findings"]}
    expected = {(code, m.ref) for m in kinds_shop.SERVERS for code in m.codes} | set(kinds_shop.OTHER_FINDINGS)
    wrong = [f"the plan does not say {code} of {ref}" for code, ref in sorted(expected - found.keys())]
    blocking = {ref for (_, ref), f in found.items() if _blocks(f) and _is_ours(ref)}
    stopping = {m.ref for m in kinds_shop.SERVERS if m.consent or m.name == kinds_shop.PAUSED}
    wrong += [f"{ref} {'blocks' if ref in blocking else 'does not block'}" for ref in sorted(blocking ^ stopping)]
    return wrong


def _is_ours(ref: str) -> bool:
    return ref.split()[-1].partition("/")[0] in kinds_shop.LEAVING


def _blocks(finding: Mapping[str, Any]) -> bool:
    return finding["severity"] == "blocks" and not finding["accepted"]


def wrong_outside(testbed: Testbed) -> list[str]:
    """Say which pods are not on the side of the mesh where the plan puts them, when all have left."""
    wrong, present = [], kinds_stage.pods(testbed)
    for member in (kinds_shop.client(), *kinds_shop.SERVERS):
        stays = member.name in _STAYING
        for pod in present[member]:
            if kinds_stage.is_meshed(pod) is not stays:
                wrong.append(f"{pod['metadata']['name']} {'left' if stays else 'did not leave'} the mesh")
    return wrong


def left_alone(testbed: Testbed) -> Mapping[str, frozenset[str]]:
    """The pods that nobody may touch, by the workload that they belong to."""
    staying = [m for m in kinds_shop.SERVERS if m.name in _STAYING]
    present = kinds_stage.pods(testbed)
    return {m.name: kinds_stage.uids(present[m]) for m in (*staying, Member("job", kinds_shop.ODD, "", "Job"))}
