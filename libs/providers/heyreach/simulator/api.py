"""The simulated API: an ASGI app for any number of workspaces, told apart by their keys.

As odd as the real one where its oddity was seen: reads by POST, drafts that GetById denies, empty answers, two shapes of
errors, an organization's key refused with 200, no rate-limit header anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from libs.providers.heyreach.simulator import on_account, on_campaigns, on_inbox, on_leads, on_lists, on_webhooks
from libs.providers.heyreach.simulator.routing import Call, Created, Handle, Refused, body_of
from libs.providers.heyreach.simulator.simulator import HeyReachSimulator
from libs.providers.simulation import SimulatedApi, SlidingWindow

__all__ = ["ROUTES", "Created", "HeyReachApp", "heyreach_app"]

PREFIX = "/api/public"

ROUTES: Mapping[str, Mapping[str, Handle]] = {
    "/auth/CheckApiKey": {"GET": on_account.check_key},
    "/li_account/GetAll": {"POST": on_account.list_senders},
    "/li_account/GetById": {"GET": on_account.get_sender},
    "/MyNetwork/IsConnection": {"POST": on_account.is_connection},
    "/stats/GetOverallStats": {"POST": on_account.stats},
    "/stats/GetOverallStatsByCampaign": {"POST": on_account.stats_by_campaign},
    "/campaign/GetAll": {"POST": on_campaigns.list_campaigns},
    "/campaign/GetById": {"GET": on_campaigns.get_campaign},
    "/campaign/StartCampaign": {"POST": on_campaigns.start},
    "/campaign/Pause": {"POST": on_campaigns.pause},
    "/campaign/Resume": {"POST": on_campaigns.resume},
    "/campaign/GetCampaignSequence": {"GET": on_campaigns.get_sequence},
    "/campaign/UpdateSequence": {"POST": on_campaigns.update_sequence},
    "/campaign/AddLeadsToCampaign": {"POST": on_campaigns.add_leads_v1},
    "/campaign/AddLeadsToCampaignV2": {"POST": on_campaigns.add_leads},
    "/campaign/StopLeadInCampaign": {"POST": on_campaigns.stop_lead},
    "/campaign/GetLeadsFromCampaign": {"POST": on_campaigns.list_leads},
    "/campaign/GetCampaignsForLead": {"POST": on_campaigns.list_campaigns_of_lead},
    "/list/GetAll": {"POST": on_lists.list_lists},
    "/list/GetById": {"GET": on_lists.get_list},
    "/list/CreateEmptyList": {"POST": on_lists.create_empty},
    "/list/GetLeadsFromList": {"POST": on_lists.list_leads},
    "/list/AddLeadsToList": {"POST": on_lists.add_leads_v1},
    "/list/AddLeadsToListV2": {"POST": on_lists.add_leads},
    "/list/DeleteLeadsFromList": {"DELETE": on_lists.delete_leads},
    "/list/DeleteLeadsFromListByProfileUrl": {"DELETE": on_lists.delete_leads_by_profile},
    "/list/GetListsForLead": {"POST": on_lists.lists_of_lead},
    "/lead/GetLead": {"POST": on_leads.get_lead},
    "/lead/GetTags": {"POST": on_leads.get_tags},
    "/lead/AddTags": {"POST": on_leads.add_tags},
    "/lead/ReplaceTags": {"POST": on_leads.replace_tags},
    "/inbox/GetConversations": {"POST": on_inbox.list_by_offset},
    "/inbox/GetConversationsV2": {"POST": on_inbox.list_by_offset},
    "/inbox/GetConversationsV3": {"POST": on_inbox.list_by_cursor},
    "/inbox/GetChatroom/{sender}/{conversation}": {"GET": on_inbox.get_chatroom},
    "/inbox/SendMessage": {"POST": on_inbox.send_message},
    "/inbox/SetSeenStatus": {"POST": on_inbox.set_seen},
    "/webhooks/CreateWebhook": {"POST": on_webhooks.create_webhook},
    "/webhooks/GetAllWebhooks": {"POST": on_webhooks.list_webhooks},
    "/webhooks/GetWebhookById": {"GET": on_webhooks.get_webhook},
    "/webhooks/UpdateWebhook": {"PATCH": on_webhooks.update_webhook},
    "/webhooks/DeleteWebhook": {"DELETE": on_webhooks.delete_webhook},
}
_CHATROOM = re.compile(r"/inbox/GetChatroom/(?P<sender>[0-9]{1,18})/(?P<conversation>.+)")


class HeyReachApp(SimulatedApi):
    """The ASGI app of these workspaces; what a SimulatedApi has, and no rate-limit header anywhere."""

    prefix = PREFIX
    tells_when_to_retry = False

    def __init__(
        self,
        simulators: Iterable[HeyReachSimulator],
        *,
        limit: SlidingWindow | None,
        organization_keys: Iterable[str],
        created: Created,
    ) -> None:
        super().__init__(limit=limit)
        self.simulators = {simulator.api_key: simulator for simulator in simulators}
        self._organization_keys = frozenset(organization_keys)
        self._created = created

    def add(self, simulator: HeyReachSimulator) -> None:
        self.simulators[simulator.api_key] = simulator

    def key_of(self, request: Request) -> str:
        return request.headers.get("x-api-key", "")

    def key_refused(self, key: str) -> Response:
        return Response(b"", 401)

    def rate_limited(self, seconds: int) -> Response:
        return Response(b"", 429)  # nobody has seen a hint, some clients look for it

    async def route(self, request: Request, path: str, key: str) -> Response:
        if key in self._organization_keys:
            return PlainTextResponse("The provided API key is not a workspace-level key.")
        simulator = self.simulators.get(key)
        if simulator is None:  # a Bearer header too
            return self.key_refused(key)
        methods, ids = _found(path) if request.url.path.startswith(PREFIX) else ({}, {})
        if not methods:
            return Response(b"", 404)
        handle = methods.get(request.method)
        if handle is None:
            return Response(b"", 405)
        try:
            call = Call(simulator, request, await body_of(request), self._created, ids)
            return _json(await handle(call))
        except Refused as refusal:
            return _json(refusal.body, refusal.status)


def heyreach_app(
    *simulators: HeyReachSimulator,
    calls_per_minute: int | None = None,
    organization_keys: Iterable[str] = (),
    created: Created = Created.ID,
) -> HeyReachApp:
    """The API of these workspaces, under /api/public; unlimited without `calls_per_minute` (the real one allows 300)."""
    limit = SlidingWindow(calls_per_minute, 60.0) if calls_per_minute is not None else None
    return HeyReachApp(simulators, limit=limit, organization_keys=organization_keys, created=created)


def _found(path: str) -> tuple[Mapping[str, Handle], Mapping[str, str]]:
    chatroom = _CHATROOM.fullmatch(path)
    if chatroom is not None:
        return ROUTES["/inbox/GetChatroom/{sender}/{conversation}"], chatroom.groupdict()
    return ROUTES.get(path, {}), {}


def _json(value: object, status: int = 200) -> Response:
    if value is None:
        return Response(b"", status)
    return Response(orjson.dumps(value), status, media_type="application/json; charset=utf-8")
