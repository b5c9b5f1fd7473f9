"""One deliberate mistake in the library, of the kind that programmers make."""

from __future__ import annotations

import attrs


class MisfitError(Exception):
    """A breakage does not fit the source that it is to break."""


@attrs.frozen(kw_only=True)
class Breakage:
    """A mistake, as a piece of source that another one replaces.

    Attributes:
        name: what is broken by it, as a sentence.
        file: where, relative to the folder of the package.
        old: what stands there; exactly once, so that it is sure what is broken.
        new: what is put in its place.
        noticed_by: the files of tests, relative to the folder of tests, that are to notice it.
    """

    name: str
    file: str
    old: str
    new: str
    noticed_by: tuple[str, ...]

    def applied_to(self, source: str) -> str:
        """Return the broken source."""
        count = source.count(self.old)
        if count != 1:
            raise MisfitError(f"{self.old!r} is {count} times in {self.file}, not once")
        return source.replace(self.old, self.new)
