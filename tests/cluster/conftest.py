from testbed.fixtures import able_machine, testbed

__all__ = ["able_machine", "testbed"]
