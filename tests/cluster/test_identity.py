"""Who asks, in whose name, for which run; and what is said when that cannot be found out."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from meshguard import __version__
from meshguard.cluster.connect import open_cluster
from meshguard.cluster.errors import ConfigError
from meshguard.model.objects import Ref
from meshguard.ports import Forbidden
from tests.cluster.api_server import ApiServer, Say, Seen, connected, kubeconfig, namespace, status
from tests.fakes.clock import FakeClock

SHOP = Ref("Namespace", "", "shop")
PATH = "/api/v1/namespaces/shop"
RUN = "20260301-030000-abcd"


def refused(**arguments: object) -> str:
    with pytest.raises(ConfigError) as caught:
        asyncio.run(open_cluster(arguments.pop("context", None), FakeClock(), **arguments))  # type: ignore[arg-type]
    return str(caught.value)


def test_the_audit_log_can_tell_the_run(tmp_path: Path) -> None:
    server = ApiServer().on(f"GET {PATH}", namespace("shop"))

    async def scenario() -> None:
        async with connected(server, tmp_path, run=RUN) as cluster:
            await cluster.get(SHOP)

    asyncio.run(scenario())
    assert server.seen[0].headers["User-Agent"] == f"meshguard/{__version__} run/{RUN}"
    assert server.seen[0].headers["Authorization"] == "Bearer secret-token"


def test_impersonation_names_user_groups_and_run(tmp_path: Path) -> None:
    server = ApiServer().on(f"GET {PATH}", namespace("shop"))

    async def scenario() -> None:
        async with connected(server, tmp_path, run=RUN, as_user="jane", as_groups=["sre", "oncall"]) as cluster:
            await cluster.get(SHOP)

    asyncio.run(scenario())
    seen = server.seen[0]
    assert seen.headers["Impersonate-User"] == "jane"
    assert seen.groups == ["sre", "oncall"]
    assert seen.headers["Impersonate-Extra-meshguard-run"] == RUN


def test_groups_without_a_user_are_refused(tmp_path: Path) -> None:
    config = str(kubeconfig(tmp_path, "http://127.0.0.1:1"))
    assert "--as-group needs --as" in refused(kubeconfig=config, as_groups=["sre"])


def test_no_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nothing"))
    assert refused() == f"no kubeconfig at {tmp_path}/nothing; set KUBECONFIG or give --kubeconfig"


def test_a_wrong_context_is_answered_with_the_nearest(tmp_path: Path) -> None:
    config = str(kubeconfig(tmp_path, "http://127.0.0.1:1", production="c", staging="c"))
    assert refused(context="prodction", kubeconfig=config).endswith("did you mean production?")


@pytest.mark.parametrize("text", ["", "a: [", "- just\n- a list", "contexts: 7"])
def test_a_broken_kubeconfig_is_said_to_be_broken(tmp_path: Path, text: str) -> None:
    broken = tmp_path / "kubeconfig"
    broken.write_text(text)
    assert str(broken) in refused(kubeconfig=str(broken))


def test_a_context_of_a_cluster_that_is_not_there(tmp_path: Path) -> None:
    config = str(kubeconfig(tmp_path, "http://127.0.0.1:1", lost="nowhere"))
    assert "'lost' cannot be used" in refused(context="lost", kubeconfig=config)


def plugin(folder: Path, body: str) -> dict[str, object]:
    script = folder / "plugin.py"
    script.write_text(body)
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": [str(script)],
        }
    }


COUNTING_PLUGIN = """
import json, pathlib
count = pathlib.Path(__file__).with_name("count")
number = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(number))
answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": f"t{number}"}}
print(json.dumps(answer))
"""


def test_a_token_that_expires_is_renewed_once_for_all(tmp_path: Path) -> None:
    def answer(seen: Seen) -> Say:
        if seen.headers["Authorization"] == "Bearer t1":
            return status(401, "Unauthorized")
        return Say(body=namespace("shop"))

    server = ApiServer().on(f"GET {PATH}", answer)

    async def scenario() -> None:
        async with connected(server, tmp_path, user=plugin(tmp_path, COUNTING_PLUGIN)) as cluster:
            await asyncio.gather(*(cluster.get(SHOP) for _ in range(8)))

    asyncio.run(scenario())
    assert (tmp_path / "count").read_text() == "2"


def test_credentials_that_stay_bad_are_refused_after_one_renewal(tmp_path: Path) -> None:
    server = ApiServer().on(f"GET {PATH}", status(401, "Unauthorized"))

    async def scenario() -> None:
        async with connected(server, tmp_path) as cluster:
            with pytest.raises(Forbidden, match="does not accept the credentials"):
                await cluster.get(SHOP)

    asyncio.run(scenario())
    assert len(server.seen) == 2


def test_credentials_that_cannot_be_renewed_end_in_a_refusal_that_says_so(tmp_path: Path) -> None:
    server = ApiServer().on(f"GET {PATH}", status(401, "Unauthorized"))
    user = plugin(tmp_path, COUNTING_PLUGIN)

    async def scenario() -> None:
        async with connected(server, tmp_path, user=user) as cluster:
            (tmp_path / "plugin.py").write_text("import sys; sys.exit('session over')")
            with pytest.raises(Forbidden, match=r"cannot be renewed.*session over"):
                await cluster.get(SHOP)

    asyncio.run(scenario())


def test_a_plugin_that_fails_is_quoted(tmp_path: Path) -> None:
    user = plugin(tmp_path, "import sys; sys.exit('please log in first')")
    words = refused(kubeconfig=str(kubeconfig(tmp_path, "http://127.0.0.1:1", user)))
    assert "no credentials" in words
    assert "please log in first" in words


def test_the_door_is_light() -> None:
    heavy = "m.startswith(('kubernetes', 'aiohttp'))"
    program = f"import sys, meshguard.cluster.connect; print([m for m in sys.modules if {heavy}])"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(loaded.stdout) == []
