"""Which rights an exit from Istio's sidecars, its way back, a realignment and faults need, each with its reason.

`meshguard rbac` prints this table as Roles, and the rights review before a run asks for nothing else: a write or a
wait of a plan that is not in here is a defect (`plan.rights`).
"""

from __future__ import annotations

from meshguard.model.rights import Place, Purpose, Right

_EXIT, _BACK, _CHAOS = (Purpose.EXIT,), (Purpose.RESTORE, Purpose.REJOIN), (Purpose.CHAOS,)
_PLANS = (Purpose.EXIT, Purpose.REALIGN)
_POLICIES = (*_EXIT, *_BACK)
_LIST, _EDIT, _MADE = ("list",), ("get", "patch"), ("get", "create", "delete")
_SECURITY, _NETWORKING = "security.istio.io", "networking.istio.io"
_ADMISSION = "admissionregistration.k8s.io"

RIGHTS: tuple[Right, ...] = (
    # What decides about a plan.
    Right(_LIST, "namespaces", Place.CLUSTER, "their labels decide about injection"),
    Right(_LIST, "pods", Place.CLUSTER, "who carries a proxy, and whether the old pods are gone"),
    Right(_LIST, "services", Place.CLUSTER, "which hosts the workloads stand behind"),
    Right(_LIST, "deployments.apps", Place.CLUSTER, "templates: who is due for a proxy, how it restarts"),
    Right(_LIST, "statefulsets.apps", Place.CLUSTER, "templates: who is due for a proxy, how it restarts"),
    Right(_LIST, "daemonsets.apps", Place.CLUSTER, "templates: who is due for a proxy, how it restarts"),
    Right(_LIST, "replicasets.apps", Place.CLUSTER, "to which Deployment a pod belongs"),
    Right(_LIST, f"mutatingwebhookconfigurations.{_ADMISSION}", Place.CLUSTER, "whom the injector takes"),
    Right(_LIST, f"peerauthentications.{_SECURITY}", Place.CLUSTER, "who refuses plaintext"),
    Right(_LIST, f"authorizationpolicies.{_SECURITY}", Place.CLUSTER, "who admits callers by identity"),
    Right(_LIST, f"requestauthentications.{_SECURITY}", Place.CLUSTER, "what is lost with the servers' proxies"),
    Right(_LIST, f"destinationrules.{_NETWORKING}", Place.CLUSTER, "who always speaks TLS"),
    Right(_LIST, f"sidecars.{_NETWORKING}", Place.CLUSTER, "who calls whom"),
    Right(_LIST, f"serviceentries.{_NETWORKING}", Place.CLUSTER, "hosts of the mesh that no Service tells of"),
    Right(_LIST, f"virtualservices.{_NETWORKING}", Place.CLUSTER, "routes that go with the proxies"),
    Right(_LIST, f"envoyfilters.{_NETWORKING}", Place.CLUSTER, "filters that go with the proxies"),
    Right(_LIST, "wasmplugins.extensions.istio.io", Place.CLUSTER, "filters that go with the proxies"),
    Right(("get", "list"), "configmaps", Place.MESH, "the mesh's own settings"),
    # What makes a plan tell more.
    Right(_LIST, "nodes", Place.CLUSTER, "room for the new pods", _PLANS, informs=True),
    Right(_LIST, "resourcequotas", Place.CLUSTER, "room for the new pods", _PLANS, informs=True),
    Right(_LIST, "persistentvolumeclaims", Place.CLUSTER, "volumes that one pod holds alone", _PLANS, informs=True),
    Right(_LIST, "jobs.batch", Place.CLUSTER, "pods that run to completion", _PLANS, informs=True),
    Right(_LIST, "cronjobs.batch", Place.CLUSTER, "pods that run to completion", _PLANS, informs=True),
    Right(_LIST, "rollouts.argoproj.io", Place.CLUSTER, "workloads of Argo Rollouts", _PLANS, informs=True),
    Right(_LIST, "poddisruptionbudgets.policy", Place.CLUSTER, "what slows a restart down", _PLANS, informs=True),
    Right(_LIST, "horizontalpodautoscalers.autoscaling", Place.CLUSTER, "who owns the replicas", _PLANS, informs=True),
    Right(
        _LIST, f"validatingwebhookconfigurations.{_ADMISSION}", Place.CLUSTER, "who could refuse", _PLANS, informs=True
    ),
    Right(
        _LIST, "networkpolicies.networking.k8s.io", Place.CLUSTER, "rules about namespace labels", _PLANS, informs=True
    ),
    Right(
        _LIST, "gateways.gateway.networking.k8s.io", Place.CLUSTER, "rules about namespace labels", _PLANS, informs=True
    ),
    Right(_LIST, "horizontalpodautoscalers.autoscaling", Place.CLUSTER, "replicas that nobody has edited", _BACK),
    # What is changed.
    Right(_EDIT, "namespaces", Place.CLUSTER, "the label that switches injection, and the mark of the run"),
    Right(_EDIT, "deployments.apps", Place.SCOPE, "the restart mark, the pod label"),
    Right(_EDIT, "statefulsets.apps", Place.SCOPE, "the restart mark, the pod label"),
    Right(_EDIT, "daemonsets.apps", Place.SCOPE, "the restart mark, the pod label"),
    Right(_EDIT, "replicasets.apps", Place.SCOPE, "the restart mark, where no Deployment owns it"),
    Right(_EDIT, "rollouts.argoproj.io", Place.SCOPE, "the restart mark, the pod label"),
    Right(("delete",), "pods", Place.SCOPE, "one by one, where the controller waits for that (OnDelete)"),
    Right(
        _EDIT,
        f"peerauthentications.{_SECURITY}",
        Place.CLUSTER,
        "plaintext beside STRICT, and back",
        (*_POLICIES, *_CHAOS),
    ),
    Right(
        ("create",),
        f"peerauthentications.{_SECURITY}",
        Place.CLUSTER,
        "plaintext where no policy is",
        (*_EXIT, *_CHAOS),
    ),
    Right(
        ("delete",), f"peerauthentications.{_SECURITY}", Place.CLUSTER, "what the exit has created", (*_BACK, *_CHAOS)
    ),
    Right(_EDIT, f"destinationrules.{_NETWORKING}", Place.CLUSTER, "TLS by endpoint, and back", _POLICIES),
    Right(("create",), f"destinationrules.{_NETWORKING}", Place.CLUSTER, "where callers would hold on to TLS", _EXIT),
    Right(("delete",), f"destinationrules.{_NETWORKING}", Place.CLUSTER, "what the exit has created", _BACK),
    Right(_EDIT, f"authorizationpolicies.{_SECURITY}", Place.CLUSTER, "identity that is lost, and back", _POLICIES),
    # What faults make, and take back.
    Right(_EDIT, "services", Place.CLUSTER, "an injector that nobody answers for", _CHAOS),
    Right(_MADE, "deployments.apps", Place.CLUSTER, "a caller with a sidecar of its own", _CHAOS),
    Right(_MADE, "jobs.batch", Place.CLUSTER, "the traffic of a fault", _CHAOS),
    Right(_MADE, "limitranges", Place.CLUSTER, "a control plane without processor time", _CHAOS),
    Right(_MADE, f"virtualservices.{_NETWORKING}", Place.CLUSTER, "retries of what must not be repeated", _CHAOS),
    Right(_MADE, f"serviceentries.{_NETWORKING}", Place.CLUSTER, "hosts whose endpoints change", _CHAOS),
    Right(("patch",), f"serviceentries.{_NETWORKING}", Place.CLUSTER, "their endpoints, at a rate", _CHAOS),
    # What is looked at, and written down.
    Right(("create",), "pods", Place.SCOPE, "by dry run only: does admission still bring a proxy?"),
    Right(("get", "create"), "pods/portforward", Place.CLUSTER, "each proxy is asked what it really has"),
    Right(
        ("get", "list", "create", "patch"),
        "configmaps",
        Place.OWN,
        "the record by which others can resume and restore",
    ),
    Right(("get", "create", "patch"), "leases.coordination.k8s.io", Place.OWN, "one run at a time, and by whom"),
)
