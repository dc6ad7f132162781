"""The provider's own counters of a campaign."""

from __future__ import annotations

from libs import clock
from libs.clock import rfc3339
from libs.errors import ContractViolated
from libs.providers.heyreach.campaign_calls import CampaignCalls
from libs.providers.heyreach.transport import as_object, existing
from libs.providers.records import CampaignFigures, Figure

_OF_CAMPAIGN = {
    Figure.PROFILE_VIEWS: "profileViews",
    Figure.LIKES: "postLikes",
    Figure.FOLLOWS: "follows",
    Figure.MESSAGES_SENT: "messagesSent",
    # Replies are counted by conversation that was begun, never more of them than those: so it is people, not occurrences.
    Figure.UNIQUE_REPLIED: "totalMessageReplies",
    Figure.INMAILS_SENT: "inmailMessagesSent",
    Figure.UNIQUE_INMAIL_REPLIED: "totalInmailReplies",
    Figure.CONNECTION_REQUESTS: "connectionsSent",
    Figure.CONNECTIONS_ACCEPTED: "connectionsAccepted",
}

FIGURES = _OF_CAMPAIGN  # by the provider's own names


class FigureCalls(CampaignCalls):
    """Statistics."""

    async def read_figures(self, campaign_external_id: str) -> CampaignFigures:
        """Since the campaign was made: the call wants a first and a last moment, and counts by days."""
        campaign, answer = await self._campaign(campaign_external_id)
        made_at = campaign.moment("creationTime")
        if made_at is None:
            raise ContractViolated("campaign.creationTime is missing")
        body = {
            "accountIds": [],  # both lists must be there; an empty one means all
            "campaignIds": [existing(campaign_external_id)],
            "startDate": rfc3339(made_at),
            "endDate": rfc3339(answer.answered_at or clock.now()),
        }
        value, told_at = await self._read("POST", "/stats/GetOverallStats", json=body)
        stats = as_object(value, "stats")
        if not stats.states("overallStats"):
            raise ContractViolated("stats.overallStats is missing")
        overall = stats.nested("overallStats")
        counted = {figure: overall.identifier(name) for figure, name in _OF_CAMPAIGN.items()}
        return CampaignFigures(
            campaign_external_id=campaign_external_id,
            as_of=told_at.answered_at,
            figures={figure: int(count) for figure, count in counted.items() if count is not None},
        )
