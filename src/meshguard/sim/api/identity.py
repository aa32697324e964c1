"""Who asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody whom the server knows."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def is_master(self) -> bool:
        """Whether nothing is refused."""
        return MASTERS in self.groups

    @property
    def is_system(self) -> bool:
        """Whether it is a controller of the cluster itself."""
        return self.name.startswith("system:serviceaccount:kube-system:")


SYSTEM = User("system:apiserver", (MASTERS, AUTHENTICATED))
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


def controller(name: str) -> User:
    """The service account of a controller."""
    account = f"system:serviceaccount:kube-system:{name}"
    groups = ("system:serviceaccounts", "system:serviceaccounts:kube-system", AUTHENTICATED, MASTERS)
    return User(account, groups)
