"""What holds for all tests: their plugins, and how Hypothesis draws."""

from __future__ import annotations

from hypothesis import settings

pytest_plugins = ["pytester"]  # pytest wants plugins of tests to be named here

# A change must not be refused for what it did not break: the same examples are drawn each time.
# New ones are searched for with `--hypothesis-profile=searching`, as the session `prove` does.
settings.register_profile("same", derandomize=True, database=None)
settings.register_profile("searching", max_examples=5_000, print_blob=True)
settings.load_profile("same")
