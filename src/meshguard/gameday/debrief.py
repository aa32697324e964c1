"""From the fleet's log and the deeds to the report: who noticed when, decided when, was out when, and what it cost."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from meshguard.gameday import words
from meshguard.gameday.deeds import Deed
from meshguard.gameday.pictures import pictures
from meshguard.report.document import Fact, Moment, Prediction, Report, clock
from meshguard.sim.fleet.decisions import parse
from meshguard.sim.fleet.scenario import Scenario
from meshguard.sim.fleet.world import World
from meshguard.sim.live.fleetlog import FleetLog

_EXPECTED = re.compile(r"Expected duration: (\d+)-(\d+) s")


@dataclass(frozen=True)
class Times:
    """When what happened, in seconds; None for what did not."""

    fault: float | None
    noticed: float | None
    decided: float | None
    out: float | None
    back: float | None


def times(log: FleetLog, deeds: Sequence[Deed]) -> Times:
    """Read them off the log and the deeds."""
    first = [h.at for h in log.happenings if h.kind in ("node-pressure", "oom-killed")]
    looked = [d for d in deeds if d.words[:2] == ("meshguard", "advise") and first and d.ended >= first[0]]
    noticed = next((d.ended for d in looked if words.FITS in d.output), None)
    left = next((d for d in deeds if d.words[:2] == ("meshguard", "exit") and d.code in (0, words.PARTLY)), None)
    out = next(
        (s.at for s in log.samples if left and s.at >= left.began and s.meshed == 0), left.ended if left else None
    )
    restored = next((d for d in deeds if d.words[:2] == ("meshguard", "restore") and d.code == 0), None)
    return Times(
        min(first, default=None), noticed, left.began if left else None, out, restored.ended if restored else None
    )


def report(scenario: Scenario, seed: int, log: FleetLog, deeds: Sequence[Deed]) -> Report:
    """Make the report of a game day."""
    when, begins = times(log, deeds), log.begins
    story = World(
        scenario.reduced(), seed, parse(f"by-hand@{scenario.historic.decided:g}" if scenario.historic else "nothing")
    )
    by_hand = story.play()
    moments = list(_moments(log, when, deeds))
    return Report(
        title=f"Game day: {scenario.title}",
        summary=_summary(scenario, log, when, begins),
        begins=begins,
        facts=list(_facts(scenario, log, when, by_hand.samples[-1].lost)),
        compared_with="the team of the story" if scenario.historic else "",
        moments=moments,
        pictures=pictures(log),
        predictions=list(_predictions(log, deeds)),
        findings=list(_findings(log, when)),
        commands=[f"{clock(begins, d.began)}  $ {d.line}   # exit code {d.code}" for d in deeds],
        notes=_notes(scenario),
    )


def _money(dollars: float) -> str:
    return f"${dollars / 1e6:.2f}M" if dollars >= 1e5 else f"${dollars:,.0f}"


def _summary(scenario: Scenario, log: FleetLog, when: Times, begins: str) -> str:
    lost = log.samples[-1].lost if log.samples else 0.0
    if when.out is None:
        return f"The mesh was not left. {_money(lost)} were lost."
    there = f"; the story's team lost {_money(scenario.historic.lost)}" if scenario.historic else ""
    return f"Out of the mesh at {clock(begins, when.out)[:5]}, {_money(lost)} lost{there}."


def _facts(scenario: Scenario, log: FleetLog, when: Times, by_hand: float) -> Iterator[Fact]:
    begins, story, last = log.begins, scenario.historic, log.samples[-1]

    def at(seconds: float | None) -> str:
        return "never" if seconds is None else clock(begins, seconds)[:5]

    def then(minutes: float | None) -> str:
        return "" if minutes is None else clock(begins, minutes * 60)[:5]

    yield Fact("the first node is out of memory", at(when.fault), "09:32" if story else "")
    yield Fact("noticed that it is the mesh", at(when.noticed), then(story.noticed if story else None))
    yield Fact("decided to leave it", at(when.decided), then(story.decided if story else None))
    yield Fact("out of the mesh", at(when.out), then(story.out if story else None))
    if when.fault is not None and when.out is not None:
        there = f"{story.out:.0f} min from the first symptom" if story else ""
        yield Fact("it took, from the fault", f"{(when.out - when.fault) / 60:.0f} min", there)
    yield Fact("back in the mesh", at(when.back), "three days later" if story else "")
    yield Fact("lost", _money(last.lost), _money(story.lost) if story else "")
    yield Fact("the same fleet, left by hand as in the story (model)", _money(by_hand))
    requests, failed = sum(s.requests for s in log.samples), sum(s.failed for s in log.samples)
    yield Fact("requests failed", f"{failed:,} of {requests:,} ({failed / max(1, requests):.1%})")
    yield Fact("worst P99", f"{max(s.p99_s for s in log.samples):.2g} s", "8 s" if story else "")
    cut = f" (the fleet at 1 to {scenario.cut})"
    where = "1 node" if last.evicting_nodes == 1 else f"{last.evicting_nodes} nodes"
    yield Fact("pods evicted", f"{last.evicted} on {where}{cut}", "89 on 12 nodes" if story else "")
    yield Fact("sidecars killed for memory", f"{last.killed}{cut}")


def _moments(log: FleetLog, when: Times, deeds: Sequence[Deed]) -> Iterator[Moment]:
    for number, happening in enumerate(h for h in log.happenings if h.kind == "node-pressure"):
        if number < 4:
            mark = "fault" if number == 0 else ""
            yield Moment(happening.at, happening.subject, f"is out of memory: {happening.note}", mark)
    for kind, told in (
        ("oom-killed", "the first sidecar is killed for memory"),
        ("evicted", "the first pod is evicted"),
    ):
        found = log.first(kind)
        if found:
            yield Moment(found.at, found.subject, f"{told}: {found.note}")
    slow = next((s for s in log.samples if s.p99_s >= 1), None)
    if slow:
        yield Moment(slow.at, "shop", f"P99 is {slow.p99_s:.1f} s")
    for deed in deeds:
        mark = {"exit": "glass", "restore": "back"}.get(deed.words[1] if len(deed.words) > 1 else "", "")
        yield Moment(deed.began, "operator", deed.line, mark)
    if when.out is not None:
        yield Moment(when.out, "fleet", "the last sidecar is gone")
    ended = log.first("peak-ended")
    if ended:
        yield Moment(ended.at, "shop", "the load falls")
    if when.back is not None:
        yield Moment(when.back, "fleet", "every pod is in the mesh again")


def _predictions(log: FleetLog, deeds: Sequence[Deed]) -> Iterator[Prediction]:
    left = next((d for d in deeds if d.words[:2] == ("meshguard", "exit") and d.code in (0, words.PARTLY)), None)
    if left is None:
        return
    expected = _EXPECTED.search(left.output)
    took = left.ended - left.began
    if expected:
        low, high = int(expected[1]), int(expected[2])
        yield Prediction("how long the exit takes", f"{low}-{high} s", f"{took:.0f} s", low <= took <= high)
    during = log.between(left.began, left.ended)
    before = log.between(left.began - 60, left.began)
    rate = [sum(s.failed for s in part) / max(1, sum(s.requests for s in part)) for part in (before, during)]
    yield Prediction(
        "the exit costs no request",
        "none",
        f"{rate[1]:.2%} failed during it, {rate[0]:.2%} in the minute before",
        rate[1] <= rate[0] + 0.001,
    )
    after = next((s for s in reversed(during)), None)
    if after:
        yield Prediction("nobody is left with a sidecar", "0 pods", f"{after.meshed} pods", after.meshed == 0)
    restored = next((d for d in deeds if d.words[:2] == ("meshguard", "restore")), None)
    if restored:
        kept = restored.code == 0 and log.samples[-1].unmeshed == 0
        yield Prediction(
            "everything comes back as it was", "identical", "identical" if kept else f"exit code {restored.code}", kept
        )


def _findings(log: FleetLog, when: Times) -> Iterator[str]:
    last = log.samples[-1]
    if last.evicted:
        yield "Sidecars without a limit fill nodes: set sidecar.istio.io/proxyMemoryLimit from the peak, with room."
    if max(s.p99_s for s in log.samples) >= 1:
        yield "Every eviction is a push to every proxy, and pushes take CPU: set PILOT_PUSH_THROTTLE and CPU requests."
    if when.fault is not None and when.noticed is not None:
        took = (when.noticed - when.fault) / 60
        yield f"From the first full node to the diagnosis: {took:.1f} min. Let `meshguard advise` run on every alert."
    if when.noticed is not None and when.decided is not None:
        took = (when.decided - when.noticed) / 60
        yield f"From the diagnosis to the decision: {took:.1f} min; in the story it was 16."
    if when.out is None:
        yield "Nobody left the mesh. The runbook is `meshguard runbook show sidecar-oom`."
    if when.out is not None and when.back is None:
        yield "The mesh was not put back: `meshguard restore RUN` is part of the job."


def _notes(scenario: Scenario) -> list[str]:
    size = scenario.reduced().fleet
    return [
        f"The cluster is simulated, at 1 to {scenario.cut}: {size.services} services, {size.pods} pods, "
        f"{size.nodes} nodes. Its control plane works as hard as that of the whole fleet.",
        "A game day that plays itself asks for advice every minute; a person is slower. Play it by hand as well.",
        "The model's constants come from published figures and from source code, and some are assumed; none has been "
        "compared with the testbed yet. Four parameters were fitted to the historic timeline.",
        "Money is orders that fail and people who do not wait; its parameters stand in the scenario.",
        "meshguard's own commands are the real ones. What they wait for passes at the simulator's speed.",
    ]
