"""What a simulated account knows to be so, whatever its API says and its webhooks told."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from services.cli.simulate.world import Simulator

Truth = dict[str, object]


def truth(simulator: Simulator) -> Truth:
    """The figures that a correct receiver must arrive at, and the state of every campaign and every lead in one."""
    expected = simulator.journal.expected()
    return {
        "now": simulator.now,
        "totals": dataclasses.asdict(expected.overall),
        "totals_by_campaign": {name: dataclasses.asdict(one) for name, one in expected.by_campaign.items()},
        "untracked_replies": expected.untracked_replies,
        "campaigns": [_campaign(simulator, campaign) for campaign in simulator.account.campaigns],
        "webhooks": [
            {"id": str(one.id), "url": one.url, "is_active": getattr(one, "is_active", True)}
            for one in simulator.account.registrations
        ],
    }


def journal(simulator: Simulator, after: int = 0) -> list[Truth]:
    """All that happened, in the order in which it was noted, from the number `after` on."""
    notes = simulator.journal.notes
    return [
        {"number": number, **{name: value for name, value in _fields(notes[number]) if value not in (None, "")}}
        for number in range(after, len(notes))
    ]


def _fields(note: object) -> Iterable[tuple[str, object]]:
    assert dataclasses.is_dataclass(note)
    return ((one.name, getattr(note, one.name)) for one in dataclasses.fields(note))


def _campaign(simulator: Simulator, campaign: Any) -> Truth:
    has_history = hasattr(campaign, "status_at")
    found = campaign.enrolments.values() if isinstance(campaign.enrolments, Mapping) else campaign.enrolments
    return {
        "id": campaign.external_id,
        "name": campaign.name,
        "status": campaign.status_at(simulator.now) if has_history else campaign.status,
        "leads": [_lead(one) for one in found],
    }


def _lead(enrolment: Any) -> Truth:
    """Mail has addresses and messages of its own, LinkedIn profiles and threads that several campaigns share."""
    lead = enrolment.lead
    known: Truth = {"id": str(lead.id), "key": lead.key}
    if hasattr(enrolment, "connection_status"):
        thread = enrolment.thread
        return known | {
            "profile_url": lead.profile_url,
            "status": enrolment.campaign_status,
            "connection_status": enrolment.connection_status,
            "message_status": enrolment.message_status,
            "messages": [thread.key(said) for said in thread.said] if thread is not None else [],
        }
    replies = enrolment.replies
    return known | {
        "email": lead.address,
        "status": enrolment.status,
        "sent": len(enrolment.sent),
        "replied": replies if isinstance(replies, int) else len(replies),
        "messages": [mail.key for mail in enrolment.sent],
    }
