"""What a person at the other end does when told to, instead of when chance has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from libs.errors import Conflict, Invalid, NotFound
from services.cli.simulate.world import Simulator

React = Callable[[Any, Any, Any, str], object]  # by `live`: the campaign, the lead in it, the words

_MAIL: Mapping[str, React] = {
    "opens": lambda live, campaign, one, _: live.opens(campaign, one, _last_mail(one)),
    "replies": lambda live, campaign, one, text: live.replies(campaign, one, _last_mail(one), text),
    "bounces": lambda live, campaign, one, _: live.bounces(campaign, one, _last_mail(one)),
}
REACTIONS: Mapping[str, Mapping[str, React]] = {
    "smartlead": {
        **_MAIL,
        "clicks": lambda live, campaign, one, _: live.clicks(
            campaign, one, _last_mail(one), "https://example.com/demo"
        ),
        "unsubscribes": lambda live, campaign, one, _: live.unsubscribes(campaign, one, _last_mail(one)),
    },
    "emailbison": {**_MAIL, "unsubscribes": lambda live, _, one, __: live.unsubscribes(one.lead)},
    "heyreach": {
        "accepts": lambda live, campaign, one, _: live.accepts(campaign, _asked(one)),
        "replies": lambda live, campaign, one, text: live.replies(campaign, _written_to(one), text),
    },
}


def react(provider: str, simulator: Simulator, what: str, *, campaign_id: str, lead: str, text: str) -> None:
    """`lead` is the lead's id, address or profile URL.

    Raises:
        Invalid: leads of this provider do no such thing.
        NotFound: no such campaign, or no such lead in it.
        Conflict: nothing was sent that the lead could react to.
    """
    known = REACTIONS[provider]
    if what not in known:
        raise Invalid(f"leads at {provider} can: {', '.join(known)}", pointer="/what")
    campaign = simulator.account.campaign(campaign_id)
    if campaign is None:
        raise NotFound(f"{provider} has no campaign {campaign_id}")
    found = campaign.enrolments.values() if isinstance(campaign.enrolments, Mapping) else campaign.enrolments
    enrolment = next((one for one in found if lead.casefold() in _names(one.lead)), None)
    if enrolment is None:
        raise NotFound(f"campaign {campaign_id} has no lead {lead}")
    known[what](simulator.live, campaign, enrolment, text)


def _names(lead: Any) -> set[str]:
    names = (str(lead.id), getattr(lead, "address", None), getattr(lead, "profile_url", None))
    return {name.casefold() for name in names if name}


def _last_mail(enrolment: Any) -> Any:
    mails = getattr(enrolment, "of_sequence", enrolment.sent)
    if not mails:
        raise Conflict("nothing was sent to this lead yet: start the campaign and advance the clock")
    return mails[-1]


def _asked(enrolment: Any) -> Any:
    if enrolment.connection_status != "ConnectionSent":
        raise Conflict(f"there is no request to accept: the connection is {enrolment.connection_status}")
    return enrolment


def _written_to(enrolment: Any) -> Any:
    if enrolment.thread is None:
        raise Conflict("nothing was sent to this lead yet: start the campaign and advance the clock")
    return enrolment
