"""The provider's own counters of a campaign, many of them numbers in quotes."""

from __future__ import annotations

from collections.abc import Mapping

from libs.errors import ContractViolated
from libs.providers.calls import NotThere
from libs.providers.fields import Fields
from libs.providers.records import CampaignFigures, Figure
from libs.providers.smartlead.transport import SmartleadApi, as_object, count, in_path, is_nothing, required

_OF_CAMPAIGN = {
    Figure.SENT: "sent_count",
    Figure.LEADS_CONTACTED: "unique_sent_count",
    Figure.OPENED: "open_count",
    Figure.UNIQUE_OPENED: "unique_open_count",
    Figure.CLICKED: "click_count",
    Figure.UNIQUE_CLICKED: "unique_click_count",
    # Without second replies in a thread, and of each lead the first: so it is people, not occurrences.
    Figure.UNIQUE_REPLIED: "reply_count",
    Figure.BOUNCED: "bounce_count",
    Figure.UNSUBSCRIBED: "unsubscribed_count",
}
_OF_LEADS = {Figure.LEADS: "total", Figure.INTERESTED: "interested"}
_OF_STEP = {
    Figure.SENT: "sent_count",
    Figure.OPENED: "open_count",
    Figure.CLICKED: "click_count",
    Figure.REPLIED: "reply_count",
    Figure.BOUNCED: "bounce_count",
    Figure.UNSUBSCRIBED: "unsubscribed_count",
}

# By the provider's own names, as people find them in its documentation.
FIGURES = {**_OF_CAMPAIGN, **{figure: f"campaign_lead_stats.{name}" for figure, name in _OF_LEADS.items()}}
STEP_FIGURES = _OF_STEP


class FigureCalls(SmartleadApi):
    """Statistics."""

    async def read_figures(self, campaign_external_id: str) -> CampaignFigures:
        """By step since the campaign was made: that list wants a first and a last day."""
        path = f"/campaigns/{in_path(campaign_external_id)}"
        value, answer = await self._call("GET", f"{path}/analytics")
        if is_nothing(value):
            raise NotThere(f"there is no campaign {campaign_external_id}")
        told = as_object(value, "analytics")
        if told.identifier("id") != campaign_external_id:
            raise ContractViolated("analytics.id is not the one asked for")
        made_at, as_of = told.moment("created_at"), answer.answered_at
        by_step: dict[str, Mapping[Figure, int]] = {}
        if made_at is not None and as_of is not None:
            days = {"start_date": f"{made_at:%Y-%m-%d} 00:00:00", "end_date": f"{as_of:%Y-%m-%d} 23:59:59"}
            steps = as_object(await self._get(f"{path}/sequence-analytics", days), "sequence-analytics")
            for row in steps.rows("data"):
                step = required(
                    row.identifier("email_campaign_seq_id"), "sequence-analytics.data[].email_campaign_seq_id"
                )
                by_step[step] = _counted(row, _OF_STEP)
        return CampaignFigures(
            campaign_external_id=campaign_external_id,
            as_of=as_of,
            figures={**_counted(told, _OF_CAMPAIGN), **_counted(told.nested("campaign_lead_stats"), _OF_LEADS)},
            by_step=by_step,
        )


def _counted(fields: Fields, names: Mapping[Figure, str]) -> dict[Figure, int]:
    return {figure: count(fields, name) for figure, name in names.items() if fields.raw.get(name) is not None}
