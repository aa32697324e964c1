"""Documentation of `meshguard.mesh.summary`; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: summary
short_description: Say how the runs of several clusters came out
description: Reads each cluster's journal and prints one line for it. Nothing is changed, and no cluster is asked.
options:
  opened: {description: "What `meshguard.mesh.snapshot` returned, by the cluster's name.", type: dict, required: true}
author: the meshguard developers
"""

EXAMPLES = r"""
- meshguard.mesh.summary: {opened: {eu: "{{ hostvars.eu.opened }}", us: "{{ hostvars.us.opened }}"}}
"""

RETURN = r"""
clusters: {description: "For each cluster its run, outcome and sentence.", type: list, returned: always}
sentence: {description: How many are done., type: str, returned: always}
"""
