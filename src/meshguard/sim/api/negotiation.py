"""In which form somebody wants the answer: as it is, as a table, or only its metadata; as JSON or YAML."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from meshguard.sim.api.status import not_acceptable

_FORMS = (
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
)


class As(Enum):
    """What an object is shown as."""

    ITSELF = ""
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"
    METADATA_LIST = "PartialObjectMetadataList"


@dataclass(frozen=True, slots=True)
class Form:
    """The form of an answer."""

    media: str = "application/json"
    as_: As = As.ITSELF
    aggregated: bool = False
    """For discovery: everything in one document."""


def negotiate(accept: str) -> Form:
    """Choose the first acceptable form that the server can make. Raises ApiError (406)."""
    if not accept.strip():
        return Form()
    for clause in accept.split(","):
        media, *parameters = (part.strip() for part in clause.split(";"))
        given = dict(part.partition("=")[::2] for part in parameters)
        kind = {"*/*": "application/json", "application/*": "application/json", "text/*": ""}.get(media, media)
        if kind not in ("application/json", "application/yaml"):
            continue
        if not given.get("as"):
            return Form(kind)
        if given.get("g") == "apidiscovery.k8s.io":
            if given.get("v") == "v2" and given["as"] == "APIGroupDiscoveryList":
                return Form(kind, aggregated=True)
            continue
        if given.get("g") == "meta.k8s.io" and given.get("v") == "v1" and given["as"] in As._value2member_map_:
            return Form(kind, As(given["as"]))
    raise not_acceptable(_FORMS)
