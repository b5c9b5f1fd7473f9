"""pytest wants plugins of tests to be named here."""

from __future__ import annotations

pytest_plugins = ["pytester"]
