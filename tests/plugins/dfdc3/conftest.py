"""Fixtures of the tests of DFDC_3."""

from tests.plugins.dfdc3.test_scoring import trained  # noqa: F401
