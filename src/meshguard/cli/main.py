"""The command `meshguard`. Commands import what they use when they use it: at 3 a.m. every second counts."""

from __future__ import annotations

import sys

import click

from meshguard import __version__
from meshguard.cli import act, chaos, gameday, history, rbac, rehearsal, rejoin, runbook, see
from meshguard.cli import sim as simulator


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="meshguard")
def cli() -> None:
    """Leave a service mesh safely, verified and reversibly.

    \b
    Exit codes: 0 done, 1 defect of ours, 2 usage, 3 refused or missing rights, 4 blocked by a finding, 5 partly done,
    6 verification failed, 7 not in the mesh, 8 unreachable, 130 stopped at a safe point.
    """


for command in (
    see.status,
    see.plan,
    act.exit_,
    act.realign,
    act.restore,
    rejoin.rejoin,
    act.resume,
    history.runs,
    rehearsal.rehearsal,
    chaos.chaos,
    runbook.runbook,
    runbook.advise,
    see.verify,
    see.explain,
    see.doctor,
    rbac.rbac,
    see.config,
    simulator.sim,
    gameday.gameday,
):
    cli.add_command(command)
see.plan.add_command(rejoin.plan_rejoin)


def main() -> None:
    """Run the command line; an expected error is one sentence on stderr and a documented exit code."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except (click.Abort, KeyboardInterrupt):
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except click.ClickException as error:
        print(f"meshguard: {error.format_message()}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:
        from meshguard.cli.codes import of_error

        code = of_error(error)
        if code is None:
            raise
        print(f"meshguard: {error}", file=sys.stderr)
        sys.exit(code)
