"""The board: a fleet on a terminal of 80 columns and 24 lines, without colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from meshguard.sim.live.fleetlog import FleetLog

WIDTH, HEIGHT = 80, 24
_BARS = " ▁▂▃▄▅▆▇█"
_CURVE = 60


def board(log: FleetLog, title: str) -> str:
    """All lines, none longer than the terminal is wide."""
    if not log.samples:
        return "the fleet has not begun yet"
    last, before = log.samples[-1], log.samples[-60:]
    requests, failed = sum(s.requests for s in before), sum(s.failed for s in before)
    hour, minute = (int(part) for part in log.begins.split(":"))
    seconds = hour * 3600 + minute * 60 + int(last.at)
    told = f"{seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    lines = [
        f"{told}  {title}",
        "",
        f"load {last.load:4.1f}x   P99 {last.p99_s:6.2f} s   failing {failed / max(1, requests):6.1%}   "
        f"lost ${last.lost:,.0f}",
        f"P99     {_curve([s.p99_s for s in log.samples], 10.0)}",
        f"failing {_curve([s.failed / max(1, s.requests) for s in log.samples], 1.0)}",
        "",
        f"pods {last.ready} ready, {last.meshed} in the mesh, {last.unmeshed} out of it   "
        f"evicted {last.evicted}   killed {last.killed}",
        f"istiod {last.pushes} pushes, {last.sends} sends, {last.queued} wait   "
        f"a sidecar has {last.sidecar_mib:.0f} MiB",
        "",
        *_nodes(log.nodes[-1], last.node_mib),
        "",
        *_timeline(log),
    ]
    return "\n".join(line[:WIDTH] for line in lines[:HEIGHT])


def _curve(values: Sequence[float], highest: float) -> str:
    step = max(1, -(-len(values) // _CURVE))
    peaks = [max(values[at : at + step]) for at in range(0, len(values), step)]
    return "".join(_BARS[min(8, round(8 * min(1.0, value / highest)))] for value in peaks)


def _nodes(used: Mapping[str, float], size: float) -> list[str]:
    fullest = sorted(used.items(), key=lambda row: (-row[1], row[0]))[:6]
    return [
        f"{name:8} {'#' * round(40 * mib / size):40} {mib / size:4.0%} of {size / 1024:.0f} GiB"
        for name, mib in fullest
    ]


def _timeline(log: FleetLog) -> list[str]:
    seen: set[str] = set()
    rows = []
    for happening in log.happenings:
        operator = happening.kind == "operator"
        if operator and not happening.subject.startswith("begins"):
            continue
        if operator or happening.kind not in seen:
            seen.add(happening.kind)
            what = (
                happening.subject.removeprefix("begins: ")
                if operator
                else f"first {happening.kind}: {happening.subject}"
            )
            rows.append(f"{happening.at / 60:5.1f} min  {'you: ' if operator else ''}{what}")
    return rows[-7:]
