"""What kubectl prints."""

from __future__ import annotations

import json

from testbed.proofs.api_cases.bodies import config_map, deployment, service
from testbed.proofs.api_cases.case import Case, case, kubectl

_WEB = json.dumps(deployment())
_MAP = json.dumps(config_map(a="1"))

CASES: tuple[Case, ...] = (
    case("kubectl apply", kubectl("apply", "-f", "-", text=_WEB), kubectl("apply", "-f", "-", text=_WEB)),
    case(
        "kubectl label, annotate, patch",
        kubectl("apply", "-f", "-", text=_MAP),
        kubectl("label", "configmap", "a", "x=y"),
        kubectl("label", "configmap", "a", "x=z"),
        kubectl("label", "configmap", "a", "x-"),
        kubectl("annotate", "configmap", "a", "x=y"),
        kubectl("patch", "configmap", "a", "--type=merge", "-p", '{"data":{"a":"2"}}'),
        kubectl("get", "configmap", "a", "-o", "jsonpath={.data.a}"),
    ),
    case(
        "kubectl scale, rollout",
        kubectl("apply", "-f", "-", text=_WEB),
        kubectl("scale", "deployment", "web", "--replicas=1"),
        kubectl("rollout", "restart", "deployment", "web"),
        kubectl("rollout", "status", "deployment", "web", "--timeout=60s", "--watch=false"),
        kubectl("rollout", "pause", "deployment", "web"),
    ),
    case(
        "kubectl create",
        kubectl("create", "configmap", "b", "--from-literal=k=v"),
        kubectl("create", "configmap", "b"),
        kubectl("create", "deployment", "d", "--image=x", "--replicas=0"),
    ),
    case(
        "kubectl delete",
        kubectl("apply", "-f", "-", text=_MAP),
        kubectl("delete", "configmap", "a"),
        kubectl("delete", "configmap", "a"),
    ),
    case(
        "kubectl describe",
        kubectl("apply", "-f", "-", text=json.dumps(service(clusterIP="None"))),
        kubectl("describe", "service", "a"),
    ),
    case(
        "kubectl get",
        kubectl("apply", "-f", "-", text=_WEB),
        kubectl("get", "deployment", "web", "-o", "name"),
        kubectl("get", "deployments", "-l", "none=at-all"),
        kubectl("get", "things"),
    ),
    case("kubectl apply, strictly", kubectl("apply", "-f", "-", text=json.dumps(deployment(replicaz=1)))),
    case(
        "kubectl apply on the server's side",
        kubectl("apply", "--server-side", "-f", "-", text=_MAP),
        kubectl("apply", "--server-side", "-f", "-", text=_MAP),
    ),
    case(
        "kubectl auth can-i",
        kubectl("auth", "can-i", "delete", "pods"),
        kubectl("auth", "can-i", "get", "pods", "--as", "jane"),
    ),
)
