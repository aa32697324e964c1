"""A game day in a person's hands: they type the real commands, here or in another terminal; hints on request."""

from __future__ import annotations

import shlex
import sys

from meshguard.gameday import words
from meshguard.gameday.deeds import Deeds
from meshguard.gameday.stage import Stage
from meshguard.report.document import clock
from meshguard.sim.live.board import board

PROGRAMS = ("meshguard", "kubectl")
_HELP = """  meshguard ..., kubectl ...   the real commands, on the simulated cluster
  hint       what an experienced on-call would do next
  board      nodes, memory, P99, failures, money
  skip N     let N minutes pass quickly
  speed N    simulated seconds per second
  peak over  the rush is over: the load falls
  end        debrief and report"""


def over(stage: Stage, deeds: Deeds) -> None:
    """Let the person play until they end it. Raises ControlError."""
    print(
        f"\nThe cluster is yours. In another terminal:  export KUBECONFIG={stage.state.kubeconfig}\n"
        f"Its context is {stage.state.context}; time runs at {stage.state.speed:g} times its speed.\n{_HELP}",
        flush=True,
    )
    while True:
        print(f"{clock(stage.log.begins or stage.scenario.begins, stage.seconds())[:5]}> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line or line.strip() in ("end", "exit", "quit"):
            return
        _obey(stage, deeds, line.strip())


def _obey(stage: Stage, deeds: Deeds, line: str) -> None:
    try:
        typed = shlex.split(line)
    except ValueError as error:
        print(f"  that line cannot be read: {error}")
        return
    match typed:
        case []:
            return
        case ["hint"]:
            print(f"  {hint(stage, deeds)}")
        case ["board"]:
            print(board(stage.log, stage.scenario.title))
        case ["skip", minutes] if _number(minutes):
            stage.forward(stage.seconds() + float(minutes) * 60)
        case ["speed", speed] if _number(speed):
            stage.pace(float(speed))
        case ["peak", "over"]:
            stage.end_peak()
        case [program, *_] if program in PROGRAMS:
            interactive = program == "meshguard" and typed[1:2] in (["exit"], ["restore"], ["realign"], ["resume"])
            if interactive and "--yes" not in typed:
                print("  add --yes here, or type it in another terminal, where you are asked for the cluster's name")
                return
            deeds.run(typed, typed=False)
        case _:
            print(f"  there is no {typed[0]!r} here\n{_HELP}")


def _number(text: str) -> bool:
    try:
        return 0.01 <= float(text) <= 10_000
    except ValueError:
        return False


def hint(stage: Stage, deeds: Deeds) -> str:
    """The next thing that an experienced on-call would do, by what has happened and what has been done."""
    log, context = stage.log, stage.state.context
    done = {deed.words[1]: deed for deed in deeds.done if deed.words[0] == "meshguard" and len(deed.words) > 1}
    last = log.samples[-1] if log.samples else None
    out = last is not None and last.meshed == 0
    if out and "restore" not in done:
        back = f"meshguard restore RUN --context {context} --reason ... --yes"
        return f"you are out. `peak over`, `skip 15`, then: {back} (`meshguard runs` names the RUN)"
    if "restore" in done:
        return f"see that all is well: {' '.join(words.with_context(words.STEADY, context))}; then `end`"
    if last is None or not (last.evicted or last.killed or last.p99_s > 1):
        return f"all is well. Look once: {' '.join(words.with_context(words.STEADY, context))}; then `skip 5`"
    if "advise" not in done:
        return f"something is wrong: {' '.join(words.with_context(words.ADVISE, context))}"
    if "plan" not in done:
        return f"make a plan: meshguard plan exit {' '.join(words.SCOPE)} --context {context}"
    return " ".join(f"'{word}'" if " " in word else word for word in words.exit_command(context))
