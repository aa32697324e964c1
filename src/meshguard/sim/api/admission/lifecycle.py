"""Nothing is created in a namespace that is not there or that is going. Source: `NamespaceLifecycle`."""

from __future__ import annotations

from meshguard.sim.api.admission.chain import Attributes, Operation
from meshguard.sim.api.status import Doc, forbidden, not_found
from meshguard.sim.api.store import Store

IMMORTAL = ("default", "kube-system", "kube-public")


class NamespaceLifecycle:
    """Guards namespaces."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def mutate(self, attributes: Attributes) -> Doc:
        """Refuse what cannot be where it shall be."""
        if attributes.operation is Operation.CREATE and attributes.resource.namespaced:
            self._check(attributes)
        return attributes.doc

    def _check(self, attributes: Attributes) -> None:
        namespace = self._store.get("namespaces", "", attributes.namespace)
        if namespace is None:
            raise not_found("", "namespaces", attributes.namespace)
        if namespace.doc["status"].get("phase") == "Terminating" and attributes.resource.storage not in (
            "localsubjectaccessreviews.authorization.k8s.io",
        ):
            resource, why = attributes.resource, "unable to create new content in namespace"
            error = forbidden(
                resource.group,
                resource.plural,
                attributes.name,
                f"{why} {attributes.namespace} because it is being terminated",
            )
            causes = [
                {
                    "reason": "NamespaceTerminating",
                    "message": f"namespace {attributes.namespace} is being terminated",
                    "field": "metadata.namespace",
                }
            ]
            error.details = {**(error.details or {}), "causes": causes}
            raise error

    def validate(self, attributes: Attributes) -> None:
        """Refuse the deletion of a namespace that the cluster itself needs."""
        if (
            attributes.operation is Operation.DELETE
            and attributes.resource.storage == "namespaces"
            and attributes.name in IMMORTAL
        ):
            raise forbidden("", "namespaces", attributes.name, "this namespace may not be deleted")
