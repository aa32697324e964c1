"""The registry of finding codes, as tables. A code says what is true of every finding that carries it.

1xx membership, 2xx policy, 3xx workload, 4xx control plane, 5xx capacity, 6xx GitOps, 7xx rights, 8xx strategy.
"""

from __future__ import annotations

from meshguard.model.codes.capacity import CAPACITY_CODES
from meshguard.model.codes.control_plane import CONTROL_PLANE_CODES
from meshguard.model.codes.gitops import GITOPS_CODES
from meshguard.model.codes.membership import MEMBERSHIP_CODES
from meshguard.model.codes.policy import POLICY_CODES
from meshguard.model.codes.rights import RIGHTS_CODES
from meshguard.model.codes.strategy import STRATEGY_CODES
from meshguard.model.codes.workload import WORKLOAD_CODES
from meshguard.model.findings import Code

CODES: dict[str, Code] = {
    code.id: code
    for code in (
        *MEMBERSHIP_CODES,
        *POLICY_CODES,
        *WORKLOAD_CODES,
        *CONTROL_PLANE_CODES,
        *CAPACITY_CODES,
        *GITOPS_CODES,
        *RIGHTS_CODES,
        *STRATEGY_CODES,
    )
}
