"""The provider's own counters of a campaign, some of them numbers in quotes."""

from __future__ import annotations

from collections.abc import Mapping

from libs.providers.emailbison.campaign_calls import CampaignCalls
from libs.providers.emailbison.transport import data_of, in_path, required
from libs.providers.fields import Fields
from libs.providers.records import CampaignFigures, Figure

_OF_CAMPAIGN = {
    Figure.LEADS: "total_leads",
    Figure.LEADS_CONTACTED: "total_leads_contacted",
    Figure.SENT: "emails_sent",
    Figure.OPENED: "opened",
    Figure.UNIQUE_OPENED: "unique_opens",
    Figure.REPLIED: "replied",
    Figure.UNIQUE_REPLIED: "unique_replies",
    Figure.BOUNCED: "bounced",
    Figure.UNSUBSCRIBED: "unsubscribed",
    Figure.INTERESTED: "interested",
}
_OF_STEP = {
    Figure.SENT: "sent",
    Figure.LEADS_CONTACTED: "leads_contacted",
    Figure.UNIQUE_OPENED: "unique_opens",
    Figure.UNIQUE_REPLIED: "unique_replies",
    Figure.UNSUBSCRIBED: "unsubscribed",
    Figure.BOUNCED: "bounced",
    Figure.INTERESTED: "interested",
}
FIGURES, STEP_FIGURES = _OF_CAMPAIGN, _OF_STEP  # by the provider's own names
_OPENINGS = (Figure.OPENED, Figure.UNIQUE_OPENED)


class FigureCalls(CampaignCalls):
    """Statistics."""

    async def read_figures(self, campaign_external_id: str) -> CampaignFigures:
        """By step (and variant, each under its own id) since the campaign was made: that call wants a first and a last day.
        Where openings are not tracked their 0 measures nothing, and is left out."""
        campaign, answer = await self._campaign(campaign_external_id)
        made_at, as_of = campaign.moment("created_at"), answer.answered_at
        is_tracked = campaign.flag("open_tracking") is not False
        by_step: dict[str, Mapping[Figure, int]] = {}
        if made_at is not None and as_of is not None:
            days = {"start_date": f"{made_at:%Y-%m-%d}", "end_date": f"{as_of:%Y-%m-%d}"}
            path = f"/campaigns/{in_path(campaign_external_id)}/stats"
            value, _ = await self._call("POST", path, json=days, idempotent=True)  # it only reads
            for row in data_of(value, "stats").rows("sequence_step_stats"):
                step = required(row, "sequence_step_id", row.identifier("sequence_step_id"))
                by_step[step] = _counted(row, _OF_STEP, is_tracked)
        return CampaignFigures(
            campaign_external_id=campaign_external_id,
            as_of=as_of,
            figures=_counted(campaign, _OF_CAMPAIGN, is_tracked),
            by_step=by_step,
        )


def _counted(fields: Fields, names: Mapping[Figure, str], is_tracked: bool) -> dict[Figure, int]:
    counted = {}
    for figure, name in names.items():
        digits = fields.identifier(name)
        if digits is not None and (is_tracked or figure not in _OPENINGS):
            counted[figure] = int(digits)
    return counted
