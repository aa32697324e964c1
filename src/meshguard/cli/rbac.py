"""The command `rbac`: the least Roles for a purpose, for `kubectl apply -f -`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from meshguard.cli import options

if TYPE_CHECKING:
    from meshguard.plan.rights import Role

_PURPOSES = ("exit", "restore", "rejoin", "realign", "chaos")
_WIDTH = 200
_OPTIONAL = " (may be left out: the plan then says less)"
#: The namespace of the records is made with the Roles, so that nobody needs the right to make one.
_RECORDS = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "meshguard-system"}}


@click.command()
@click.option("--for", "purpose", type=click.Choice(_PURPOSES), required=True, help="What the person shall do.")
@options.namespaces
@click.option("--user", default="", help="Bind the Roles to this user as well.")
@click.option("--group", default="", help="Bind the Roles to this group as well.")
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True, help="Form.")
def rbac(purpose: str, namespaces: tuple[str, ...], user: str, group: str, output: str) -> None:
    """Print the least Roles for a purpose; -n narrows what may be changed to namespaces.

    No cluster is asked. Everything that is granted is what the rights review before a run looks for.
    """
    from meshguard.cli import render
    from meshguard.mesh.istio_sidecar.rights import RIGHTS
    from meshguard.model.rights import Purpose
    from meshguard.plan.rights import roles

    if user and group:
        raise click.UsageError("give --user or --group, not both")
    subject = {"kind": "User", "name": user} if user else {"kind": "Group", "name": group} if group else None
    wanted = roles(Purpose(purpose), RIGHTS, namespaces)
    if output == "json":
        print(
            render.as_json("RoleSet", {"for": purpose, "objects": _objects(wanted, subject), "rights": _rows(wanted)})
        )
        return
    print(f"# What `meshguard {purpose}` does, each rule with its reason. Apply it as somebody who may grant rights.")
    print("---\n".join(_documents(wanted, subject)), end="")


def _objects(wanted: Iterable[Role], subject: Mapping[str, str] | None) -> list[dict[str, Any]]:
    bound = [[role.manifest(), *([role.binding(subject)] if subject else [])] for role in wanted]
    return [_RECORDS, *(document for documents in bound for document in documents)]


def _rows(wanted: Iterable[Role]) -> list[dict[str, Any]]:
    return [
        {
            "verbs": list(right.verbs),
            "resource": right.resource,
            "namespace": role.namespace,
            "why": right.why,
            "informs": right.informs,
        }
        for role in wanted
        for right in role.rights
    ]


def _documents(wanted: Iterable[Role], subject: Mapping[str, str] | None) -> Iterator[str]:
    yield _yaml(_RECORDS)
    for role in wanted:
        lines = [_yaml(role.head()), "rules:\n"]
        for rule, rights in role.rules.values():
            lines += [f"# {', '.join(r.verbs)}: {r.why}{_OPTIONAL if r.informs else ''}\n" for r in rights]
            lines.append(f"- {_yaml(rule)}")
        yield "".join(lines)
        if subject:
            yield _yaml(role.binding(subject))


def _yaml(document: Mapping[str, Any]) -> str:
    import yaml

    flow = None if "kind" in document else True
    return yaml.safe_dump(document, sort_keys=False, default_flow_style=flow, width=_WIDTH)
