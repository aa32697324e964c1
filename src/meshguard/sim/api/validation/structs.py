"""What holds for a struct wherever it stands, by its Go type. Source: `pkg/apis/*/validation` of Kubernetes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from meshguard.sim.api.names import annotation_errors, label_error, label_errors, qualified_name_error, subdomain_error
from meshguard.sim.api.schema import Shape, Type
from meshguard.sim.api.status import FieldError, duplicate, forbidden_field, invalid_value, required, unsupported

Doc = Mapping[str, Any]
Rule = Callable[[Doc, str], Iterator[FieldError]]

NEGATIVE = "must be greater than or equal to 0"
PORT = "must be between 1 and 65535, inclusive"


def need(*names: str, detail: str = "") -> Rule:
    """These fields must hold something."""

    def check(doc: Doc, path: str) -> Iterator[FieldError]:
        for name in names:
            if not doc.get(name):
                yield required(f"{path}{name}", detail)

    return check


def one_of(name: str, *values: str) -> Rule:
    """The field holds one of these words; an absent one has been given its default."""

    def check(doc: Doc, path: str) -> Iterator[FieldError]:
        if doc.get(name) and doc[name] not in values:
            yield unsupported(f"{path}{name}", doc[name], sorted(values))

    return check


def not_negative(*names: str) -> Rule:
    """These numbers are no less than zero."""

    def check(doc: Doc, path: str) -> Iterator[FieldError]:
        for name in names:
            if isinstance(doc.get(name), int) and doc[name] < 0:
                yield invalid_value(f"{path}{name}", doc[name], NEGATIVE)

    return check


def port(*names: str) -> Rule:
    """These numbers are ports."""

    def check(doc: Doc, path: str) -> Iterator[FieldError]:
        for name in names:
            if isinstance(doc.get(name), int) and not 1 <= doc[name] <= 65535:
                yield invalid_value(f"{path}{name}", doc[name], PORT)

    return check


def _container(doc: Doc, path: str) -> Iterator[FieldError]:
    name = doc.get("name", "")
    if not name:
        yield required(f"{path}name")
    elif label_error(name):
        yield invalid_value(f"{path}name", name, label_error(name))
    if not doc.get("image"):
        yield required(f"{path}image")


def _pod_spec(doc: Doc, path: str) -> Iterator[FieldError]:
    if not doc.get("containers"):
        yield required(f"{path}containers")
    volumes = {volume.get("name") for volume in doc.get("volumes", ())}
    seen: set[str] = set()
    for kind in ("initContainers", "containers"):
        for number, container in enumerate(doc.get(kind) or ()):
            at = f"{path}{kind}[{number}]"
            if container.get("name") in seen:
                yield duplicate(f"{at}.name", container["name"])
            seen.add(container.get("name", ""))
            for index, mount in enumerate(container.get("volumeMounts", ())):
                if mount.get("name") not in volumes:
                    words = f"{at}.volumeMounts[{index}].name"
                    yield FieldError(words, "FieldValueNotFound", f'Not found: "{mount.get("name", "")}"')
            if kind == "initContainers" and container.get("restartPolicy") != "Always":
                for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
                    if probe in container:
                        yield forbidden_field(
                            f"{at}.{probe}", "may not be set for init containers without restartPolicy=Always"
                        )


def _template(doc: Doc, path: str) -> Iterator[FieldError]:
    metadata = doc.get("metadata", {})
    yield from label_errors(metadata.get("labels") or {}, f"{path}metadata.labels")
    yield from annotation_errors(metadata.get("annotations") or {}, f"{path}metadata.annotations")


def selector_errors(doc: Doc, path: str) -> Iterator[FieldError]:
    """Yield what is wrong with a label selector of a document."""
    yield from label_errors(doc.get("matchLabels") or {}, f"{path}matchLabels")
    for number, expression in enumerate(doc.get("matchExpressions") or ()):
        at = f"{path}matchExpressions[{number}]"
        operator, values = expression.get("operator", ""), expression.get("values")
        if operator in ("In", "NotIn") and not values:
            yield required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist") and values:
            yield forbidden_field(f"{at}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        elif operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
            yield invalid_value(f"{at}.operator", operator, "not a valid selector operator")
        wrong = qualified_name_error(expression.get("key", ""))
        if wrong:
            yield invalid_value(f"{at}.key", expression.get("key", ""), wrong)


def _env(doc: Doc, path: str) -> Iterator[FieldError]:
    if not doc.get("name"):
        yield required(f"{path}name")
    if doc.get("value") and doc.get("valueFrom"):
        yield invalid_value(f"{path}valueFrom", "", "may not be specified when `value` is not empty")


def _resources(doc: Doc, path: str) -> Iterator[FieldError]:
    from meshguard.model.quantities import amount

    limits = doc.get("limits", {})
    for name, value in doc.get("requests", {}).items():
        if name in limits and amount(value) > amount(limits[name]):
            yield invalid_value(
                f"{path}requests", value, f"must be less than or equal to {name} limit of {limits[name]}"
            )


def _volume(doc: Doc, path: str) -> Iterator[FieldError]:
    name = doc.get("name", "")
    if not name:
        yield required(f"{path}name")
    elif label_error(name):
        yield invalid_value(f"{path}name", name, label_error(name))


def _service_port(doc: Doc, path: str) -> Iterator[FieldError]:
    for name in ("port", "targetPort"):
        if isinstance(doc.get(name, 0), int) and not 1 <= doc.get(name, 0) <= 65535:
            yield invalid_value(f"{path}{name}", doc.get(name, 0), PORT)


def _policy_rule(doc: Doc, path: str) -> Iterator[FieldError]:
    if not doc.get("verbs"):
        yield required(f"{path}verbs", "verbs must contain at least one value")
    if doc.get("nonResourceURLs"):
        return
    if not doc.get("apiGroups"):
        yield required(f"{path}apiGroups", "resource rules must supply at least one api group")
    if not doc.get("resources"):
        yield required(f"{path}resources", "resource rules must supply at least one resource")


def _webhook(doc: Doc, path: str) -> Iterator[FieldError]:
    name = doc.get("name", "")
    if subdomain_error(name) or name.count(".") < 2:
        yield invalid_value(f"{path}name", name, "should be a domain with at least three segments separated by dots")
    if doc.get("sideEffects") not in ("None", "NoneOnDryRun"):
        if doc.get("sideEffects"):
            yield unsupported(f"{path}sideEffects", doc["sideEffects"], ["None", "NoneOnDryRun"])
        else:
            yield required(f"{path}sideEffects", 'must specify one of "None", "NoneOnDryRun"')
    if not doc.get("admissionReviewVersions"):
        yield required(f"{path}admissionReviewVersions", "must specify one of v1, v1beta1")


def _strategy(doc: Doc, path: str) -> Iterator[FieldError]:
    if doc.get("type") not in ("Recreate", "RollingUpdate"):
        internal = {"Type": doc.get("type", ""), "RollingUpdate": doc.get("rollingUpdate")}
        yield unsupported(path.removesuffix("."), internal, ["Recreate", "RollingUpdate"])


STRUCTS: Mapping[str, tuple[Rule, ...]] = {
    "PodSpec": (
        _pod_spec,
        one_of("restartPolicy", "Always", "OnFailure", "Never"),
        one_of("dnsPolicy", "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"),
        not_negative("terminationGracePeriodSeconds"),
    ),
    "Container": (_container, one_of("imagePullPolicy", "Always", "IfNotPresent", "Never")),
    "ContainerPort": (port("containerPort"), one_of("protocol", "TCP", "UDP", "SCTP")),
    "PodTemplateSpec": (_template,),
    "LabelSelector": (selector_errors,),
    "EnvVar": (_env,),
    "ResourceRequirements": (_resources,),
    "Volume": (_volume,),
    "ServicePort": (_service_port, one_of("protocol", "TCP", "UDP", "SCTP")),
    "ServiceSpec": (
        one_of("type", "ClusterIP", "NodePort", "LoadBalancer", "ExternalName"),
        one_of("sessionAffinity", "None", "ClientIP"),
    ),
    "DeploymentSpec": (not_negative("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"),),
    "DeploymentStrategy": (_strategy,),
    "ReplicaSetSpec": (not_negative("replicas", "minReadySeconds"),),
    "StatefulSetSpec": (
        not_negative("replicas"),
        one_of("podManagementPolicy", "OrderedReady", "Parallel"),
    ),
    "JobSpec": (
        not_negative("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"),
    ),
    "CronJobSpec": (
        need("schedule"),
        one_of("concurrencyPolicy", "Allow", "Forbid", "Replace"),
        not_negative("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"),
    ),
    "LeaseSpec": (),
    "PolicyRule": (_policy_rule,),
    "MutatingWebhook": (_webhook, one_of("failurePolicy", "Fail", "Ignore")),
    "ValidatingWebhook": (_webhook, one_of("failurePolicy", "Fail", "Ignore")),
}


def struct_errors(of: Type, value: Any, path: str) -> Iterator[FieldError]:
    """Walk through a document and yield what is wrong with any struct of it."""
    match of.shape:
        case Shape.STRUCT if isinstance(value, Mapping):
            for rule in STRUCTS.get(of.name, ()):
                yield from rule(value, path)
            for name, inner in value.items():
                field = of.fields.get(name)
                if field is not None and field.of.shape in (Shape.STRUCT, Shape.LIST):
                    yield from struct_errors(field.of, inner, _inside(path, name, field.of))
        case Shape.LIST if of.part.shape is Shape.STRUCT:
            for number, item in enumerate(value or ()):
                yield from struct_errors(of.part, item, f"{path}[{number}].")


def _inside(path: str, name: str, of: Type) -> str:
    return f"{path}{name}" if of.shape is Shape.LIST else f"{path}{name}."
