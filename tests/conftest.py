"""What all tests share: the testbed, one for the whole run."""

from testbed.fixtures import able_machine, light_cluster, testbed

__all__ = ["able_machine", "light_cluster", "testbed"]
