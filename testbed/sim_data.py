"""Makes the data of the flight simulator's API from the sources of Kubernetes, Istio and the Gateway API.

    python -m testbed.sim_data
    python -m testbed.sim_data roles CLUSTER     (a running testbed, whose server has just made its own roles)

It reads the Go modules that the testbed is built from and writes `src/meshguard/sim/api/data/`: which resources
there are, the schema of each (with what Go's encoder does to empty fields), and the custom resource definitions.
Descriptions are left out; everything else is upstream's own words.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from testbed import binaries, toolchain
from testbed.api import Testbed

_ROOT = Path(__file__).resolve().parents[1]
OUT = _ROOT / "src" / "meshguard" / "sim" / "api" / "data"
_PREFIX = "#/components/schemas/"
_SERVED = re.compile(r"(v1|v2)")
_LEFT_OUT = (
    "internal.apiserver.k8s.io",
    "storagemigration.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "certificates.k8s.io",
)
_STRUCT = re.compile(r"^type (\w+) struct \{$(.*?)^\}$", re.MULTILINE | re.DOTALL)
_MESSAGE = re.compile(r"^message (\w+) \{$(.*?)^\}$", re.MULTILINE | re.DOTALL)
_WIRE_FIELD = re.compile(r"^\s*(?:optional|repeated)?\s*(map<[^>]*>|[\w.]+) (\w+) = (\d+);", re.MULTILINE)
_FIELD = re.compile(r"^\s*(?:(\w+)\s+)?(\S+)\s+`[^`]*json:\"([^\"]*)\"", re.MULTILINE)

Schema = dict[str, Any]


def main() -> None:
    """Write all files."""
    kubernetes = _module("k8s.io/kubernetes")
    resources = list(_resources(json.loads((kubernetes / "api" / "discovery" / "aggregated_v2.json").read_text())))
    schemas = _schemas(kubernetes / "api" / "openapi-spec" / "v3")
    wanted = _reachable(schemas, resources)
    go = dict(_go_fields())
    wire = dict(_wire_messages())
    for name in wanted:
        _mark(schemas[name], go.get(_go_name(name), {}), go)
        _number(name, schemas[name], wire)
    OUT.mkdir(parents=True, exist_ok=True)
    _write(OUT / "resources.json", resources)
    _write_mapping(OUT / "schemas.json", {name: schemas[name] for name in sorted(wanted)})
    istio = _module("istio.io/istio") / "manifests" / "charts" / "base" / "files" / "crd-all.gen.yaml"
    _write(OUT / "crds-istio.json", [_definition(crd) for crd in yaml.safe_load_all(istio.read_text()) if crd])
    gateway = _module("sigs.k8s.io/gateway-api") / "config" / "crd" / "standard"
    documents = (doc for file in sorted(gateway.glob("*.yaml")) for doc in yaml.safe_load_all(file.read_text()))
    crds = [_definition(doc) for doc in documents if doc and doc["kind"] == "CustomResourceDefinition"]
    _write(OUT / "crds-gateway.json", crds)


_ROLES = (
    "cluster-admin",
    "admin",
    "edit",
    "view",
    "system:discovery",
    "system:basic-user",
    "system:public-info-viewer",
)
_MADE_BY_SERVER = ("uid", "resourceVersion", "creationTimestamp", "managedFields")


def roles(cluster: str) -> None:
    """Write the roles and bindings that every API server makes for itself."""
    found = []
    for kind in ("clusterroles", "clusterrolebindings"):
        listed = json.loads(Testbed(cluster).kubectl("get", kind, "-o", "json"))["items"]
        for doc in listed:
            if doc["metadata"]["name"] in _ROLES:
                for name in _MADE_BY_SERVER:
                    doc["metadata"].pop(name, None)
                found.append(doc)
    _write(OUT / "roles.json", found)


def _module(path: str) -> Path:
    """Return the folder of a Go module."""
    answer = subprocess.run(
        [toolchain.go(), "list", "-m", "-f", "{{.Dir}}", path],
        cwd=binaries.KUBERNETES.module_folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(answer.stdout.strip())


def _resources(discovery: dict[str, Any]) -> Iterator[dict[str, Any]]:
    core = json.loads((_module("k8s.io/kubernetes") / "api" / "discovery" / "api__v1.json").read_text())
    yield from _core(core["resources"])
    for group in discovery["items"]:
        name = group["metadata"]["name"]
        if name in _LEFT_OUT:
            continue
        for version in group["versions"]:
            if not _SERVED.fullmatch(version["version"]):
                continue
            for found in version["resources"]:
                yield {
                    "group": name,
                    "version": version["version"],
                    "plural": found["resource"],
                    "kind": found["responseKind"]["kind"],
                    "singular": found["singularResource"],
                    "namespaced": found["scope"] == "Namespaced",
                    "verbs": found["verbs"],
                    "shortNames": found.get("shortNames", []),
                    "categories": found.get("categories", []),
                    "subresources": {
                        sub["subresource"]: {
                            "verbs": sub["verbs"],
                            "kind": sub["responseKind"]["kind"],
                            "group": sub["responseKind"]["group"],
                            "version": sub["responseKind"]["version"],
                        }
                        for sub in found.get("subresources", [])
                    },
                }


def _core(listed: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for found in listed:
        if "/" in found["name"]:
            continue
        yield {
            "group": "",
            "version": "v1",
            "plural": found["name"],
            "kind": found["kind"],
            "singular": found["singularName"],
            "namespaced": found["namespaced"],
            "verbs": found["verbs"],
            "shortNames": found.get("shortNames", []),
            "categories": found.get("categories", []),
            "subresources": {
                sub["name"].partition("/")[2]: {
                    "verbs": sub["verbs"],
                    "kind": sub["kind"],
                    "group": sub.get("group", ""),
                    "version": sub.get("version", ""),
                }
                for sub in listed
                if sub["name"].startswith(found["name"] + "/")
            },
        }


def _schemas(folder: Path) -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    for file in sorted(folder.glob("*_openapi.json")):
        for name, schema in json.loads(file.read_text())["components"].get("schemas", {}).items():
            known = found.setdefault(name, schema)
            kinds = "x-kubernetes-group-version-kind"
            if kinds in schema and kinds not in known:
                known[kinds] = schema[kinds]
    return {name: _bare(schema) for name, schema in found.items()}


def _bare(schema: Any) -> Any:
    """Leave the descriptions out, but never a property that is called so; and unwrap `allOf` of one reference."""
    if isinstance(schema, list):
        return [_bare(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out: Schema = {}
    for key, value in schema.items():
        if key == "properties":
            out[key] = {name: _bare(inner) for name, inner in value.items()}
        elif key == "allOf" and len(value) == 1 and "$ref" in value[0]:
            out["$ref"] = value[0]["$ref"]
        elif key not in ("description", "examples", "example"):
            out[key] = _bare(value) if key not in ("default", "enum") else value
    return out


def _definition(crd: dict[str, Any]) -> dict[str, Any]:
    bare: dict[str, Any] = _bare(crd)
    for version in bare["spec"]["versions"]:
        for column in version.get("additionalPrinterColumns", []):
            column.pop("description", None)
    bare.pop("status", None)
    return bare


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].removeprefix(_PREFIX)
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _reachable(schemas: dict[str, Schema], resources: list[dict[str, Any]]) -> set[str]:
    kinds: set[tuple[str, str, str]] = set()
    for resource in resources:
        kinds.add((resource["group"], resource["version"], resource["kind"]))
        for sub in resource["subresources"].values():
            kinds.add((sub["group"] or resource["group"], sub["version"] or resource["version"], sub["kind"]))
    todo = [
        name
        for name, schema in schemas.items()
        for gvk in schema.get("x-kubernetes-group-version-kind", [])
        if (gvk["group"], gvk["version"], gvk["kind"]) in kinds and not name.endswith("DeleteOptions")
    ]
    todo.append("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            schemas[name].pop("x-kubernetes-group-version-kind", None) if name.endswith("DeleteOptions") else None
            todo.extend(_references(schemas[name]))
    return seen


def _go_name(name: str) -> tuple[str, str]:
    parts = name.split(".")
    return "/".join(parts[-3:-1]), parts[-1]


def _go_fields() -> Iterator[tuple[tuple[str, str], dict[str, str]]]:
    """For each Go struct: JSON name -> `type options`; an embedded struct stands under `,inline TYPE`."""
    roots = [
        (_module("k8s.io/api"), "*/*/types*.go"),
        (_module("k8s.io/apimachinery") / "pkg", "apis/*/*/types*.go"),
        (_module("k8s.io/apimachinery") / "pkg", "apis/*/*/micro_time.go"),
        (_module("k8s.io/apiextensions-apiserver") / "pkg", "apis/*/*/types*.go"),
        (_module("k8s.io/kube-aggregator") / "pkg", "apis/*/*/types*.go"),
    ]
    for root, pattern in roots:
        for file in sorted(root.glob(pattern)):
            package = "/".join(file.parts[-3:-1])
            for struct in _STRUCT.finditer(file.read_text()):
                fields: dict[str, str] = {}
                for _, type_, tag in _FIELD.findall(struct[2]):
                    name, _, options = tag.partition(",")
                    fields[name or f",inline {type_}"] = f"{type_} {options}"
                yield (package, struct[1]), fields


def _mark(schema: Schema, fields: dict[str, str], go: dict[tuple[str, str], dict[str, str]]) -> None:
    """Say of each property what Go's encoder does with an empty one: `omit`, `always`; of pointers `keep`, `null`."""
    flat = dict(fields)
    todo = [key for key in fields if key.startswith(",inline ")]
    while todo:
        type_ = todo.pop().removeprefix(",inline ")
        for (_, name), inner in go.items():
            if name == type_.rpartition(".")[2]:
                new = {key: value for key, value in inner.items() if key not in flat}
                flat.update(new)
                todo += [key for key in new if key.startswith(",inline ")]
    for name, property_ in schema.get("properties", {}).items():
        type_, _, options = flat.get(name, "* omitempty").partition(" ")
        omits = "omitempty" in options or "omitzero" in options
        pointer = type_.startswith("*")
        kept = ("keep" if omits else "null") if pointer else ("omit" if omits else "always")
        property_["x-go"] = kept
        if "omitzero" in options and not pointer:
            property_["x-go"] = "omitzero"


def _wire_messages() -> Iterator[tuple[str, dict[str, tuple[int, str]]]]:
    """For each protobuf message, by its OpenAPI name: field -> number and type."""
    roots = ("k8s.io/api", "k8s.io/apimachinery", "k8s.io/apiextensions-apiserver", "k8s.io/kube-aggregator")
    for root in roots:
        for file in sorted(_module(root).rglob("generated.proto")):
            text = file.read_text()
            package = re.search(r"^package ([\w.]+);", text, re.MULTILINE)
            assert package is not None
            for message in _MESSAGE.finditer(text):
                fields = {}
                for type_, name, number in _WIRE_FIELD.findall(message[2]):
                    qualified = type_.removeprefix(".") if "." in type_ else f"{package[1]}.{type_}"
                    fields[name] = (int(number), _openapi_name(qualified))
                yield _openapi_name(f"{package[1]}.{message[1]}"), fields


def _openapi_name(qualified: str) -> str:
    return qualified.replace("k8s.io.", "io.k8s.", 1)


def _number(name: str, schema: Schema, wire: dict[str, dict[str, tuple[int, str]]]) -> None:
    """Say of each property which number it has on the wire; an embedded struct is a message of its own there."""
    properties = schema.get("properties", {})
    for field, (number, type_) in wire.get(name, {}).items():
        if field in properties:
            properties[field]["x-proto"] = number
        else:
            inner = {str(n): inner for inner, (n, _) in wire.get(type_, {}).items() if inner in properties}
            if inner:
                schema.setdefault("x-proto-inline", {})[str(number)] = inner


def _write(file: Path, rows: list[Any]) -> None:
    lines = ",\n".join(json.dumps(row, sort_keys=True, separators=(",", ":")) for row in rows)
    file.write_text(f"[\n{lines}\n]\n")
    print(f"{file.name}: {len(rows)} rows, {file.stat().st_size // 1000} kB", file=sys.stderr)


def _write_mapping(file: Path, rows: dict[str, Any]) -> None:
    lines = ",\n".join(
        f"{json.dumps(k)}:{json.dumps(v, sort_keys=True, separators=(',', ':'))}" for k, v in rows.items()
    )
    file.write_text(f"{{\n{lines}\n}}\n")
    print(f"{file.name}: {len(rows)} rows, {file.stat().st_size // 1000} kB", file=sys.stderr)


if __name__ == "__main__":
    if sys.argv[1:2] == ["roles"]:
        roles(sys.argv[2])
    else:
        main()
