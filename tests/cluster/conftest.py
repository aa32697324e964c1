from testbed.fixtures import able_machine, light_cluster, testbed

__all__ = ["able_machine", "light_cluster", "testbed"]
