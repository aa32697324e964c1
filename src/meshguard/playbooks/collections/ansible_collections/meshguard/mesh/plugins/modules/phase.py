"""Ansible module: execute one phase of an open run. The work is in `meshguard.doors.ansible`."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from meshguard.doors.ansible import DoorError, run_phase

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


def main() -> None:
    """Translate between Ansible and the door."""
    module = AnsibleModule(
        argument_spec={"name": {"type": "str", "required": True}, "opened": {"type": "dict", "required": True}},
        supports_check_mode=True,
    )
    try:
        answer = run_phase(module.params["name"], module.params["opened"], check=module.check_mode)
    except DoorError as error:
        module.fail_json(msg=str(error), cause=error.cause)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
