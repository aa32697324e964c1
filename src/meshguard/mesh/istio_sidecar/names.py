"""The names that Istio gives to labels, annotations and containers."""

from __future__ import annotations

NS_INJECTION = "istio-injection"
REVISION = "istio.io/rev"
TAG = "istio.io/tag"
NAMESPACE_NAME = "kubernetes.io/metadata.name"
POD_INJECT = "sidecar.istio.io/inject"
STATUS_ANNOTATION = "sidecar.istio.io/status"
TEMPLATES_ANNOTATION = "inject.istio.io/templates"
TLS_MODE = "security.istio.io/tlsMode"
AMBIENT_MODE = "istio.io/dataplane-mode"
AMBIENT = "ambient"
PROXY_CONTAINER = "istio-proxy"
AUTO_IMAGE = "auto"
SIDECAR_TEMPLATE = "sidecar"
#: Put by the webhook's own charts on istiod's pods and services.
ISTIOD_APP = "istiod"
