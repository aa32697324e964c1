"""An experiment that is cut off, by a signal, at each of its actions: another machine undoes what it has left.

SIGTERM and Ctrl-C let Chaos Toolkit roll back by itself; SIGKILL lets it do nothing. Either way `meshguard chaos undo`
with an empty state folder must find the cluster as it was before.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace

import yaml

from testbed.api import Testbed
from testbed.errors import TestbedError
from testbed.proofs import objects
from testbed.proofs.break_glass import CONTEXT, MeshguardCli
from testbed.proofs.chaos_runs import CONCERNED, EXPERIMENTS, LONGEST_S, marked, settled, started
from testbed.waiting import wait_until

#: One that takes the control plane away, one that moves labels and pods, one that makes objects.
CHOSEN = ("istiod-down-injector-blocks", "version-skew-503", "job-with-sidecar-never-ends")
_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Cut:
    """Where an experiment ends."""

    experiment: str
    activity: str
    """As soon as it has begun."""
    number: signal.Signals

    def __str__(self) -> str:
        return f"{self.experiment}, {self.number.name} in {self.activity!r}"


def cuts(*, quick: bool) -> Sequence[Cut]:
    """Return where experiments are cut off: in every activity by every signal, or each once by SIGKILL."""
    out = []
    for name in CHOSEN:
        document = yaml.safe_load((EXPERIMENTS / f"{name}.yaml").read_text())
        activities = [activity["name"] for activity in document["method"]]
        chosen = [(activities[1], signal.SIGKILL)] if quick else [(a, s) for a in activities for s in _SIGNALS]
        out += [Cut(name, activity, number) for activity, number in chosen]
    return out


def survived(testbed: Testbed, meshguard: MeshguardCli, cut: Cut) -> list[str]:
    """Cut an experiment off, undo it from elsewhere, and return what is not as it was."""
    settled()
    before = objects.concerned(testbed, CONCERNED)
    with started(meshguard, cut.experiment) as run:
        wait_until(lambda: run.over or run.has_said(f": {cut.activity}"), LONGEST_S, str(cut), 0.05)
        if run.over:
            return [f"{cut}: the experiment ended before"]
        run.process.send_signal(cut.number)
        run.process.wait(LONGEST_S)
    elsewhere = replace(meshguard, state=meshguard.state.parent / f"elsewhere-{abs(hash(cut))}")
    arguments = ("--context", CONTEXT, "--reason", f"cut off: {cut}", "--take-over", "--yes")
    done = elsewhere.call("chaos", "undo", *arguments)
    wrong = [f"{cut}: chaos undo: exit code {done.returncode}: {done.stdout}{done.stderr}"] if done.returncode else []
    try:
        settled()
    except TestbedError as error:
        wrong.append(f"{cut}: {error}")
    left = [*objects.differences(before, objects.concerned(testbed, CONCERNED)), *marked(testbed)]
    print(f"cut off: {cut}: {'; '.join([*wrong, *left]) or 'as it was'}", flush=True)
    return [*wrong, *left]
