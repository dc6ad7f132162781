"""Who is served now of what a queue delivered: every org its share, so that one org's flood is nobody else's wait.

A queue knows no orgs: what comes behind a flood waits for it. So of a large delivery each org's share is handled at once, and
its surplus becomes `due` rows, which is several times faster than handling; from there it is taken by turns (inbox.take).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from libs.contracts.envelope import Envelope
from libs.ids import OrgId


def split(delivered: Sequence[Envelope], at_once: int) -> tuple[list[Envelope], list[Envelope]]:
    """What to handle now, `at_once` at most, and what is kept for later; each in the order of arrival.

    All of it is handled now if that is not too much. Else no org gets more than half: the next to come is not here yet.
    """
    if len(delivered) <= at_once:
        return list(delivered), []
    waiting: dict[OrgId, int] = defaultdict(int)
    for envelope in delivered:
        waiting[envelope.org_id] += 1
    shares: dict[OrgId, int] = {}
    left, others = at_once, len(waiting)
    for org_id, count in sorted(waiting.items(), key=lambda one: one[1]):
        # Who needs less than its share leaves the rest to the others.
        shares[org_id] = min(count, -(-left // others), at_once // 2)
        left -= shares[org_id]
        others -= 1
    now, later = [], []
    for envelope in delivered:
        if shares[envelope.org_id]:
            shares[envelope.org_id] -= 1
            now.append(envelope)
        else:
            later.append(envelope)
    return now, later
