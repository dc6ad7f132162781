"""Who is who: what of two leads must be equal for them to be one person."""

from __future__ import annotations

from libs.providers.heyreach.profiles import read_profile

# Of one person there is a lead per account at most, unless a provider gives many people one address.
MOST_SHOWN = 20


def profile_of(url: str) -> str:
    """The LinkedIn profile that the URL leads to, in one spelling whoever wrote it; empty for what leads to none."""
    return read_profile(url) or ""
