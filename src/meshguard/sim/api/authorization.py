"""Who may do what, by the roles that are in the store. Source: `plugin/pkg/auth/authorizer/rbac` of Kubernetes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from meshguard.sim.api.identity import AUTHENTICATED, User
from meshguard.sim.api.requests import Request, Target
from meshguard.sim.api.status import ApiError, Doc, forbidden
from meshguard.sim.api.store import Store

_GROUP = "rbac.authorization.k8s.io"
_ROLES, _CLUSTER_ROLES = f"roles.{_GROUP}", f"clusterroles.{_GROUP}"
_BINDINGS, _CLUSTER_BINDINGS = f"rolebindings.{_GROUP}", f"clusterrolebindings.{_GROUP}"


@dataclass(frozen=True, slots=True)
class Action:
    """What somebody wants to do."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    """Of something that is no resource."""

    @classmethod
    def of(cls, target: Target) -> Action:
        """The action of a request."""
        if not target.is_resource:
            return cls(target.verb, path=target.path)
        namespace, name = target.namespace, target.name
        if target.plural == "namespaces" and not target.group:
            namespace = name
        return cls(target.verb, target.group, target.plural, target.subresource, namespace, name)

    @property
    def full_resource(self) -> str:
        """`pods`, `pods/log`."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource

    def refusal(self, user: User) -> str:
        """Why it is refused, as the server says it."""
        if self.path:
            return f'User "{user.name}" cannot {self.verb} path "{self.path}"'
        where = f'in the namespace "{self.namespace}"' if self.namespace else "at the cluster scope"
        what = f'resource "{self.full_resource}" in API group "{self.group}"'
        return f'User "{user.name}" cannot {self.verb} {what} {where}'


class Authorizer:
    """Answers by the roles and bindings in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def allows(self, user: User, action: Action) -> bool:
        """Tell whether somebody may do something."""
        return user.is_master or any(_covers(rule, action) for rule, _ in self.rules(user, action.namespace))

    def why(self, user: User, action: Action) -> str:
        """The binding that allows it, as reviews tell it; "" when none does."""
        if user.is_master:
            return ""
        return next((words for rule, words in self.rules(user, action.namespace) if _covers(rule, action)), "")

    def rules(self, user: User, namespace: str) -> Iterator[tuple[Doc, str]]:
        """Yield every rule that holds for somebody in a namespace (and in the cluster), and where it comes from."""
        for entry in self._store.all(_CLUSTER_BINDINGS):
            subject = _subject(entry.doc, user, "")
            if subject:
                kind, name = entry.doc["roleRef"]["kind"], entry.doc["roleRef"]["name"]
                words = f'RBAC: allowed by ClusterRoleBinding "{entry.key[1]}" of {kind} "{name}" to {subject}'
                yield from ((rule, words) for rule in self._role(entry.doc["roleRef"], ""))
        for entry in self._store.all(_BINDINGS, namespace) if namespace else ():
            subject = _subject(entry.doc, user, namespace)
            if subject:
                kind, name = entry.doc["roleRef"]["kind"], entry.doc["roleRef"]["name"]
                words = f'RBAC: allowed by RoleBinding "{entry.key[1]}/{namespace}" of {kind} "{name}" to {subject}'
                yield from ((rule, words) for rule in self._role(entry.doc["roleRef"], namespace))

    def _role(self, reference: Mapping[str, str], namespace: str) -> Sequence[Doc]:
        storage, place = (_ROLES, namespace) if reference["kind"] == "Role" else (_CLUSTER_ROLES, "")
        entry = self._store.get(storage, place, reference["name"])
        if entry is None:
            return ()
        return entry.doc.get("rules") or ()

    def refusal(self, request: Request, target: Target) -> str:
        """Why a request is refused; "" when it is not."""
        action = Action.of(target)
        return "" if self.allows(request.user, action) else action.refusal(request.user)

    def impersonated(self, user: User, headers: Sequence[tuple[str, str]], target: Target) -> User:
        """The user in whose name somebody asks. Raises ApiError: 403 when that is not allowed, 500 for half a name."""
        named = [(name.lower(), value) for name, value in headers if name.lower().startswith("impersonate-")]
        if not named:
            return user
        chosen = next((value for name, value in named if name == "impersonate-user"), "")
        groups = tuple(value for name, value in named if name == "impersonate-group")
        extra: dict[str, tuple[str, ...]] = {}
        for name, value in named:
            if name.startswith("impersonate-extra-"):
                key = name.removeprefix("impersonate-extra-")
                extra[key] = (*extra.get(key, ()), value)
        if not chosen:
            message = f"requested {[name for name, _ in named]} without impersonating a user"
            raise ApiError(500, "InternalError", f"Internal Server Error: {message}")
        self._may(user, "users", "", chosen, target)
        for group in groups:
            self._may(user, "groups", "", group, target)
        for key, values in extra.items():
            for value in values:
                self._may(user, "userextras", key, value, target)
        asked = groups
        if chosen.startswith("system:serviceaccount:") and not groups:
            namespace = chosen.split(":")[2]
            asked = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
        if AUTHENTICATED not in asked and chosen != "system:anonymous":
            asked = (*asked, AUTHENTICATED)
        return replace(User(chosen), groups=asked, extra=extra)

    def _may(self, user: User, resource: str, subresource: str, name: str, target: Target) -> None:
        """Refuse in the words of the newer rule, which names what shall be done in the other's name."""
        group = "authentication.k8s.io" if resource == "userextras" else ""
        namespace = ""
        if resource == "users" and name.startswith("system:serviceaccount:"):
            _, _, namespace, name = name.split(":", 3)
            resource = "serviceaccounts"
        action = Action("impersonate", group, resource, subresource, namespace, name)
        if not self.allows(user, action):
            kind = "serviceaccount" if resource == "serviceaccounts" else "user-info"
            wanted = Action.of(target)
            wanted = replace(wanted, verb=f"impersonate-on:{kind}:{wanted.verb}")
            raise forbidden(target.group, target.plural, target.name, wanted.refusal(user))


def _subject(binding: Doc, user: User, namespace: str) -> str:
    """The subject of a binding that somebody is, in words; "" when none."""
    for subject in binding.get("subjects") or ():
        match subject["kind"]:
            case "User" if subject["name"] == user.name:
                return f'User "{user.name}"'
            case "Group" if subject["name"] in user.groups:
                return f'Group "{subject["name"]}"'
            case "ServiceAccount":
                place = subject.get("namespace") or namespace
                if user.name == f"system:serviceaccount:{place}:{subject['name']}":
                    return f'ServiceAccount "{subject["name"]}/{place}"'
    return ""


def _covers(rule: Doc, action: Action) -> bool:
    if not {"*", action.verb} & set(rule["verbs"]):
        return False
    if action.path:
        return any(_matches_path(pattern, action.path) for pattern in rule.get("nonResourceURLs") or ())
    if not {"*", action.group} & set(rule.get("apiGroups") or ()):
        return False
    wanted = {"*", action.full_resource}
    if action.subresource:
        wanted.add(f"*/{action.subresource}")
    if not wanted & set(rule.get("resources") or ()):
        return False
    names = rule.get("resourceNames")
    return not names or action.name in names


def _matches_path(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1]))
