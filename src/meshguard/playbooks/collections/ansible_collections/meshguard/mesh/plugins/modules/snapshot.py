"""Documentation of `meshguard.mesh.snapshot`; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot
short_description: Plan a break-glass or its way back, and open the run
description: Reads the cluster, plans, checks consents and rights, and opens the run. In check mode it only plans.
options:
  direction: {description: Which way., type: str, choices: [exit, restore, rejoin, realign], required: true}
  run: {description: "A run that is open already; with `reason` and `confirm` it is taken up first.", type: str,
        default: ""}
  context: {description: Context of the kubeconfig., type: str, default: ""}
  namespaces: {description: The namespaces that leave., type: list, elements: str, default: []}
  scope: {description: "What narrows the namespaces down or adds to them, as the options of `exit` write it.",
          type: list, elements: str, default: []}
  to_revision: {description: The revision that a realignment moves to., type: str, default: ""}
  gate: {description: "A hypothesis (file, or one of ours) that guards an exit or a rejoin.", type: str, default: ""}
  of_run: {description: The run that a restore or a rejoin undoes., type: str, default: ""}
  waves: {description: "How many workloads of a rejoin come back in each wave, like 1,10%,rest.", type: str,
          default: ""}
  set_limits: {description: "What the proxies of a rejoin get, like cpu=2,memory=1Gi.", type: str, default: ""}
  replace_limits: {description: Also where a workload has limits of its own., type: bool, default: false}
  with_new: {description: Workloads that came while their namespace was out come along., type: bool, default: false}
  accept: {description: "Consents, as the options of `exit` write them.", type: list, elements: str,
           default: []}
  reason: {description: Why., type: str, default: ""}
  confirm: {description: "The context's name, as consent to the plan.", type: str, default: ""}
  deadline: {description: "How long the run may take, like 10m; then it stops at a safe point.", type: str, default: ""}
  take_over: {description: Take the cluster from a run that is at work on it., type: bool, default: false}
  settings: {description: "kubeconfig, config, as_user, as_groups.", type: dict, default: {}}
author: the meshguard developers
"""

EXAMPLES = r"""
- meshguard.mesh.snapshot: {direction: exit, context: staging, namespaces: [shop-web], reason: drill, confirm: staging}
"""

RETURN = r"""
run: {description: The run's name., type: str, returned: always}
"""
