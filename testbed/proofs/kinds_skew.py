"""Skew: a workload is upgraded to a control plane that its proxy does not understand, and its callers get 503.

The revision `skew` sends filters that the testbed's Envoys do not have. They refuse every listener, the new pod never
becomes ready, and the old one has gone: the callers' proxies answer 503 for it (no healthy upstream). Restarting the
callers, the control plane, or the workload itself heals nothing. `realign` does: with the label already put back it
restarts the one workload whose proxy comes from the wrong revision; else it moves the namespace by `--to-revision`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from testbed.api import Testbed
from testbed.proofs import controls, kinds_shop, kinds_stage
from testbed.proofs.break_glass import CONTEXT, BreakGlassError, MeshguardCli
from testbed.proofs.kinds_plan import ProofError
from testbed.shop.records import Records, Window
from testbed.waiting import wait_until

WATCH_S = 6
LEAST_FAILING = 0.9
"""The share of requests that must fail after a restart of the wrong thing, else nothing was proven."""
_NAMESPACE, _METER, _STEADY = kinds_shop.SKEW, kinds_shop.METER, kinds_shop.STEADY
#: What people restart when they see 503, one after the other.
_WRONG = (
    ("the caller", kinds_shop.CLIENT, f"deployment/{kinds_shop.CALLER}"),
    ("the control plane", "istio-system", "deployment/istiod"),
    ("the new control plane", "istio-system", "deployment/istiod-skew"),
)
_MARK = '{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":null}}}}}'


@dataclass
class Spans:
    """When what was the case."""

    broken: Window
    wrong: dict[str, Window]
    healed: Window

    def windows(self) -> Iterator[tuple[str, Window]]:
        """Every span with its title."""
        yield "skew", self.broken
        yield from ((f"skew after a restart of {what}", window) for what, window in self.wrong.items())
        yield "skew after realign", self.healed


@dataclass
class Tally:
    """What the callers of the upgraded workload saw, over all runs."""

    sent: int = 0
    got_503: int = 0
    after_wrong_sent: int = 0
    after_wrong_503: int = 0
    after_realign_sent: int = 0
    after_realign_failed: int = 0
    weak: list[str] = field(default_factory=list)
    """Spans in which too few requests failed for a proof."""

    def add(self, spans: Spans, records: Records) -> None:
        """Count one run, and print it."""
        for title, window in spans.windows():
            requests = [r for r in records.within(window).requests if r.edge.endswith(f"->{_METER.name}")]
            failed = sum(r.failed for r in requests)
            refused = sum(any(leg.status == 503 for leg in r.legs) for r in requests)
            print(f"  {title}: {refused} of {len(requests)} answered 503, {failed} failed", flush=True)
            if window is spans.healed:
                self.after_realign_sent += len(requests)
                self.after_realign_failed += failed
                continue
            self.sent += len(requests)
            self.got_503 += refused
            if window is not spans.broken:
                self.after_wrong_sent += len(requests)
                self.after_wrong_503 += refused
            if refused < LEAST_FAILING * len(requests):
                self.weak.append(f"{title}: only {refused} of {len(requests)} answered 503")

    def answer(self) -> dict[str, int]:
        """The figures for the last line."""
        return {
            "skew_503": self.got_503,
            "skew_503_after_wrong_restarts": self.after_wrong_503,
            "skew_sent_after_wrong_restarts": self.after_wrong_sent,
            "skew_sent_after_realign": self.after_realign_sent,
            "skew_failed_after_realign": self.after_realign_failed,
        }

    def judge(self) -> None:
        """Raise ProofError when the wrong restarts healed, or the right one did not."""
        if self.weak:
            raise ProofError("; ".join(self.weak))
        if self.after_realign_failed or not self.after_realign_sent:
            raise ProofError(f"{self.after_realign_failed} of {self.after_realign_sent} failed after realign")


def make(testbed: Testbed, meshguard: MeshguardCli, *, to_revision: bool) -> Spans:
    """Bring skew about, restart the wrong things, realign, and leave the namespace as it was.

    With `to_revision` the namespace is still labelled for the wrong revision when realign comes.
    """
    steady = _uids(testbed)
    _label(testbed, "istio.io/rev=skew", "istio-injection-")
    testbed.kubectl("-n", _NAMESPACE, "rollout", "restart", f"deployment/{_METER.name}")
    wait_until(lambda: _replaced(testbed), 60, "the upgraded workload's old pod to go", 0.5)
    broken = controls.calm(seconds=WATCH_S)
    wrong = {
        what: _restarted(testbed, namespace, workload, ready=namespace != _NAMESPACE)
        for what, namespace, workload in (*_WRONG, ("the workload itself", _NAMESPACE, f"deployment/{_METER.name}"))
    }
    if not to_revision:
        _label(testbed, "istio.io/rev-", "istio-injection=enabled")
    _realign(meshguard, ("--to-revision", "default") if to_revision else ())
    spans = Spans(broken, wrong, controls.calm(seconds=WATCH_S))
    if _uids(testbed) != steady:
        raise ProofError("realign restarted a workload whose proxy fits")
    _tidy(testbed)
    return spans


def _label(testbed: Testbed, *labels: str) -> None:
    testbed.kubectl("label", "namespace", _NAMESPACE, *labels, "--overwrite")


def _uids(testbed: Testbed) -> frozenset[str]:
    return kinds_stage.uids(kinds_stage.pods(testbed)[_STEADY])


def _replaced(testbed: Testbed) -> bool:
    pods = kinds_stage.pods(testbed)[_METER]
    revisions = [pod["metadata"].get("annotations", {}).get("istio.io/rev", "") for pod in pods]
    return bool(pods) and all(revision == "skew" for revision in revisions)


def _restarted(testbed: Testbed, namespace: str, workload: str, *, ready: bool) -> Window:
    """Restart something, wait for it where it can come up at all, and watch."""
    testbed.kubectl("-n", namespace, "rollout", "restart", workload)
    if ready:
        testbed.kubectl("-n", namespace, "rollout", "status", workload, "--timeout=180s")
    return controls.calm(seconds=WATCH_S)


def _realign(meshguard: MeshguardCli, options: Sequence[str]) -> None:
    consent = ("--accept-interruption", f"{_NAMESPACE}/{_METER.name}")
    asked = ("realign", "-n", _NAMESPACE, *options, *consent)
    started = time.monotonic()
    done = meshguard.call(*asked, "--context", CONTEXT, "--reason", "proof: skew", "--yes")
    if done.returncode:
        raise BreakGlassError(f"realign: exit code {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    print(f"  realign {' '.join(options)}: {time.monotonic() - started:.0f} s", flush=True)


def _tidy(testbed: Testbed) -> None:
    """Take the restart marks back, and the label, so that the next run begins where this one did."""
    _label(testbed, "istio.io/rev-", "istio-injection=enabled")
    for _what, namespace, workload in (*_WRONG, ("", _NAMESPACE, f"deployment/{_METER.name}")):
        testbed.kubectl("-n", namespace, "patch", workload, "--type=merge", "-p", _MARK)
        testbed.kubectl("-n", namespace, "rollout", "status", workload, "--timeout=180s")
