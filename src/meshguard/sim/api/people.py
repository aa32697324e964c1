"""Who has a context in the kubeconfig of a simulated cluster, and how the server knows them by their token."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from meshguard.sim.api.identity import ANONYMOUS, AUTHENTICATED, MASTERS, User

CLOCK_EXTENSION = "meshguard.dev/clock"
#: What their groups may do stands in `data/users.yaml`.
PEOPLE: Mapping[str, User] = {
    "admin": User("admin", (MASTERS, AUTHENTICATED), "admin"),
    "viewer": User("viewer", ("sim:viewers", AUTHENTICATED), "viewer"),
    "shop-admin": User("shop-admin", ("sim:shop-admins", AUTHENTICATED), "shop-admin"),
    "stranger": User("stranger", (AUTHENTICATED,), "stranger"),
}


class Tokens:
    """The tokens of one cluster."""

    def __init__(self) -> None:
        self.by_person = {person: secrets.token_urlsafe(24) for person in PEOPLE}
        self._users = {token: PEOPLE[person] for person, token in self.by_person.items()}

    def authenticate(self, request: web.Request) -> User | None:
        """Say who asks: nobody for a wrong token, the anonymous user for none."""
        header = request.headers.get("Authorization", "")
        if not header:
            return ANONYMOUS
        scheme, _, token = header.partition(" ")
        return self._users.get(token) if scheme.lower() == "bearer" else None


def write_kubeconfig(
    path: Path, cluster: str, server: str, authority: bytes, tokens: Tokens, clock_url: str = ""
) -> None:
    """Write a kubeconfig with one context for each person, readable for its owner only.

    `clock_url` stands in each context as an extension: whoever knows it lives by the cluster's clock.
    """
    clock = {"extensions": [{"name": CLOCK_EXTENSION, "extension": {"url": clock_url}}]} if clock_url else {}
    contexts = [
        {
            "name": cluster if person == "admin" else f"{cluster}-as-{person}",
            "context": {"cluster": cluster, "user": f"{cluster}-{person}", **clock},
        }
        for person in PEOPLE
    ]
    trust = base64.b64encode(authority).decode()
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {"server": server, "certificate-authority-data": trust}}],
        "users": [{"name": f"{cluster}-{person}", "user": {"token": tokens.by_person[person]}} for person in PEOPLE],
        "contexts": contexts,
        "current-context": cluster,
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=1) + "\n")  # JSON is YAML
