"""What makes a request of Schemathesis' meaningful: ids of objects that are there, and fields that go together.

Its well-formed parts get what the authorization matrix asks for in its cell "own"; what it made wrong on purpose stays wrong.
"""

from __future__ import annotations

import asyncio
import base64
import random
import re
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from urllib.parse import urlencode

import httpx
import orjson
from schemathesis import Case
from schemathesis.core import NotSet
from schemathesis.core.parameters import ParameterLocation

from tests.security.matrix.probes import GATEWAY, Request
from tests.security.matrix.world import World

T = TypeVar("T")
Meaning = Callable[["Sound"], Any]

# Texts that may be anything. All else that a probe says is right as it is.
_FREE = ("name", "email")
_LEFT_OUT = object()
_ZONES = ("UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Asia/Kathmandu")
_ONE_CAMPAIGN = re.compile(r"/v1/email/campaigns/[^/]+")
_REAL_ID = re.compile(r"[a-z]{3}_[0-9a-f]{32}")

# What fields of bodies and queries mean where their schema cannot tell; a probe's own word for one goes before.
MEANINGS: dict[str, Meaning] = {
    "account_id": lambda sound: sound.ids["account"],
    "campaign_id": lambda sound: sound.ids["campaign"],
    "company_id": lambda sound: sound.world.a.own.company,
    "credentials": lambda sound: {"api_key": f"another of {sound.world.a.own.canary}"},
    "client_companies": lambda sound: {"111": sound.world.a.own.company},
    "scopes": lambda sound: ["campaigns:read"],
    "time_zone": lambda sound: sound.dice.choice(_ZONES),
    "expires_at": lambda sound: "2199-12-31T23:59:59Z",
    "anchor": lambda sound: f"20{sound.dice.randint(10, 99)}-02-28T23:59:59Z",
    "signature_mode": lambda sound: "off",
    "sync_mode": lambda sound: _LEFT_OUT,  # the account asked for is one that has no choice
    "add_signing_secret": lambda sound: _LEFT_OUT,
    "remove_signing_secrets": lambda sound: [],
    "source_mode": lambda sound: sound.dice.choice(("off", "observe")),
    "allowed_sources": lambda sound: sound.dice.choice(([], ["192.0.2.0/24", "2001:db8::/32"])),
}
# Roles and the companies that go with them.
_ROLES: tuple[Callable[[World], dict[str, Any]], ...] = (
    lambda world: {"role": "company_viewer", "company_ids": [world.a.own.company]},
    lambda world: {
        "role": "company_manager",
        "company_ids": [world.a.places[one].company for one in ("own", "sibling")],
    },
    lambda world: {"role": "org_admin", "company_ids": []},
)
# Of an account one run goes at a time: those before have to be over.
_STARTS = (
    "POST /v1/reconciliations",
    "POST /v1/provider-accounts/{id}/syncs",
    "PUT /v1/reconciliation-schedules/{id}/slots/{slot}",
)
_EDITS = "POST /v1/dead-letters/{id}/edits"
# No provider that plays here can do it: the answer is a 422 that names the capability.
OFFERED_BY_NONE = frozenset(
    {
        "POST /v1/email/campaigns/{id}/leads/{lead}/stop",
        "POST /v1/linkedin/campaigns",
        "PATCH /v1/linkedin/campaigns/{id}",
        "POST /v1/linkedin/campaigns/{id}/stop",
        "DELETE /v1/linkedin/campaigns/{id}/leads/{lead}",
        "POST /v1/linkedin/campaigns/{id}/leads/{lead}/pause",
        "POST /v1/linkedin/campaigns/{id}/leads/{lead}/resume",
    }
)
# However well it is spelled, the provider may have no call for it: the answer is a 422 that says so.
UP_TO_THE_PROVIDER = frozenset(
    {
        "PATCH /v1/email/campaigns/{id}",
        "PUT /v1/email/campaigns/{id}/sequence",
        "PUT /v1/linkedin/campaigns/{id}/sequence",
        "POST /v1/email/campaigns/{id}/leads",
        "POST /v1/linkedin/campaigns/{id}/leads",
        "POST /v1/inbox/conversations/{id}/replies",
    }
)
# Only an operation whose answer was lost can be resolved: all others answer 409.
NEEDS_A_LOST_ANSWER = frozenset({"POST /v1/operations/{id}/resolve"})
# The one replay that is there was aborted; how each step answers is held by tests/flow/test_replays.py.
NEEDS_A_LIVING_REPLAY = frozenset(
    {f"POST /v1/replays/{{id}}/{word}" for word in ("dry-run", "apply", "pause", "resume")}
)
# An organization that is suspended or erased would take every other operation's calls with it; how each step answers
# is held by tests/integration/services/gateway/test_lifecycle.py. What is asked for here are organizations that are not.
ENDS_AN_ORGANIZATION = frozenset(
    {
        "DELETE /v1/organizations/{organization}",
        "GET /v1/organizations/{organization}/erasure",
        "POST /v1/organizations/{organization}/suspend",
        "POST /v1/organizations/{organization}/resume",
    }
)
# Of the whole organization: to ask for one company is refused.
_OF_ALL = ("/v1/deliveries", "/v1/exports", "/v1/dead-letter", "/v1/replays")


class Sound:
    """`loop` is where the world lives; Schemathesis calls from a thread of its own."""

    def __init__(self, world: World, loop: asyncio.AbstractEventLoop, seed: int) -> None:
        self.world: World = world
        self.ids: dict[str, str] = world.a.own.ids
        self.dice: random.Random = random.Random(seed)
        self._loop = loop

    def other_keys(self) -> dict[str, str]:
        """Operations that an org_admin may not, and who may."""
        staff = (
            "POST /v1/organizations",
            "POST /v1/assumptions",
            "GET /v1/assumptions",
            "DELETE /v1/assumptions/{assumption}",
        )
        return dict.fromkeys(staff, self.world.stack.platform_key) | {
            "PUT /v1/reconciliation-schedules/{id}/slots/{slot}": self.world.a.keys["scheduler"]
        }

    def mend(self, case: Case) -> None:
        """Make every part that was not made wrong on purpose one that means something."""
        meta = case.meta
        if meta is None or not case.operation.path.startswith("/v1/"):
            return
        wrong = {location for location, component in meta.components.items() if component.mode.is_negative}
        request = self._wait(self._request(case))
        # A chain of calls goes on with what it made itself.
        made = all(_REAL_ID.fullmatch(str(value)) for value in case.path_parameters.values())
        if request.ids and ParameterLocation.PATH not in wrong and not (meta.phase.name.value == "stateful" and made):
            case.path_parameters = dict(zip(re.findall(r"\{(\w+)\}", case.operation.path), request.ids, strict=True))
        # No organization by such a name: that answer would hide what else is wrong.
        named = wrong != {ParameterLocation.HEADER} and case.headers.pop("Outrider-Org", None) is not None
        if named and case.operation.label not in self.other_keys():
            case.headers["Outrider-Org"] = self.world.a.id
        if ParameterLocation.QUERY not in wrong:
            case.query = self._query(case)
        if ParameterLocation.BODY not in wrong and isinstance(case.body, dict):
            case.body = self._body(case.body, request.body or {}, case.formatted_path)
        elif ParameterLocation.BODY not in wrong and request.body and isinstance(case.body, NotSet):
            case.body, case.media_type = request.body, "application/json"

    async def _request(self, case: Case) -> Request:
        self.world.use_up("own")
        if case.operation.label in _STARTS:
            await self.world.admin.execute("UPDATE reconciliation.runs SET state = 'failed' WHERE completed_at IS NULL")
            await self.world.end_readings()
        if case.operation.label == _EDITS:  # a letter is not edited for ever
            await self.world.admin.execute("UPDATE provider_sync.inbox SET edits = '[]' WHERE edits <> '[]'")
        probes = GATEWAY.get(case.operation.label, ())
        return await probes[0].make(self.world) if probes else Request()

    def _query(self, case: Case) -> dict[str, Any]:
        given = {name: self._meant(name, value) for name, value in case.query.items()}
        if any(one.name == "all_companies" for one in case.operation.query):
            everything = given.pop("all_companies", None) or case.operation.path.startswith(_OF_ALL)
            company = given.pop("company_id", None)
            if case.operation.label not in self.other_keys():
                given |= (
                    {"company_id": self.world.a.own.company}
                    if company and not everything
                    else {"all_companies": "true"}
                )
        if given.get("from", "") > given.get("to", "9"):
            given["from"], given["to"] = given["to"], given["from"]
        if given.pop("after", None) is not None and (cursor := self._wait(self._cursor(case, given))):
            given["after"] = cursor
        return given

    async def _cursor(self, case: Case, query: dict[str, Any]) -> str | None:
        """To the second page of what is asked for."""
        page = await self._ask(f"{case.formatted_path}?{urlencode(query | {'limit': 1})}")
        return page.json().get("next_cursor") if page.status_code == 200 else None

    def _body(self, body: dict[str, Any], probed: dict[str, Any], path: str) -> dict[str, Any]:
        mended = {name: self._meant(name, value) for name, value in body.items()}
        mended |= {name: value for name, value in probed.items() if name not in _FREE or name not in body}
        mended = {name: value for name, value in mended.items() if value is not _LEFT_OUT}
        if _ONE_CAMPAIGN.fullmatch(path):
            mended.pop("name", None)  # its provider cannot rename one
        if {"role", "company_ids"} & mended.keys():
            mended |= self.dice.choice(_ROLES)(self.world)
        if "/campaigns/" in path:
            mended.pop("name", None)  # Smartlead, which plays here, cannot rename one
        if "revision" in mended:
            present = self._wait(self._ask(path))
            mended["revision"] = present.json().get("revision", 0)
        if path.endswith("/edits"):
            mended |= self._content(path.removesuffix("/edits"))
        return mended

    def _content(self, letter: str) -> dict[str, Any]:
        """What an edit of the letter says so that it is one: the content that is there."""
        read = self._wait(self._ask(letter)).json()
        if "envelope_base64" not in read:  # there is no such letter
            return {}
        envelope = orjson.loads(base64.b64decode(read["envelope_base64"]))
        content = {name: envelope.get(name) for name in ("data", "data_base64")}
        return {"sha256": read["sha256"], **content}

    def _meant(self, name: str, value: Any) -> Any:
        return MEANINGS[name](self) if name in MEANINGS and value is not None else value

    async def _ask(self, path: str) -> httpx.Response:
        return await self.world.stack.ask("GET", path, self.world.a.keys["admin"])

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
