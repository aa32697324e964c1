"""Whatever goes wrong between us and the cluster, or in it: finished, or a clean part and a true sentence.

    python -m testbed.proofs.faults [SCHEDULES] [SEED]        (QUICK=1: six schedules)

A light cluster with fake pods (their proxies, which do not exist, are not asked). A schedule takes a small scope out by
the real command line and its playbook, past a proxy that answers 409, 410, 429, 500 and 503, resets, stalls, halves,
doubles, and answers with what was so before; some have an outage, in some the mesh itself breaks in the middle. A run
that stops is resumed; when the faults have ended it must finish. Then it is brought back, exactly. What is so is read
from the cluster by code that does not believe meshguard. A wrong build, which believes everything, must be caught.
The last line is one JSON object.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from testbed.api import Testbed
from testbed.proofs import fault_scenes as scenes
from testbed.proofs import objects, own_cluster
from testbed.proofs.fault_scenes import CLUSTER, CONTEXT, SPACE, World
from testbed.proofs.faulty_way import FAULTS, FaultyWay, Outage, Trouble
from testbed.proofs.machine import PROXYLESS, Machine
from testbed.proofs.record import Proof, is_quick
from testbed.waiting import wait_until

SCHEDULES, QUICK_SCHEDULES, SEED = 100, 6, "3.10"
LONG_OUTAGES, LONG_OUTAGE_S = 8, 30.0
GULLIBLE = Path(__file__).with_name("gullible")
_ATTEMPTS_UNDER_FAULTS = 2
_LONGEST_S = 420
_PARTIAL_CODES = (3, 4, 5, 6, 8)
"""Refused, blocked, partly done, verification failed, unreachable: what may be said of a run that is not done."""
_SETTINGS = "rolloutDeadlineSeconds: 20\n"


@dataclass(frozen=True)
class Schedule:
    """What goes wrong on one way out."""

    number: int
    trouble: Trouble
    scene: str = ""
    after: int = 0
    """The scene begins after so many requests."""

    def __str__(self) -> str:
        outage = self.trouble.outage
        away = [f"{outage.seconds:.0f} s {'silence' if outage.silent else 'outage'}"] if outage else []
        kinds = [f"{'/'.join(self.trouble.faults)} at {self.trouble.share:.0%}"] if self.trouble.most else []
        return f"schedule {self.number}: {', '.join([*kinds, *away, *([self.scene] if self.scene else [])])}"


@dataclass
class Tally:
    """What came of the schedules, and what was not as it should be, one line each."""

    finished: int = 0
    partial: int = 0
    wrong_done: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Unclean parts, untrue or missing sentences, runs that did not finish, restores that differ."""
    met: Counter[str] = field(default_factory=Counter)


def schedules(count: int, seed: str) -> list[Schedule]:
    """Draw the schedules; the same count and seed give the same ones."""
    names = list(scenes.SCENES)
    every = max(count // LONG_OUTAGES, 1)
    found = []
    for number in range(count):
        chance = random.Random(f"{seed}/{number}")
        faults = tuple(chance.sample(FAULTS, chance.randint(2, 5)))
        share, most = chance.uniform(0.05, 0.4), chance.randint(5, 40)
        outage: Outage | None = Outage(chance.randint(40, 120), chance.uniform(1.0, 4.0), chance.random() < 0.5)
        if number % every == 3 and count > QUICK_SCHEDULES:
            outage = Outage(chance.randint(40, 120), LONG_OUTAGE_S, chance.random() < 0.5)
        elif chance.random() < 0.6:
            outage = None
        scene = names[number // 2 % len(names)] if number % 2 else ""
        trouble = Trouble(f"{seed}/{number}", faults, share, most, outage)
        found.append(Schedule(number, trouble, scene, chance.randint(60, 140)))
    return found


class Proving:
    """One cluster, one way to it, and the schedules one after the other."""

    def __init__(self, bed: Testbed, way: FaultyWay, through: Path, scratch: Path) -> None:
        self.bed, self.way, self.through, self.scratch = bed, way, through, scratch
        self.tally = Tally()
        self.said: list[str] = []
        """What was said of parts."""
        self._settings = scratch / "meshguard.yaml"
        self._settings.write_text(_SETTINGS)
        self.before: World = scenes.facts(bed).objects
        self.after: World = {}

    def machine(self, name: str, *patches: Path) -> Machine:
        """A machine with a state folder of its own."""
        patched = patches or (PROXYLESS,)
        return Machine(self.through, self.scratch / name, CONTEXT, "prove-faults", patched, self._settings)

    def rehearse(self) -> None:
        """Go out and back when nothing goes wrong: what an exit makes of the scope is what the others are held to."""
        machine = self.machine("calm")
        self._must(*machine.call("exit", "-n", SPACE), "the calm exit")
        self.after = scenes.facts(self.bed).objects
        odd = scenes.wrong(self.after, scenes.facts(self.bed), meshed=False)
        if odd or not objects.differences(dict(self.before), dict(self.after)):
            self.tally.wrong.append(f"the calm exit: {odd or 'it changed nothing'}")
        self._back(machine, "the calm exit")

    def prove(self, schedule: Schedule) -> None:
        """Go out while things go wrong, and come back."""
        machine, began = self.machine(f"{schedule.number:03d}"), time.monotonic()
        with ExitStack() as broken:
            self.way.expect(schedule.trouble)
            attempts = self._attempts(machine, schedule, broken)
        if attempts:
            self.tally.finished += attempts == 1
            self.tally.partial += attempts > 1
        told = f"finished at attempt {attempts}" if attempts else "NOT FINISHED"
        print(f"  {schedule}: {told} after {time.monotonic() - began:.0f} s", flush=True)
        self.way.calm()
        self._back(machine, str(schedule))

    def catch_the_gullible(self) -> int:
        """Let the wrong build go out while no pod can be replaced; return how often it was caught saying done."""
        machine = self.machine("gullible", GULLIBLE)
        caught: list[str] = []
        self.way.calm()
        process = machine.start("exit", "-n", SPACE)
        wait_until(lambda: bool(machine.runs) or process.poll() is not None, _LONGEST_S, "the run to begin", 0.01)
        with scenes.no_room(self.bed):
            said, _ = process.communicate(timeout=_LONGEST_S)
            code = process.returncode
            if code == 0:
                caught = scenes.wrong(self.after, scenes.facts(self.bed), meshed=False)
            else:
                self.tally.wrong.append(f"the wrong build did not say done: {code}: {said[-500:]}")
        self._back(machine, "the wrong build")
        return int(bool(caught))

    def _attempts(self, machine: Machine, schedule: Schedule, broken: ExitStack) -> int:
        """Go on until it is done; return how many attempts that took, 0 when it was not to be had."""
        for attempt in range(1, _ATTEMPTS_UNDER_FAULTS + 3):
            if attempt > _ATTEMPTS_UNDER_FAULTS:
                self.way.calm()
                broken.close()
            where = f"{schedule}, attempt {attempt}"
            code, said = self._attempt(machine, schedule if attempt == 1 else None, broken)
            if self._judged(where, machine, code, said):
                return attempt
            self.said.append(f"{where}: exit code {code}: {_last(said)}")
            broken.close()  # what breaks in the mesh is mended for the next attempt, the way to it is not
        self.tally.wrong.append(f"{schedule}: not finished, though the faults have ended: {said[-800:]}")
        return 0

    def _attempt(self, machine: Machine, schedule: Schedule | None, broken: ExitStack) -> tuple[int, str]:
        runs = machine.runs
        process = machine.start("resume", runs[-1]) if runs else machine.start("exit", "-n", SPACE)
        if schedule and schedule.scene:
            self._break_in_time(process, schedule, broken)
        said, _ = process.communicate(timeout=_LONGEST_S)
        return process.returncode, said

    def _break_in_time(self, process: subprocess.Popen[str], schedule: Schedule, broken: ExitStack) -> None:
        wait_until(
            lambda: self.way.requests >= schedule.after or process.poll() is not None, _LONGEST_S, str(schedule), 0.05
        )
        if process.poll() is None:
            scenes.begin(broken, self.bed, schedule.scene)
            self.tally.met[schedule.scene] += 1

    def _judged(self, where: str, machine: Machine, code: int, said: str) -> bool:
        """Compare what was said with what is so; return whether it is done."""
        seen = scenes.facts(self.bed)
        if code == 0:
            odd = scenes.wrong(self.after, seen, meshed=False)
            self.tally.wrong_done += [f"{where}: said done, but {'; '.join(odd)}"] if odd else []
            return not odd
        if code not in _PARTIAL_CODES or "Traceback" in said or not said.strip():
            self.tally.wrong.append(f"{where}: exit code {code}: {said[-1500:]}")
        if not machine.runs:
            changed = objects.differences(dict(self.before), dict(seen.objects))
            self.tally.wrong += [f"{where}: no run was begun, but {line}" for line in changed]
        self.tally.wrong += [f"{where}: {line}" for line in scenes.unclean(self.before, self.after, seen)]
        return False

    def _back(self, machine: Machine, what: str) -> None:
        """Restore, and see that everything is as it was."""
        if machine.runs:
            self._must(*machine.call("restore", machine.runs[0]), f"{what}: restore")
        scenes.settled(self.bed, meshed=True)
        odd = scenes.wrong(self.before, scenes.facts(self.bed), meshed=True)
        self.tally.wrong += [f"{what}: after the restore {line}" for line in odd]

    def _must(self, code: int, said: str, what: str) -> None:
        if code:
            self.tally.wrong.append(f"{what}: exit code {code}: {said[-1500:]}")


def main(arguments: list[str]) -> int:
    """Make the proof and return the exit code: 0 when it holds."""
    quick = is_quick()
    count = QUICK_SCHEDULES if quick else int(arguments[0]) if arguments else SCHEDULES
    seed = arguments[1] if len(arguments) > 1 else SEED
    bed = own_cluster.up(CLUSTER)
    with Proof("faults", quick=quick) as proof, tempfile.TemporaryDirectory() as scratch:
        try:
            scenes.prepare(bed)
            through = Path(scratch) / "kubeconfig"
            with FaultyWay(bed, through) as way:
                proving = Proving(bed, way, through, Path(scratch))
                caught = _prove(proving, schedules(count, seed))
                watches = way.watches
        finally:
            bed.down()
        tally = proving.tally
        proof.note(
            {
                "seed": seed,
                "by": "the command line and its playbook",
                "wrong": tally.wrong,
                "watches": watches,
                "said": proving.said,
            }
        )
        proof.count("met", tally.met + way.met)
        proof.say(
            {
                "schedules": count,
                "finished": tally.finished,
                "partial": tally.partial,
                "wrong_done": len(tally.wrong_done),
                "wrong": len(tally.wrong),
                "control_wrong_done": caught,
            }
        )
    for line in (*proving.said, *tally.wrong_done, *tally.wrong):
        print(line, file=sys.stderr)
    return 1 if tally.wrong_done or tally.wrong or not caught or tally.finished + tally.partial < count else 0


def _last(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith(("to come back", "look at"))]
    return lines[-1] if lines else ""


def _prove(proving: Proving, chosen: list[Schedule]) -> int:
    proving.rehearse()
    for schedule in chosen:
        if len(proving.tally.wrong) > 20:
            break
        proving.prove(schedule)
    return proving.catch_the_gullible()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
