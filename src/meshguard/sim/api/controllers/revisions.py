"""ControllerRevisions: the templates that StatefulSets and DaemonSets had. Source: `pkg/controller/history`."""

from __future__ import annotations

from meshguard.sim.api.controllers.hands import Hands, key_of, owner_reference, template_hash
from meshguard.sim.api.status import Doc

STORAGE = "controllerrevisions.apps"
HASH = "controller-revision-hash"


class Revisions:
    """The revisions of the objects of one kind."""

    def __init__(self, hands: Hands, storage: str) -> None:
        self._hands, self._storage = hands, storage

    def current(self, doc: Doc) -> str:
        """The name of the revision that the template is; it is made when it is new."""
        template = doc["spec"]["template"]
        known = self._all(doc)
        found = next((r for r in known if r["data"]["spec"]["template"] == {**template, "$patch": "replace"}), None)
        highest = max((r["revision"] for r in known), default=0)
        if found is None:
            return self._create(doc, highest + 1)
        if found["revision"] < highest:
            self._hands.update(STORAGE, key_of(found), {"revision": highest + 1})
        return str(found["metadata"]["name"])

    def template(self, doc: Doc, revision: str) -> Doc:
        """The template of a revision; that of today when the revision is forgotten."""
        found = self._hands.get(STORAGE, (doc["metadata"]["namespace"], revision))
        if found is None:
            template: Doc = doc["spec"]["template"]
            return template
        return {key: value for key, value in found["data"]["spec"]["template"].items() if key != "$patch"}

    def _all(self, doc: Doc) -> list[Doc]:
        return self._hands.owned(STORAGE, doc["metadata"]["namespace"], doc["metadata"]["uid"])

    def _create(self, doc: Doc, number: int) -> str:
        template, metadata = doc["spec"]["template"], doc["metadata"]
        digest = template_hash(template)
        name = f"{metadata['name']}-{digest}"
        body: Doc = {
            "metadata": {
                "name": name,
                "labels": {**template.get("metadata", {}).get("labels", {}), HASH: digest},
                "ownerReferences": [owner_reference(self._hands.resource(self._storage), doc)],
            },
            "data": {"spec": {"template": {**template, "$patch": "replace"}}},
            "revision": number,
        }
        self._hands.create(STORAGE, metadata["namespace"], body)
        return name
