"""Commands that only look: status, plan, verify, explain, doctor, config."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from meshguard.cli import options
from meshguard.cli.options import Where

if TYPE_CHECKING:
    from meshguard.app import Session
    from meshguard.model.plan import Plan
    from meshguard.model.scopes import Asked


@click.command()
@options.where
@options.namespaces
@click.option("-A", "--all-namespaces", is_flag=True, help="All namespaces.")
@options.output
def status(where: Where, namespaces: tuple[str, ...], all_namespaces: bool, output: str) -> None:
    """Say for each workload what is declared, what is due and what is so."""
    asyncio.run(_status(where, namespaces, all_namespaces=all_namespaces, output=output))


async def _status(where: Where, namespaces: tuple[str, ...], *, all_namespaces: bool, output: str) -> None:
    from dataclasses import asdict

    from meshguard import app
    from meshguard.cli import render
    from meshguard.plan.build import check_scope
    from meshguard.plan.outside import outside

    if all_namespaces == bool(namespaces):
        raise click.UsageError("name namespaces with -n, or all of them with -A")
    async with app.session(where.target()) as opened:
        snapshot = await opened.snapshot()
        mesh = app.mesh_of(snapshot)
        chosen = sorted(snapshot.namespaces) if all_namespaces else list(namespaces)
        check_scope(snapshot, chosen, ())
        if all_namespaces:
            chosen = [name for name in chosen if mesh.in_mesh(snapshot, name)]
        rows = await app.status(opened, snapshot, chosen)
    findings, out = mesh.findings(snapshot, chosen), outside(snapshot, mesh)
    if output == "json":
        body = {
            "mesh": mesh.name,
            "workloads": [asdict(row) for row in rows],
            "findings": [f.to_json() for f in findings],
            "openRuns": [each.to_json() for each in out],
            "blind": dict(snapshot.blind),
        }
        print(render.as_json("Status", body))
        return
    header = ("NAMESPACE", "WORKLOAD", "DECLARED", "DUE", "ACTUAL", "REVISION", "PROXY", "MTLS", "SEEN BY")
    print(
        render.table(
            header,
            (
                (
                    r.namespace,
                    r.workload,
                    r.declared,
                    r.due,
                    r.actual,
                    r.revision,
                    r.proxy_version,
                    r.tls_mode,
                    r.source,
                )
                for r in rows
            ),
        )
    )
    for each in out:
        print("\n" + "\n".join(each.lines()))
    for what, why in snapshot.blind.items():
        print(f"\nnot readable: {what}: {why}")
    if findings:
        print("\nFindings (what an exit would meet)")
        print(render.findings_text(findings))


@click.group()
def plan() -> None:
    """Print a plan; nothing is changed."""


plan_output = click.option(
    "-o", "--output", type=click.Choice(["text", "json", "kubectl"]), default="text", show_default=True, help="Form."
)
out_file = click.option("--out", type=click.Path(path_type=Path), help="Write the plan to a file, for `exit --plan`.")


@plan.command("exit")
@options.where
@options.scope
@options.consents
@options.gate
@plan_output
@out_file
def plan_exit(where: Where, asked: Asked, accept: tuple[str, ...], gate: str, output: str, out: Path | None) -> None:
    """Plan the way out of the mesh."""
    asyncio.run(_plan_exit(where, asked, accept, gate, output, out))


async def _plan_exit(
    where: Where, asked: Asked, accept: tuple[str, ...], gate: str, output: str, out: Path | None
) -> None:
    from meshguard import app
    from meshguard.consent import consents_from
    from meshguard.plan.gate import gated

    guard = app.gate_from(gate)
    async with app.session(where.target()) as opened:
        made = gated(await app.make_exit_plan(opened, asked, consents_from(accept)), guard)
        way_back = await app.predicted_way_back(opened, made) if output == "kubectl" else None
        rehearsed = await rehearsed_words(opened, made, output)
    present(made, output, out, way_back, rehearsed)


@plan.command("realign")
@options.where
@options.scope
@options.consents
@click.option("--to-revision", default="", help="Move the namespaces to this revision (istio.io/rev).")
@plan_output
@out_file
def plan_realign(
    where: Where, asked: Asked, accept: tuple[str, ...], to_revision: str, output: str, out: Path | None
) -> None:
    """Plan restarts of the proxies that do not fit their control plane, and of nothing else."""
    asyncio.run(_plan_realign(where, asked, accept, to_revision, output, out))


async def _plan_realign(
    where: Where, asked: Asked, accept: tuple[str, ...], to_revision: str, output: str, out: Path | None
) -> None:
    from meshguard import app
    from meshguard.consent import consents_from

    async with app.session(where.target()) as opened:
        made = await app.make_realign_plan(opened, asked, to_revision, consents_from(accept))
        rehearsed = await rehearsed_words(opened, made, output)
    present(made, output, out, None, rehearsed)


@plan.command("restore")
@click.argument("run")
@options.where
@options.local_journal_only
@plan_output
@out_file
def plan_restore(run: str, where: Where, accept: tuple[str, ...], output: str, out: Path | None) -> None:
    """Plan the way back of RUN, on the cluster as it is now."""
    asyncio.run(_plan_restore(where, run, accept, output, out))


async def _plan_restore(where: Where, run: str, accept: tuple[str, ...], output: str, out: Path | None) -> None:
    from meshguard import app
    from meshguard.consent import consents_from

    async with app.session(where.target()) as opened:
        made = await app.make_restore_plan(opened, run, consents_from(accept))
        rehearsed = await rehearsed_words(opened, made, output)
    present(made, output, out, None, rehearsed)


async def rehearsed_words(opened: Session, made: Plan, output: str) -> str:
    """Say whether this way was rehearsed; only a person reads it."""
    from meshguard.runbook.record import rehearsed

    return await rehearsed(opened, made) if output == "text" else ""


def present(made: Plan, output: str, out: Path | None, way_back: Plan | None, rehearsed: str) -> None:
    """Print a plan in the form that was asked for; exits with the code for a blocked plan where it is."""
    from meshguard.cli import planfile, render
    from meshguard.cli.codes import Exit
    from meshguard.plan import kubectl

    if output == "json":
        import json

        print(json.dumps(made.document(), indent=2))
    elif output == "kubectl":
        print(kubectl.script(made, way_back), end="")
    else:
        print(render.plan_text(made))
        print(f"\nRehearsed: {rehearsed}")
    if out:
        planfile.write(made, out)
    if made.blockers:
        listed = ", ".join(sorted({f.code.id for f in made.blockers}))
        print(f"meshguard: blocked by {listed}", file=sys.stderr)
        sys.exit(Exit.BLOCKED)


@click.command()
@click.argument("run", default="")
@click.option("-f", "--file", "hypothesis", default="", help="A hypothesis: a file, or the name of one of ours.")
@options.where
@options.output
def verify(run: str, hypothesis: str, where: Where, output: str) -> None:
    """Look whether what RUN did is still so, or, with -f, whether the mesh is healthy."""
    if bool(run) == bool(hypothesis):
        raise click.UsageError("name a RUN, or a hypothesis with -f FILE or -f NAME")
    asyncio.run(_assess(where, hypothesis, output) if hypothesis else _verify(where, run, output))


async def _assess(where: Where, file_or_name: str, output: str) -> None:
    from meshguard import app
    from meshguard.cli import render
    from meshguard.cli.codes import Exit
    from meshguard.hypotheses.evaluate import Health
    from meshguard.hypotheses.load import load
    from meshguard.hypotheses.text import assessment_text

    hypothesis = load(file_or_name)
    async with app.session(where.target()) as opened:
        await opened.cluster.identity()
        assessment = await app.assess_hypothesis(opened, hypothesis)
    if output == "json":
        print(render.as_json("Assessment", assessment.to_json()))
    else:
        print(assessment_text(assessment))
    if assessment.health is not Health.HEALTHY:
        print(f"meshguard: {assessment.sentence}", file=sys.stderr)
        sys.exit(Exit.VERIFICATION_FAILED)


async def _verify(where: Where, run: str, output: str) -> None:
    from meshguard import app
    from meshguard.cli import render
    from meshguard.cli.codes import Exit

    async with app.session(where.target()) as opened:
        answers = await app.verify_run(opened, run)
    if output == "json":
        checks = [
            {"sentence": a.sentence, "truth": v.truth.value, "missing": list(v.missing), "source": v.source}
            for a, v in answers
        ]
        print(render.as_json("Verification", {"run": run, "checks": checks}))
    else:
        for awaited, verdict in answers:
            print(f"{verdict.truth.value:<8} {awaited.sentence} ({verdict.done} of {verdict.total}, {verdict.source})")
            for missing in verdict.missing:
                print(f"         {missing}")
    if not all(verdict.holds for _, verdict in answers):
        sys.exit(Exit.VERIFICATION_FAILED)


@click.command()
@click.argument("code")
@options.output
def explain(code: str, output: str) -> None:
    """Explain a finding CODE, such as MG201."""
    import difflib
    from dataclasses import asdict

    from meshguard.cli import render
    from meshguard.model.codes import CODES

    known = CODES.get(code.upper())
    if known is None:
        near = difflib.get_close_matches(code.upper(), CODES, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else f"; known: {', '.join(CODES)}"
        raise click.UsageError(f"there is no finding code {code!r}{hint}")
    if output == "json":
        print(render.as_json("FindingCode", asdict(known)))
        return
    print(f"{known.id} ({known.severity.value}): {known.title}\n")
    for title, text in (
        ("What happens", known.consequence),
        ("What to do", known.remedy),
        ("To accept it", known.consent or "it cannot be accepted"),
        ("Example", known.example),
        ("Source", known.source),
    ):
        print(f"{title + ':':<14}{text}")


@click.command()
@options.where
@options.output
def doctor(where: Where, output: str) -> None:
    """Can you break this glass now? Answers within ten seconds."""
    from meshguard.cli import render
    from meshguard.cli.codes import Exit
    from meshguard.doctor import examine

    checks = asyncio.run(examine(where.target()))
    if output == "json":
        body: dict[str, Any] = {"checks": [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in checks]}
        print(render.as_json("Doctor", body))
    else:
        print(render.table(("", "CHECK", "DETAIL"), (("ok" if c.ok else "NO", c.name, c.detail) for c in checks)))
    failed = [c for c in checks if not c.ok]
    if failed:
        sys.exit(failed[0].code or Exit.REFUSED)


@click.group()
def config() -> None:
    """Show the configuration."""


@config.command("show")
@click.option("--config", "file", type=click.Path(path_type=Path), help="meshguard.yaml to use.")
@click.option("--origin", is_flag=True, help="Say for each value where it comes from.")
@options.output
def config_show(file: Path | None, origin: bool, output: str) -> None:
    """Print every setting."""
    from meshguard import config as configuration
    from meshguard.cli import render

    rows = configuration.load(file).origins()
    if output == "json":
        values = {key: {"value": value, "origin": where} if origin else value for key, value, where in rows}
        print(render.as_json("Config", {"settings": values}))
        return
    for key, value, source in rows:
        shown = ", ".join(value) if isinstance(value, tuple) else value
        print(f"{key}: {shown}" + (f"    ({source})" if origin else ""))
