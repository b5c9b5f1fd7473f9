"""Servers of other libraries as runnables: one module for each library, imported only there.

An adapter whose library is not installed raises `MissingExtraError` when it is imported; the
error names the extra to install.
"""
