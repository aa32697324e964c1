"""docs/performance.md, written by the bench and by nobody else."""

from __future__ import annotations

import math
from pathlib import Path

from bench.fleet.results import Claim, Results, claims
from bench.stats import Sample

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"


def write(results: Results) -> None:
    """Write the page anew."""
    PAGE.write_text(text(results))


def text(results: Results) -> str:
    """Return the page."""
    objects, took = results.loop_part
    lines = [
        "# Performance",
        "",
        f"Written by `make bench-fleet PODS={results.pods} RUNS={len(results.meshguard)}`. Do not edit.",
        "",
        f"A light cluster of this machine: a real API server and its controllers, {results.pods} fake pods of kwok in "
        f"{results.deployments} deployments and {results.namespaces} namespaces, each injected by the real istiod "
        f"(created in {results.created_s:.0f} s). The whole mesh leaves in one wave: {results.writes} writes. Every "
        "writer starts from the same state; they take turns. "
        f"{len(results.meshguard)} turn(s); medians, with the distance from the fastest to the slowest. "
        f"The machine's load before each turn was {min(results.loads):.1f} to {max(results.loads):.1f}, of which the "
        "cluster itself is a part; other work on the machine was not kept away by force.",
        "",
        "Fake pods have no proxies. A proxy that never connected to an istiod is *unreachable*: it is not awaited and "
        "never counted as verified. The run ended with exit code 5 and said:",
        "",
        f"> {results.sentence}",
        "",
        "| claim | wanted | measured | |",
        "|---|---|---|---|",
        *(_row(claim) for claim in claims(results)),
        "",
        "## Until the last workload was told, until the last pod was out",
        "",
        "By the API server's audit log, and by looking once a second for pods with a sidecar; from the start of the "
        "command.",
        "",
        "| who | last workload told | last pod out |",
        "|---|---|---|",
        f"| `meshguard exit --yes` | {_sample(results.told)} | {_sample(results.last_out)} |",
        f"| the same writes, raw, by 32 clients | {_sample(results.raw_told)} | {_sample(results.raw_last_out)} |",
        f"| kubectl script (once) | {results.kubectl_s:.1f} s | |",
        f"| playbook that loops `kubernetes.core.k8s` | {results.loop_s:.0f} s | |",
        "",
        f"The loop ran once over {objects} of the {results.writes} objects, taken evenly, in {took:.1f} s; its start "
        "is counted once and the rest is multiplied.",
        f"As many Ansible modules as the playbook has, that do nothing: {_sample(Sample.of(results.layer))}.",
        "",
        "## Reading",
        "",
        "| pods | plan | requests of it | status -A | largest process | last workload told (once) |",
        "|---|---|---|---|---|---|",
        *(
            f"| {r.pods} | {_sample(r.plan)} | {r.plan_requests} | {_sample(r.status)} | {r.plan_mb:.0f} MB | "
            f"{results.told_at.get(r.pods, math.nan):.1f} s |"
            for r in results.readings
        ),
        "",
        f"An exit held {results.peak_mb:.0f} MB in its largest process, and {results.together_mb:.0f} MB in all of "
        "them together (command line, ansible-playbook and its worker; shared pages counted once). "
        f"`meshguard --help` took {1000 * results.help_s:.0f} ms.",
        "",
        "Planning alone, on snapshots multiplied in memory: "
        + ", ".join(f"{pods} pods {seconds:.2f} s" for pods, seconds in results.synthetic.items())
        + ".",
        "",
    ]
    return "\n".join(lines)


def _row(claim: Claim) -> str:
    return f"| {claim.what} | {claim.wanted} | {claim.measured} | {'✓' if claim.holds else '✗'} |"


def _sample(sample: Sample) -> str:
    return f"{sample.median:.2f} s (± {sample.spread:.2f} s)" if len(sample.seconds) > 1 else f"{sample.median:.2f} s"
