"""Whether an account's provider answers, capability by capability: one cheap read for each that can be read.

What only writes is not tried. A campaign is needed for most of it; without one only the account's own lists are read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from libs.errors import CredentialRefused, DependencyDown, NotSent, PlatformError, RateLimited, TransientError
from libs.providers.capabilities import (
    CampaignLeads,
    Campaigns,
    ConnectionCheck,
    EmailSequences,
    Inbox,
    LinkedInSequences,
    Statistics,
    WebhookListing,
)

_LONGEST_WORDS = 300  # of what the provider says itself, keys struck out (libs.providers.calls)

Ask = Callable[[], Awaitable[object]]

_OF_ACCOUNT: tuple[tuple[type[object], Callable[[Any], Awaitable[object]]], ...] = (
    (ConnectionCheck, lambda client: client.check_connection()),
    (Inbox, lambda client: client.list_conversations()),
    (WebhookListing, lambda client: client.list_webhooks()),
)
_OF_CAMPAIGN: tuple[tuple[type[object], Callable[[Any, Any], Awaitable[object]]], ...] = (
    (Campaigns, lambda client, campaign: client.get_campaign(campaign)),
    (EmailSequences, lambda client, campaign: client.list_steps(campaign)),
    (LinkedInSequences, lambda client, campaign: client.get_sequence(campaign)),
    (CampaignLeads, lambda client, campaign: client.list_leads(campaign)),
    (Statistics, lambda client, campaign: client.read_figures(campaign)),
)


class Outcome(StrEnum):
    ANSWERS = "answers"
    REFUSED = "refused"  # the provider says no, to this alone
    NO_ANSWER = "no_answer"
    LIMITED = "limited"  # asked too often: by its rule or by our budget
    NOT_ASKED = "not_asked"  # after another one had got no answer, in want of time or of a campaign to ask about


@dataclass(frozen=True, slots=True)
class Finding:
    """`capability` by its name. `credential_refused` ends all: the key opens nothing."""

    capability: str
    outcome: Outcome
    error: str | None = None
    credential_refused: bool = False


async def look(client: object, campaign_external_id: str | None, *, within_seconds: float) -> list[Finding]:
    """One finding for each capability that the client offers and that can be read, ConnectionCheck first. The first that
    gets no answer is the last that is asked.

    Raises:
        NotSent: nothing was asked, for we may not at the moment.
        DependencyDown: a part of ours is away.
    """
    reads: list[tuple[type[object], Ask | None]] = [(one, partial(ask, client)) for one, ask in _OF_ACCOUNT]
    for one, ask_of in _OF_CAMPAIGN:
        known = campaign_external_id is not None
        reads.append((one, partial(ask_of, client, campaign_external_id) if known else None))
    found: list[Finding] = []
    ends_at = asyncio.get_running_loop().time() + within_seconds
    stopped: str | None = None
    for capability, ask in reads:
        if not isinstance(client, capability):
            continue
        if ask is None or stopped is not None:
            found.append(
                Finding(capability.__name__, Outcome.NOT_ASKED, stopped or "no campaign is known to ask about")
            )
            continue
        try:
            found.append(await _one(capability.__name__, ask, ends_at))
        except NotSent as error:
            if not found:
                raise
            found.append(Finding(capability.__name__, Outcome.LIMITED, _words(error)))
        if found[-1].outcome in (Outcome.NO_ANSWER, Outcome.LIMITED) or found[-1].credential_refused:
            stopped = f"{capability.__name__} came first and got no further"
    return found


async def _one(name: str, ask: Ask, ends_at: float) -> Finding:
    try:
        async with asyncio.timeout_at(ends_at):
            await ask()
    except TimeoutError:
        return Finding(name, Outcome.NO_ANSWER, "no answer in the time that a test has")
    except CredentialRefused as error:
        return Finding(name, Outcome.REFUSED, _words(error), credential_refused=True)
    except (DependencyDown, NotSent):
        raise
    except TransientError as error:
        outcome = Outcome.LIMITED if isinstance(error, RateLimited) else Outcome.NO_ANSWER
        return Finding(name, outcome, _words(error))
    except PlatformError as error:
        return Finding(name, Outcome.REFUSED, _words(error))
    return Finding(name, Outcome.ANSWERS)


def _words(error: PlatformError) -> str:
    return str(error)[:_LONGEST_WORDS]
