"""The command line: ``python -m testbed up | status | reset | down | exec``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from testbed import commands, lifecycle, sandbox
from testbed import status as status_module
from testbed.errors import TestbedError
from testbed.paths import MAIN, RunPaths
from testbed.progress import Progress

_MEBIBYTE = 1024 * 1024
USAGE_ERROR = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 not well, 2 wrong usage or it could not be done."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        paths = RunPaths(chosen.light or MAIN)
        return int(_COMMANDS[chosen.command](paths, chosen))
    except TestbedError as error:
        print(f"testbed: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print("testbed: stopped half-way; the next `up` or `down` cleans up", file=sys.stderr)
        return INTERRUPTED


def _up(paths: RunPaths, chosen: argparse.Namespace) -> int:
    lifecycle.up(paths, Progress())
    return 0


def _down(paths: RunPaths, chosen: argparse.Namespace) -> int:
    lifecycle.down(paths, Progress())
    return 0


def _reset(paths: RunPaths, chosen: argparse.Namespace) -> int:
    lifecycle.reset(paths, Progress())
    return 0


def _exec(paths: RunPaths, chosen: argparse.Namespace) -> int:
    argv = chosen.argv[1:] if chosen.argv[:1] == ["--"] else chosen.argv
    if not argv:
        raise TestbedError("say what to run: exec -- COMMAND ARGUMENT ...")
    line = sandbox.inside(paths, argv)
    os.execvpe(line[0], line, commands.environment(paths))


def _status(paths: RunPaths, chosen: argparse.Namespace) -> int:
    seen = status_module.read(paths)
    if chosen.output == "json":
        print(json.dumps(seen.as_json(), indent=2))
    else:
        _print_table(seen)
    return 0 if seen.healthy else 1


def _print_table(seen: status_module.Status) -> None:
    rows = [("COMPONENT", "UP", "DETAIL", "VERSION", "MEMORY", "LOG")]
    rows += [
        (
            row.component,
            "yes" if row.up else "NO",
            row.detail or "-",
            row.version,
            f"{row.memory_bytes / _MEBIBYTE:.0f} MiB",
            row.log,
        )
        for row in seen.rows
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"\nmemory of everything: {seen.memory_bytes / _MEBIBYTE:.0f} MiB")
    for title, place in (
        ("kubeconfig", seen.kubeconfig),
        ("audit log", seen.audit_log),
        ("logs of all containers", seen.container_logs),
        ("Prometheus", seen.prometheus_url or "-"),
    ):
        print(f"{title}: {place}")


_COMMANDS = {"up": _up, "status": _status, "reset": _reset, "down": _down, "exec": _exec}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m testbed", description=__doc__.splitlines()[0])
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    texts = {
        "up": "bring it up; a healthy one is left as it is",
        "status": "say what is up, in which version, with how much memory; exit 0 only if all is well",
        "reset": "replace it by a fresh one with the sample shop in its original state",
        "down": "end it, without a trace outside the cache",
        "exec": "run a command inside its namespaces, with KUBECONFIG set",
    }
    for name, text in texts.items():
        sub = subparsers.add_parser(name, help=text, description=text)
        sub.add_argument("--light", metavar="NAME", help="a small cluster of this name, instead of the full testbed")
        if name == "status":
            sub.add_argument("-o", "--output", choices=["table", "json"], default="table")
        if name == "exec":
            sub.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    return parser
