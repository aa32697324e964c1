"""Commands that change the cluster, after a printed plan, an explicit context, a reason and consent."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from meshguard.cli import options
from meshguard.cli.carrying import Carrying, carrying
from meshguard.cli.options import Where

if TYPE_CHECKING:
    from meshguard.app import Session, Target
    from meshguard.journal.rundir import RunDir
    from meshguard.model.plan import Plan
    from meshguard.model.scopes import Asked
    from meshguard.plan.gate import Gate

check = click.option("--check", is_flag=True, help="Let the playbook show by dry run what it would write.")


@click.command("exit")
@options.where
@options.scope
@options.consents
@click.option("--plan", "plan_file", type=click.Path(path_type=Path), help="Execute exactly this plan.")
@options.gate
@carrying
@check
def exit_(
    where: Where,
    asked: Asked,
    accept: tuple[str, ...],
    plan_file: Path | None,
    gate: str,
    carrying: Carrying,
    check: bool,
) -> None:
    """Take namespaces or single workloads out of the mesh."""
    from meshguard import app
    from meshguard.plan.gate import gate_of

    require(where, carrying.reason)
    if gate and plan_file:
        raise click.UsageError("a plan file has its own gate; give --gate to `plan exit` instead")
    asked, accept, approved = _approved(asked, accept, plan_file)
    target = where.target()
    guard = gate_of(approved) if approved else app.gate_from(gate)
    if check:
        sys.exit(show(where, target, "exit", {**_scope_vars(asked, accept), "gate": gate}))
    folder = asyncio.run(_begin_exit(target, asked, accept, approved, guard, carrying))
    sys.exit(execute(folder, where, target))


@click.command()
@options.where
@options.scope
@options.consents
@click.option("--to-revision", default="", help="Move the namespaces to this revision (istio.io/rev).")
@carrying
@check
def realign(
    where: Where, asked: Asked, accept: tuple[str, ...], to_revision: str, carrying: Carrying, check: bool
) -> None:
    """Restart the proxies that do not fit their control plane; nobody leaves the mesh."""
    require(where, carrying.reason)
    if check:
        sys.exit(show(where, where.target(), "realign", {**_scope_vars(asked, accept), "to_revision": to_revision}))
    _, code = move(where, asked, to_revision, accept, carrying)
    sys.exit(code)


def _approved(
    asked: Asked, accept: tuple[str, ...], plan_file: Path | None
) -> tuple[Asked, tuple[str, ...], Plan | None]:
    """Return scope and consents of the plan in the file, where one is given. Raises UsageError, UnreadablePlan."""
    from meshguard.cli import planfile
    from meshguard.model.scopes import Asked, asked_from

    if plan_file is None:
        return asked, accept, None
    if asked != Asked() or accept:
        raise click.UsageError("a plan file has its own scope and consents; give either --plan or -n and --accept-...")
    approved = planfile.read(plan_file)
    # What a narrowed scope came to on the cluster is not what was asked for: only its words may name namespaces.
    named = approved.namespaces if not approved.scope else ()
    return asked_from(named, approved.scope), approved.consents, approved


def _scope_vars(asked: Asked, accept: Sequence[str]) -> dict[str, Any]:
    """Return scope and consents as the playbooks take them."""
    return {"namespaces": sorted(asked.namespaces), "scope": list(asked.words()), "accept": list(accept)}


@click.command()
@click.argument("run")
@options.where
@options.local_journal_only
@carrying
@check
def restore(run: str, where: Where, accept: tuple[str, ...], carrying: Carrying, check: bool) -> None:
    """Bring back what RUN took out, exactly."""
    require(where, carrying.reason)
    if check:
        sys.exit(show(where, where.target(), "restore", {"of_run": run, "accept": list(accept)}))
    _, code = come_back(where, run, accept, carrying)
    sys.exit(code)


@click.command()
@click.argument("run")
@options.where
@carrying
def resume(run: str, where: Where, carrying: Carrying) -> None:
    """Go on with RUN, which was stopped or killed, on this machine or on another one."""
    require(where, carrying.reason)
    target = where.target()
    folder = asyncio.run(_resume(target, run, carrying))
    if folder is None:
        print(f"run {run} is finished: nothing is left to do")
        return
    sys.exit(execute(folder, where, target))


def require(where: Where, reason: str) -> None:
    """Raise UsageError unless the person has named the cluster and said why."""
    if not where.context:
        raise click.UsageError("a mutation needs an explicit --context")
    if not reason:
        raise click.UsageError("a mutation needs a --reason")


async def _begin_exit(
    target: Target,
    asked: Asked,
    accept: Sequence[str],
    approved: Plan | None,
    guard: Gate | None,
    carrying: Carrying,
) -> RunDir:
    from meshguard import app
    from meshguard.cli import planfile
    from meshguard.consent import consents_from
    from meshguard.plan.gate import gated

    async with app.session(target) as opened:
        if approved:
            identity = await opened.cluster.identity()
            planfile.check_cluster(approved, identity.uid, identity.context)
        plan = gated(await app.make_exit_plan(opened, asked, consents_from(accept)), guard)
        if approved:
            planfile.check_fresh(approved, plan)
        return await begin(opened, plan, carrying)


async def _begin_realign(
    target: Target, asked: Asked, to_revision: str, accept: Sequence[str], carrying: Carrying
) -> RunDir:
    from meshguard import app
    from meshguard.consent import consents_from

    async with app.session(target) as opened:
        plan = await app.make_realign_plan(opened, asked, to_revision, consents_from(accept))
        return await begin(opened, plan, carrying)


async def _begin_restore(target: Target, run: str, accept: Sequence[str], carrying: Carrying) -> RunDir:
    from meshguard import app
    from meshguard.consent import consents_from

    async with app.session(target) as opened:
        return await begin(opened, await app.make_restore_plan(opened, run, consents_from(accept)), carrying)


async def begin(opened: Session, plan: Plan, carrying: Carrying) -> RunDir:
    """Print the plan, ask for consent and open the run. Raises ConsentError, JournalError or ClusterError."""
    from meshguard import app, execution
    from meshguard.cli import render
    from meshguard.consent import settle

    print(render.plan_text(plan))
    settle(plan, await app.missing_rights(opened, plan))
    await _agree(plan, carrying)
    return await execution.begin(opened, plan, carrying.terms())


async def _resume(target: Target, run: str, carrying: Carrying) -> RunDir | None:
    """Take the run up; None when it is finished."""
    from meshguard import app, execution
    from meshguard.cli import render
    from meshguard.consent import settle_rights

    async with app.session(target) as opened:
        rest = await execution.remainder(opened, run)
        print(render.remainder_text(rest))
        if rest.finished:
            return None
        settle_rights(await app.missing_rights(opened, rest.record.plan))
        await _agree(rest.record.plan, carrying)
        taken_up = await execution.resume(opened, run, carrying.terms())
    for sentence in taken_up.sentences():
        print(f"! {sentence}", file=sys.stderr)
    return taken_up.folder


async def _agree(plan: Plan, carrying: Carrying) -> None:
    """Return when the person has said that the plan shall be carried out. Raises ConsentError."""
    if not carrying.yes:
        await asyncio.to_thread(ask, plan.context)


def ask(context: str) -> None:
    """Let the person type the cluster's name. Raises ConsentError when nobody does."""
    from meshguard.consent import ConsentError

    if not sys.stdin.isatty():
        raise ConsentError("nothing was changed: nobody is there to consent; give --yes")
    typed = click.prompt(
        f"\nType the cluster's name ({context}) to carry out this plan", default="", show_default=False
    )
    if typed != context:
        raise ConsentError("nothing was changed: the cluster's name was not confirmed")


def execute(folder: RunDir, where: Where, target: Target) -> int:
    """Carry an open run out by its playbook and return the exit code."""
    from meshguard import app
    from meshguard.cli import runner
    from meshguard.cli.codes import Exit
    from meshguard.doors.playbooks import settings_of
    from meshguard.model.plan import Direction

    plan = folder.read_plan()
    print(f"\nrun {folder.run}; journal: {folder.journal}", file=sys.stderr)
    extravars = {"context": plan.context, "meshguard": settings_of(target, where.config)}
    code = runner.execute(folder, plan.direction, extravars, app.clocks_of(target)[0])
    if plan.direction is Direction.EXIT:
        print(f"to come back: meshguard restore {folder.run} --context {plan.context} --reason ...", file=sys.stderr)
    elif code is not Exit.DONE:
        print(f"look at it: meshguard runs show {folder.run}", file=sys.stderr)
    return int(code)


def show(where: Where, target: Target, playbook: str, extra: dict[str, Any]) -> int:
    """Let a playbook show by dry run what it would write and return the exit code."""
    from meshguard.cli import runner
    from meshguard.cli.codes import Exit
    from meshguard.doors.playbooks import settings_of
    from meshguard.model.plan import Direction

    settings = settings_of(target, where.config)
    extravars = {"context": where.context, "meshguard": settings, **extra}
    return int(Exit.REFUSED if runner.show_what_would_change(Direction(playbook), extravars) else Exit.DONE)


def leave(where: Where, asked: Asked, accept: Sequence[str], carrying: Carrying) -> tuple[RunDir, int]:
    """Plan, ask for consent and take out, as `exit` does; return the run and the exit code."""
    target = where.target()
    folder = asyncio.run(_begin_exit(target, asked, accept, None, None, carrying))
    return folder, execute(folder, where, target)


def move(where: Where, asked: Asked, to_revision: str, accept: Sequence[str], carrying: Carrying) -> tuple[RunDir, int]:
    """Plan, ask for consent and restart, as `realign` does; return the run and the exit code."""
    target = where.target()
    folder = asyncio.run(_begin_realign(target, asked, to_revision, accept, carrying))
    return folder, execute(folder, where, target)


def come_back(where: Where, run: str, accept: Sequence[str], carrying: Carrying) -> tuple[RunDir, int]:
    """Plan, ask for consent and bring back, as `restore` does; return the run and the exit code."""
    target = where.target()
    folder = asyncio.run(_begin_restore(target, run, accept, carrying))
    return folder, execute(folder, where, target)
