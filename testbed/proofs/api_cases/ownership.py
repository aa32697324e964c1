"""Server-side apply."""

from __future__ import annotations

from testbed.proofs.api_cases.bodies import APPS, CORE, config_map, deployment, labelled
from testbed.proofs.api_cases.case import APPLY, Case, Step, apply, case, get, patch, post

_MAP, _WEB = f"{CORE}/configmaps/a", f"{APPS}/deployments/web"
_WITH_EXTRA = {**deployment(), "spec": {"template": {"spec": {"containers": [{"name": "extra", "image": "e:1"}]}}}}

CASES: tuple[Case, ...] = (
    case("apply creates", apply(_MAP, config_map(a="1"), "us"), apply(_MAP, config_map(a="1"), "us")),
    case("apply changes", apply(_MAP, config_map(a="1"), "us").quietly(), apply(_MAP, config_map(a="2"), "us")),
    case(
        "apply takes back what it applies no more",
        apply(_MAP, config_map(a="1", b="2"), "us").quietly(),
        apply(_MAP, config_map(b="2"), "them"),
        apply(_MAP, config_map(a="1"), "us"),
        apply(_MAP, config_map(), "us"),
    ),
    case(
        "apply meets a conflict",
        apply(_MAP, config_map(a="1"), "us").quietly(),
        apply(_MAP, config_map(a="2"), "them"),
        apply(_MAP, config_map(a="2"), "them", force="true"),
        get(_MAP),
    ),
    case(
        "apply meets two conflicts",
        apply(_MAP, config_map(a="1", b="1"), "us").quietly(),
        apply(_MAP, config_map(a="2", b="2"), "them"),
    ),
    case(
        "apply meets an edit",
        apply(_MAP, config_map(a="1"), "us").quietly(),
        patch(_MAP, {"data": {"a": "9"}}, fieldManager="editor"),
        apply(_MAP, config_map(a="1"), "us"),
    ),
    case(
        "apply of what others have as well",
        post(f"{CORE}/configmaps", config_map(a="1"), fieldManager="maker"),
        apply(_MAP, config_map(a="1"), "us"),
    ),
    case(
        "apply of labels",
        apply(_MAP, labelled(config_map(), a="b"), "us"),
        apply(_MAP, labelled(config_map(), c="d"), "us"),
    ),
    case(
        "apply of containers",
        apply(_WEB, deployment(), "us").quietly(),
        apply(_WEB, _WITH_EXTRA, "them"),
        apply(_WEB, {**_WITH_EXTRA, "spec": {}}, "them"),
    ),
    case("apply without a manager", Step("PATCH", _MAP, config_map(), APPLY)),
    case("apply of an unknown field", apply(_WEB, deployment(replicaz=1), "us")),
    case("apply as a dry run", apply(_MAP, config_map(a="1"), "us", dryRun="All"), get(_MAP)),
)
