"""Texts in bodies that are shown in one line: visible characters only, since a name with a line break forges a line somewhere.

`Annotated[str, StringConstraints(max_length=200, pattern=NAMED), TRIMMED]`: trimmed last, so that documents tell the limits of
what is sent.
"""

from __future__ import annotations

from pydantic import AfterValidator

# No controls (PostgreSQL takes no NUL), not those of Latin-1 either, and no line or paragraph separator. With these, \s is
# the same to all who read our patterns: they differ on U+0085 and U+001C to U+001F.
LINE = r"\x00-\x1f\x7f-\x9f\u2028\u2029"

VISIBLE = f"^[^{LINE}]*$"
NAMED = rf"^[^{LINE}]*[^\s{LINE}][^{LINE}]*$"  # and not of spaces alone

TRIMMED = AfterValidator(str.strip)
