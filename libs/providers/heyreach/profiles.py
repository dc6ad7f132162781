"""LinkedIn profiles: the one name of a person that webhooks and every list of HeyReach share.

`linkedin_id` is not it: campaigns and lists tell different ones of the same person.
"""

from __future__ import annotations

_HOST = "linkedin.com"


def read_profile(url: str) -> str | None:
    """`in/ada-example` of any spelling of that profile's URL; None for what is no page of LinkedIn."""
    text = url.strip().lower().partition("#")[0].partition("?")[0]
    scheme, separator, rest = text.partition("://")
    if separator and scheme not in ("http", "https"):
        return None
    host, _, path = (rest if separator else text).partition("/")
    path = path.strip("/")
    is_linkedin = host == _HOST or host.endswith("." + _HOST)  # www, a country's, a telephone's
    return path if is_linkedin and path and not any(letter.isspace() for letter in path) else None


def profile_url(profile: str) -> str:
    """The one spelling that we keep."""
    return f"https://www.{_HOST}/{profile}"
