"""The same plan as commands for a person, for the night when meshguard itself is not trusted.

The script does what the plan says, in the plan's order, with waits on what the proxies really have. It needs bash,
kubectl and nothing else.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from meshguard.model.change import ABSENT, Change
from meshguard.model.kinds import KINDS
from meshguard.model.objects import Ref
from meshguard.model.plan import RUN_PLACEHOLDER, Action, Await, Check, Plan, Step

PREAMBLE = """\
set -euo pipefail
RUN=${{RUN:-by-hand-$(date -u +%Y%m%d-%H%M%S)}}
k() {{ kubectl --context {context} "$@"; }}
# wait_for SECONDS "what" COMMAND...: repeats the command until it succeeds
wait_for() {{
  local end=$((SECONDS + $1)) what=$2; shift 2
  until "$@" >/dev/null 2>&1; do
    if [ $SECONDS -ge $end ]; then echo "gave up waiting: $what" >&2; exit 6; fi
    sleep 1
  done
  echo "seen: $what"
}}
proxies() {{ # names of the running pods of a namespace that carry a sidecar
  k -n "$1" get pods -l security.istio.io/tlsMode=istio --field-selector=status.phase=Running -o go-template='
    {{{{- range .items}}}}
    {{{{- if not .metadata.deletionTimestamp}}}}{{{{.metadata.name}}}}{{{{"\n"}}}}{{{{end}}}}
    {{{{- end}}}}'
}}
envoy() {{ k -n "$1" exec "$2" -c istio-proxy -- pilot-agent request GET "$3"; }}
has_plaintext_chain() {{
  envoy "$1" "$2" 'config_dump?resource=dynamic_listeners' | grep -q '"transport_protocol": "raw_buffer"'
}}
takes_plaintext() {{ for pod in $(proxies "$1"); do has_plaintext_chain "$1" "$pod" || return 1; done }}
refuses_plaintext() {{ for pod in $(proxies "$1"); do ! has_plaintext_chain "$1" "$pod" || return 1; done }}
knows_endpoints() {{ # NAMESPACE-OF-SERVICE SERVICE HOST: one caller's proxy in each namespace knows the ready pods
  local ips; ips=$(k -n "$1" get endpointslices -l kubernetes.io/service-name="$2" \\
    -o jsonpath='{{range .items[*].endpoints[*]}}{{.addresses[0]}}{{"\\n"}}{{end}}')
  for ns in $(k get ns -l istio-injection=enabled -o jsonpath='{{.items[*].metadata.name}}'); do
    local pod; pod=$(proxies "$ns" | head -n 1); [ -n "$pod" ] || continue
    local known; known=$(envoy "$ns" "$pod" clusters | grep "||$3::" || true); [ -n "$known" ] || continue
    for ip in $ips; do grep -q "::$ip:" <<< "$known" || return 1; done
  done
}}
all_ready() {{ # NAMESPACE KIND NAME: for sets whose pods were deleted one by one
  local got; got=$(k -n "$1" get "$2" "$3" -o go-template='{{{{or .spec.replicas .status.desiredNumberScheduled}}}}
    {{{{- " "}}}}{{{{or .status.readyReplicas .status.numberReady}}}}')
  [ "${{got% *}}" = "${{got#* }}" ]
}}
admitted() {{ # NAMESPACE WORKLOAD-KIND NAME with|without: what a pod of the template would come out as
  local pod out; pod=$(k -n "$1" get "$2" "$3" -o jsonpath='{{.spec.template}}')
  pod='{{"apiVersion":"v1","kind":"Pod",'${{pod#?}}
  pod=${{pod/'"metadata":{{'/'"metadata":{{"generateName":"meshguard-probe-",'}}
  out=$(k -n "$1" create --dry-run=server -o json -f - <<< "$pod") || return 1
  if grep -q '"istio-proxy"' <<< "$out"; then [ "$4" = with ]; else [ "$4" = without ]; fi
}}
"""


def script(plan: Plan, way_back: Plan | None = None) -> str:
    """Return the plan as a commented bash script; with `way_back`, the reverse follows as a second function."""
    title = f"{plan.direction.value} of {', '.join(plan.namespaces)} ({plan.mesh}), plan {plan.hash[:12]}"
    lines = [
        "#!/usr/bin/env bash",
        f"# {title}",
        *(f"# note: {note}" for note in plan.notes),
        *(f"# {f.code.severity.value}: {f.code.id} {f.object}: {f.detail}" for f in plan.findings),
        "# usage: bash FILE out" + (" | bash FILE back" if way_back else ""),
        PREAMBLE.format(context=shlex.quote(plan.context)),
        *_function("out", plan),
    ]
    if way_back:
        lines += ["", *_function("back", way_back)]
    choices = "out|back" if way_back else "out"
    lines += ["", f'case "${{1:-}}" in {choices}) "$1" ;; *) echo "usage: bash $0 {choices}" >&2; exit 2 ;; esac']
    return "\n".join(lines) + "\n"


def _function(name: str, plan: Plan) -> list[str]:
    lines = [f"{name}() {{"]
    for phase in plan.phases:
        lines.append(f"  # {phase.name}: {phase.title}")
        for wave in phase.waves:
            for step in wave.steps:
                lines += [f"  # {step.sentence} ({step.why})", *_step(step)]
            for awaited in wave.awaits:
                lines += _await(awaited)
    return [*lines, '  echo "done"', "}"]


def _step(step: Step) -> list[str]:
    kind = KINDS[step.target.kind].resource
    where = f"-n {step.target.namespace} " if step.target.namespace else ""
    match step.action:
        case Action.CHANGE:
            patch = _quote(json.dumps(merge_patch(step.changes), sort_keys=True))
            return [f"  k {where}patch {kind} {step.target.name} --type=merge -p {patch}"]
        case Action.CREATE:
            body = json.dumps(step.manifest, sort_keys=True)
            return [f"  k create -f - <<< {_quote(body)}"]
        case Action.DELETE | Action.RENEW:
            return [f"  k {where}delete {kind} {step.target.name}"]
        case Action.HOLD | Action.RELEASE:
            return ["  # nothing to write"]


def _quote(text: str) -> str:
    """Quote for bash, leaving the run's name to be filled in by the script."""
    return shlex.quote(text).replace(RUN_PLACEHOLDER, "'\"$RUN\"'")


def merge_patch(changes: Iterable[Change]) -> dict[str, Any]:
    """Return the JSON merge patch that makes the changes."""
    out: dict[str, Any] = {}
    for change in changes:
        inner = out
        for key in change.path[:-1]:
            inner = inner.setdefault(key, {})
        inner[change.path[-1]] = _merge_value(change.before, change.after)
    return out


def _merge_value(before: Any, after: Any) -> Any:
    if after is ABSENT:
        return None
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        gone = {key: None for key in before if key not in after}
        return gone | {key: _merge_value(before.get(key, ABSENT), value) for key, value in after.items()}
    return after


def _await(awaited: Await) -> list[str]:
    seconds = int(awaited.deadline_s)
    match awaited.check:
        case Check.INBOUND:
            test = "takes_plaintext" if awaited.expect.get("plaintext") else "refuses_plaintext"
            return [_wait(seconds, f"{ns}: {awaited.sentence}", f"{test} {ns}") for ns in awaited.subject]
        case Check.INJECTION:
            word = "with" if awaited.expect["injected"] else "without"
            return [
                _wait(
                    seconds,
                    f"{ref} comes out {word} a sidecar",
                    f"admitted {ref.namespace} {ref.kind.lower()} {ref.name} {word}",
                )
                for ref in map(Ref.parse, awaited.subject)
            ]
        case Check.ROLLED_OUT:
            return [_rolled_out(ref, seconds, awaited.expect) for ref in map(Ref.parse, awaited.subject)]
        case Check.ENDPOINTS:
            return [
                _wait(
                    seconds, f"callers know {host}", f"knows_endpoints {host.split('.')[1]} {host.split('.')[0]} {host}"
                )
                for host in awaited.subject
            ]
        case _:
            return [f"  # look for yourself: {awaited.sentence}"]


def _rolled_out(ref: Ref, seconds: int, expect: Mapping[str, Any]) -> str:
    """kubectl follows rollouts only of its own kinds, and only of those that roll by themselves."""
    kind = KINDS[ref.kind].resource
    if ref.kind == "Rollout":
        wait = f"k -n {ref.namespace} wait {kind}/{ref.name} --timeout=1s --for=jsonpath='{{.status.phase}}'=Healthy"
        return _wait(seconds, f"{ref} is healthy", wait)
    if expect:
        return _wait(seconds, f"all pods of {ref} are ready", f"all_ready {ref.namespace} {kind} {ref.name}")
    return f"  k -n {ref.namespace} rollout status {ref.kind.lower()}/{ref.name} --timeout={seconds}s"


def _wait(seconds: int, what: str, command: str) -> str:
    return f"  wait_for {seconds} {shlex.quote(what)} {command}"
