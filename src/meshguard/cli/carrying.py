"""What a person says when a plan is to be carried out, beyond the plan: why, for how long, and with what consent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from meshguard.cli.options import packing

if TYPE_CHECKING:
    from meshguard.execution import Terms

F = TypeVar("F", bound=Callable[..., Any])

reason = click.option("--reason", default="", help="Why; it is written into the journal and the record. Required.")
yes = click.option("--yes", is_flag=True, help="Consent to the plan without being asked; needed where nobody is.")


@dataclass(frozen=True)
class Carrying:
    """The options of every verb that changes a cluster."""

    reason: str
    yes: bool
    deadline_s: float
    take_over: bool

    def terms(self) -> Terms:
        """Return them as the run wants them."""
        from meshguard.execution import Terms

        return Terms(self.reason, self.deadline_s, self.take_over)


def _seconds(_: click.Context, __: click.Parameter, value: str) -> float:
    from meshguard.model.durations import seconds_of

    try:
        return seconds_of(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def carrying(command: F) -> F:
    """Add the options of a verb that changes a cluster; the command gets them as one argument `carrying`."""

    def wrapped(reason: str, yes: bool, deadline: float, take_over: bool, **rest: Any) -> Any:
        return command(carrying=Carrying(reason, yes, deadline, take_over), **rest)

    added = (
        reason,
        yes,
        click.option(
            "--deadline",
            default="",
            callback=_seconds,
            help="Stop at a safe point after this long (10m), with exit code 5; `resume` goes on from there.",
        ),
        click.option("--take-over", is_flag=True, help="Take the cluster from a run that is at work on it."),
    )
    return packing(command, wrapped, added)
