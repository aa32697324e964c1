"""A game day that plays itself: steady state, fault, detection, plan, playbook, verification, way back."""

from __future__ import annotations

import re

from meshguard.gameday import words
from meshguard.gameday.deeds import Deed, Deeds
from meshguard.gameday.stage import Stage

WORK_SPEED = 5.0
"""Simulated seconds per second while commands run; what they wait for is skipped, as is the time between them."""
_QUIET_MINUTES = 15.0
"""Before this minute nobody looks."""
_LAST_MINUTE = 45.0
_BETWEEN_LOOKS_S = 60.0
"""How long the on-call does something else before asking again."""
_LOOKS = 3
_CALM_S = 180.0
_DOWN_S = 840.0
"""From the end of the peak until the way back: the load is at 1x after ten minutes."""
_RUN = re.compile(r"^run (\d{8}-\d{6}-[0-9a-z]{4});", re.MULTILINE)


class Failed(Exception):
    """The game day did not come to its end; the message says where."""


def play(stage: Stage, deeds: Deeds) -> None:
    """Play it. Raises Failed or ControlError."""
    context = stage.state.context
    _title("Steady state")
    _steady(stage, deeds, "the fleet is not in its steady state at the beginning")
    _title("The load rises; the first to notice is an on-call who asks meshguard what is wrong")
    stage.forward(_QUIET_MINUTES * 60)
    _detect(stage, deeds)
    _title("The plan: who leaves, in which order, and what is lost")
    plan = deeds.run(("meshguard", "plan", "exit", *words.SCOPE, "--context", context), show=False)
    print(_short(plan.output))
    _must(plan, "the plan is blocked")
    _title("The playbook, through ansible-runner")
    out = deeds.run(words.exit_command(context), show=False)
    print(_progress(out.output))
    _must(out, "the exit did not come to its end", also=words.PARTLY)
    run = run_of(out)
    _title("Verification: on pods, proxies and traffic")
    _must(deeds.run(("meshguard", "verify", run, "--context", context)), "the exit does not hold")
    stage.forward(stage.seconds() + _CALM_S)
    _title("The peak is over; the way back")
    stage.end_peak()
    stage.forward(stage.seconds() + _DOWN_S)
    back = deeds.run(words.restore_command(context, run), show=False)
    print(_progress(back.output))
    _must(back, "the restore did not come to its end")
    _steady(stage, deeds, "the fleet is not in its steady state after the restore")


def _steady(stage: Stage, deeds: Deeds, otherwise: str) -> None:
    """Look at the steady state; what is not well yet is looked at again after a while."""
    command = words.with_context(words.STEADY, stage.state.context)
    deed = deeds.run(command)
    for _ in range(_LOOKS - 1):
        if deed.code == 0:
            return
        stage.forward(stage.seconds() + _BETWEEN_LOOKS_S)
        deed = deeds.run(command)
    _must(deed, otherwise)


def _detect(stage: Stage, deeds: Deeds) -> None:
    """Ask for advice until a runbook fits."""
    command = words.with_context(words.ADVISE, stage.state.context)
    while stage.seconds() < _LAST_MINUTE * 60:
        deed = deeds.run(command, show=False, typed=False)
        if words.FITS in deed.output:
            print(f"$ {deed.line}\n" + "\n".join(f"  {line}" for line in deed.output.splitlines()), flush=True)
            return
        deeds.done.remove(deed)
        stage.forward(stage.seconds() + _BETWEEN_LOOKS_S)
    raise Failed(f"nobody noticed anything until minute {_LAST_MINUTE:.0f}")


def run_of(deed: Deed) -> str:
    """The run that a command opened. Raises Failed."""
    found = _RUN.search(deed.output)
    if found is None:
        raise Failed(f"`{deed.line}` opened no run: {_last(deed.output)}")
    return found[1]


def _must(deed: Deed, why: str, also: int = 0) -> None:
    if deed.code not in (0, also):
        raise Failed(f"{why}: `{deed.line}` ended with {deed.code}: {_last(deed.output)}")


def _last(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"


def _title(text: str) -> None:
    print(f"\n== {text}", flush=True)


def _short(plan: str) -> str:
    """The phases and what is to be known before; a whole plan is many pages."""
    wanted = [
        line for line in plan.splitlines() if re.match(r"(Plan:|[A-Z-]+: |  - Expected|  - Plaintext|  - Lost)", line)
    ]
    steps = len(re.findall(r"^ *\d+\. ", plan, re.MULTILINE))
    return "\n".join(f"  {line}" for line in (*wanted, f"({steps} steps; `meshguard plan exit` shows each)"))


def _progress(output: str) -> str:
    """What the run said of itself, without the plan before it."""
    at = output.find("\nrun ")
    return "\n".join(f"  {line}" for line in output[at if at >= 0 else 0 :].strip().splitlines())
