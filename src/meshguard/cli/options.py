"""Options that many commands share, and the Target that they describe."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from meshguard.app import Target

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Where:
    """The cluster and the configuration that a person named on the command line."""

    context: str | None
    kubeconfig: str | None
    config: Path | None
    as_user: str
    as_groups: tuple[str, ...]

    def target(self) -> Target:
        """Load the configuration and return the target. Raises config.ConfigError."""
        from meshguard import config
        from meshguard.app import Target

        loaded = config.load(self.config)
        return Target(self.context, self.kubeconfig, self.as_user, self.as_groups, loaded.config)


def packing(command: F, wrapped: Callable[..., Any], added: Iterable[Callable[[Any], Any]]) -> F:
    """Return `wrapped` as the command with these options added; it hands their values on to it as one argument."""
    functools.update_wrapper(wrapped, command)
    for option in added:
        option(wrapped)
    return cast(F, wrapped)


def where(command: F) -> F:
    """Add the options that say which cluster, as whom; the command gets one argument `where`."""

    def wrapped(
        context: str | None,
        kubeconfig: str | None,
        config: Path | None,
        as_user: str,
        as_groups: tuple[str, ...],
        **rest: Any,
    ) -> Any:
        return command(where=Where(context, kubeconfig, config, as_user, as_groups), **rest)

    added = (
        click.option("--context", help="Context of the kubeconfig; mutations need it."),
        click.option("--kubeconfig", type=click.Path(), help="Kubeconfig file; what kubectl takes by default."),
        click.option("--config", type=click.Path(path_type=Path), help="meshguard.yaml to use."),
        click.option("--as", "as_user", default="", help="Impersonate this user."),
        click.option("--as-group", "as_groups", multiple=True, help="Impersonate this group; needs --as."),
    )
    return packing(command, wrapped, added)


namespaces = click.option("-n", "--namespace", "namespaces", multiple=True, help="A namespace; repeat for several.")
gate = click.option(
    "--gate",
    default="",
    help="A hypothesis (file, or one of ours) that must hold before the first change, after each wave and at the end.",
)
output = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the answer."
)


local_journal_only = click.option(
    "--local-journal-only",
    "accept",
    is_flag=True,
    callback=lambda _, __, given: ("--local-journal-only",) if given else (),
    help="Only this machine may know of the run, where the cluster cannot mirror it.",
)


def consents(command: F) -> F:
    """Add the consents; the command gets them as `accept`, in the words of the options."""
    names = (
        ("--accept-authz-loss", True, "Rules that admit leaving callers by identity lose that condition."),
        ("--accept-fail-open", True, "Leaving servers lose the policies that their sidecars enforce."),
        ("--accept-egress-plaintext", True, "What the proxies encrypt on the way out may leave as plaintext."),
        ("--accept-routing-loss", True, "VirtualServices that send requests elsewhere may be missing."),
        ("--accept-unknown-version", True, "Nobody can tell the control plane's version, and that is accepted."),
        ("--declare-outage", True, "No istiod answers, and the outage that the plan names is accepted."),
        ("--local-journal-only", True, "Only this machine may know of the run, where the cluster cannot mirror it."),
        ("--accept-authz-rule", False, "NS/POLICY#RULE whose change of meaning is acceptable; repeatable."),
        ("--accept-interruption", False, "NS/WORKLOAD or NS/WORKLOAD:PORT that may be interrupted; repeatable."),
    )

    def wrapped(**given: Any) -> Any:
        accept: list[str] = []
        for option, is_flag, _ in names:
            value = given.pop(option.removeprefix("--").replace("-", "_"))
            if is_flag:
                accept += [option] if value else []
            else:
                accept += [f"{option} {item}" for item in value]
        return command(accept=tuple(accept), **given)

    added = (
        click.option(option, is_flag=True, help=text) if is_flag else click.option(option, multiple=True, help=text)
        for option, is_flag, text in names
    )
    return packing(command, wrapped, added)


def scope(command: F) -> F:
    """Add the options that say who is meant, `-n` included; the command gets them as `asked`."""

    def wrapped(
        namespaces: tuple[str, ...],
        workloads: tuple[str, ...],
        exclude: tuple[str, ...],
        **rest: Any,
    ) -> Any:
        from meshguard.model.scopes import Asked

        names = ("whole_mesh", "selector", "revision", "cap", "by_label", "callers_from")
        given = {name: rest.pop(name) for name in names}
        given["callers_from"] = "" if given["callers_from"] == "all" else given["callers_from"]
        asked = Asked(frozenset(namespaces), frozenset(workloads), exclude=frozenset(exclude), **given)
        return command(asked=asked, **rest)

    added = (
        click.option(
            "--callers-from",
            type=click.Choice(["all", "observed"]),
            default="all",
            show_default=True,
            help="For an exit: relax all servers that the scope may call, or those that telemetry has seen it call.",
        ),
        click.option("--by-pod-label", "by_label", is_flag=True, help="Label pod templates, not namespaces."),
        click.option("--cap", default="", help="The most that may leave: a number of workloads, or a share like 25%."),
        click.option("--exclude", multiple=True, help="NS or NS/NAME that stays; repeatable."),
        click.option("--revision", default="", help="Only workloads whose proxies this revision has injected."),
        click.option("-l", "--selector", default="", help="Only workloads whose pods have these labels."),
        click.option("--whole-mesh", is_flag=True, help="Everything that is in the mesh; needs --cap 100%."),
        click.option("-w", "--workload", "workloads", multiple=True, help="NS/NAME or NS/KIND/NAME; repeatable."),
        namespaces,
    )
    return packing(command, wrapped, added)
