"""The one error that the testbed shows to people as a sentence instead of a traceback."""


class TestbedError(Exception):
    """Something outside the code prevents the testbed from doing what was asked; the message says what to do."""

    __test__ = False  # pytest collects classes by the prefix "Test"
