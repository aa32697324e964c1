"""The hands of `runbook run`: a terminal, the cluster, and the same verbs that a person would type."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from typing import Any

import click

from meshguard import app, rehearsal
from meshguard.cli import act
from meshguard.cli.carrying import Carrying
from meshguard.cli.codes import Exit
from meshguard.cli.options import Where
from meshguard.clock import WallClock
from meshguard.hypotheses.evaluate import Health
from meshguard.hypotheses.load import load as load_hypothesis
from meshguard.model.scopes import Asked
from meshguard.runbook import session as sessions
from meshguard.runbook.advise import Evidence, look
from meshguard.runbook.load import RunbookError, digest, load, text_of
from meshguard.runbook.record import leave_evidence
from meshguard.runbook.schema import Confirm, Decide, Playbook, Runbook, Step, Symptom
from meshguard.runbook.session import Opened, Session
from meshguard.runbook.text import words
from meshguard.runbook.walk import Ending, Played, Walked, verification_title, walk

_PATIENCE_S = 60.0
_LOOK_S = 2.0
_CODES = {
    Ending.DONE: Exit.DONE,
    Ending.STOPPED: Exit.PARTIAL,
    Ending.PAUSED: Exit.STOPPED,
    Ending.NOT_SO: Exit.VERIFICATION_FAILED,
    Ending.LATE: Exit.VERIFICATION_FAILED,
    Ending.FAILED: Exit.PARTIAL,
    Ending.UNHEALTHY: Exit.VERIFICATION_FAILED,
}


@dataclass(frozen=True)
class Request:
    """What a person asked for."""

    name: str
    where: Where
    carrying: Carrying
    session: str
    namespaces: tuple[str, ...]
    accept: tuple[str, ...]
    to_revision: str
    auto: bool


def walk_through(request: Request) -> int:
    """Walk through a runbook and return the exit code.

    Raises RunbookError, NotARehearsal for a drill elsewhere, and what the verbs raise.
    """
    runbook = load(request.name)
    if request.carrying.yes:
        raise click.UsageError("each playbook of a runbook asks for consent; a drill without a person is --auto")
    if not request.auto and not sys.stdin.isatty():
        raise click.UsageError("nobody is there to be asked; a drill without a person is --auto")
    session = asyncio.run(_session(request, runbook))
    print(f"{runbook.title}\nsession {session.name}", file=sys.stderr)
    hands = Terminal(request, session)
    back = request.auto or _wants_way_back(runbook, session)
    walked = walk(runbook, session, hands, WallClock(), back=back)
    print(f"{walked.ending.value}: {walked.sentence}", file=sys.stderr)
    if session.opened.drill and walked.ending not in (Ending.PAUSED, Ending.STOPPED):
        asyncio.run(_evidence(request, runbook, session, walked))
    if walked.ending is not Ending.STOPPED and not (walked.ending is Ending.DONE and back):
        what = "for the way back" if walked.ending is Ending.DONE else "to go on"
        print(f"{what}: meshguard runbook run {request.name} --session {session.name} ...", file=sys.stderr)
    return int(_CODES[walked.ending])


async def _session(request: Request, runbook: Runbook) -> Session:
    target = request.where.target()
    folder = target.runs.parent / "runbooks"
    sha256 = digest(text_of(request.name))
    async with app.session(target) as opened:
        if request.auto:
            await rehearsal.require(opened.cluster, opened.clock)
        identity = await opened.cluster.identity()
        if request.session:
            session = sessions.find(folder, request.session)
            _fits(session, sha256, identity.uid, drill=request.auto)
            return session
        if not request.namespaces and _needs_scope(runbook):
            raise click.UsageError(f"the runbook {runbook.name} works on namespaces: name them with -n")
        about = Opened(
            request.name,
            sha256,
            identity.context,
            identity.uid,
            request.namespaces,
            request.accept,
            request.auto,
            app.person(target),
            request.carrying.reason,
        )
        return sessions.begin(folder, about, opened.clock.wall())


def _fits(session: Session, sha256: str, cluster_uid: str, *, drill: bool) -> None:
    if session.opened.drill is not drill:
        raise click.UsageError(f"the session {session.name} is {'no' if drill else 'a'} drill (--auto)")
    if session.opened.sha256 != sha256:
        raise RunbookError(f"the runbook {session.opened.runbook} has changed since the session {session.name} began")
    if session.opened.cluster_uid != cluster_uid:
        raise RunbookError(f"the session {session.name} is about another cluster, {session.opened.context}")


def _needs_scope(runbook: Runbook) -> bool:
    steps = (*runbook.steps, *runbook.way_back)
    return any(isinstance(step, Playbook) and step.playbook != "restore" for step in steps)


def _wants_way_back(runbook: Runbook, session: Session) -> bool:
    """A person comes to the way back by going on with a session that is verified."""
    return verification_title(runbook) in session.over


async def _evidence(request: Request, runbook: Runbook, session: Session, walked: Walked) -> None:
    async with app.session(request.where.target()) as opened:
        made = await leave_evidence(opened, runbook, session, walked)
    print(f"evidence {made.name}: {made.result}", file=sys.stderr)


class Terminal:
    """Implements `walk.Hands`."""

    def __init__(self, request: Request, session: Session) -> None:
        self._request, self._about = request, session.opened

    def begins(self, number: int, total: int, step: Step) -> None:
        """Tell that a step begins."""
        print(f"\n[{number} of {total}] {step.title}\n    {words(step)}")

    def look(self, symptom: Symptom) -> Evidence:
        """Hold a symptom against what is measured now."""
        seen = asyncio.run(self._look(symptom))
        told = "seen" if seen.present else "unknown" if seen.unknown else "not seen"
        print("    " + "; ".join([told, *seen.subjects, *seen.unknown[:3]]))
        return seen

    async def _look(self, symptom: Symptom) -> Evidence:
        async with app.session(self._request.where.target()) as opened:
            return await look(symptom, opened.measurements)

    def decide(self, step: Decide) -> str:
        """Ask the person, or take the answer of a drill."""
        if self._about.drill:
            print(f"    drill: {step.auto}")
            return step.auto
        return str(click.prompt("   ", type=click.Choice(step.answers)))

    def confirm(self, step: Confirm) -> str:
        """Ask the person whether it is done; in a drill nobody does it, and that is what is written down."""
        if self._about.drill:
            print("    drill: nobody does it")
            return "drill: not carried out"
        return "confirmed" if click.confirm("    done?", default=False) else ""

    def play(self, step: Playbook, of_run: str) -> Played:
        """Plan, ask for consent and carry out, by the same code as the verb itself."""
        where, accept = self._request.where, (*self._about.accept, *(f"--{word}" for word in step.accept))
        asked = Asked(frozenset(self._about.namespaces))
        carrying = Carrying(
            f"runbook {self._about.runbook}: {self._about.reason}",
            self._about.drill,
            self._request.carrying.deadline_s,
            self._request.carrying.take_over,
        )
        match step.playbook:
            case "exit":
                folder, code = act.leave(where, asked, accept, carrying)
            case "realign":
                revision = self._request.to_revision or step.to_revision
                folder, code = act.move(where, asked, revision, accept, carrying)
            case "restore":
                if not of_run:
                    return Played("", False, "nothing of this session is out of the mesh")
                folder, code = act.come_back(where, of_run, (), carrying)
        return Played(folder.run, code == Exit.DONE, f"run {folder.run}, exit code {code}")

    def healthy(self, hypothesis: str) -> str:
        """Ask a hypothesis until it is healthy, for a minute at most."""
        deadline, told = time.monotonic() + _PATIENCE_S, ""
        while True:
            health, sentence = asyncio.run(self._assess(hypothesis))
            if sentence != told:
                print(f"    {sentence}")
                told = sentence
            if health is Health.HEALTHY:
                return ""
            if time.monotonic() >= deadline:
                return sentence
            self.pause(_LOOK_S)

    async def _assess(self, hypothesis: str) -> tuple[Any, str]:
        async with app.session(self._request.where.target()) as opened:
            assessment = await app.assess_hypothesis(opened, load_hypothesis(hypothesis))
        return assessment.health, assessment.sentence

    def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)
