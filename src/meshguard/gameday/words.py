"""What a game day tells a person before, between and after."""

from __future__ import annotations

from meshguard.sim.fleet.scenario import Scenario

STEADY = ("meshguard", "verify", "-f", "steady-state")
ADVISE = ("meshguard", "advise")
PARTLY = 5
"""The exit code of a run that could not ask every proxy: in the middle of an incident some are being restarted."""
FITS = "what to do: "
"""What `advise` says of a runbook that fits."""
SCOPE = ("--whole-mesh", "--cap", "100%")


def opening(scenario: Scenario) -> str:
    """Five lines: what is about to happen."""
    size, cut = scenario.fleet, scenario.cut
    return "\n".join(
        (
            f'It is {scenario.begins} on the day of "{scenario.title}". '
            f"{size.services} services, {size.pods:,} sidecars; you see one in {cut} of them.",
            f"The load rises to {scenario.load.peak:g} times an ordinary day's. What gives way is not scripted.",
            "The cluster is simulated, the commands are the real ones: nothing outside of this machine is touched.",
            "First all is well; then a fault, its detection, a plan, the break-glass playbook, the proof, the return.",
            "At the end you get a report with what it cost, beside what it cost the team that the story is about.",
        )
    )


def with_context(words: tuple[str, ...], context: str) -> tuple[str, ...]:
    """A command for this cluster."""
    return (*words, "--context", context)


def exit_command(context: str) -> tuple[str, ...]:
    """The way out for everybody."""
    return ("meshguard", "exit", *SCOPE, "--context", context, "--reason", "sidecars run out of memory", "--yes")


def restore_command(context: str, run: str) -> tuple[str, ...]:
    """The way back."""
    return ("meshguard", "restore", run, "--context", context, "--reason", "the peak is over", "--yes")
