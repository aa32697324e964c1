"""Documentation of `meshguard.mesh.phase`; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: phase
short_description: Execute one phase of an open run for its whole scope
description:
  - Writes the phase's objects concurrently, each journalled before it is written, and waits until the data plane shows
    the effect. A phase that is done already does nothing. In check mode it shows by dry run what would be written.
options:
  name: {description: The phase., type: str, required: true}
  opened: {description: What `meshguard.mesh.snapshot` returned., type: dict, required: true}
author: the meshguard developers
"""

EXAMPLES = r"""
- meshguard.mesh.phase: {name: relax, opened: "{{ opened }}"}
"""

RETURN = r"""
result: {description: How the phase came out., type: str, returned: always}
sentence: {description: The same for a person., type: str, returned: always}
"""
