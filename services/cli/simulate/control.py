"""The control API: time, faults, limits, accounts, what leads do; and the books. It is no provider's, and has no key."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

import orjson
from fastapi import FastAPI, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from libs.errors import Conflict, Invalid, NotFound, RequestError
from libs.providers.simulation import FaultKind, PostFaults, PostKind, SlidingWindow
from services.cli.simulate.reactions import react
from services.cli.simulate.truth import journal, truth
from services.cli.simulate.world import SimulatedProvider, Simulator, World

_STATUSES: dict[type[RequestError], int] = {Invalid: 422, NotFound: 404, Conflict: 409}
_LONGEST_YEARS = 10


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Step(Body):
    seconds: float = Field(gt=0, le=_LONGEST_YEARS * 366 * 86_400)


class Fault(Body):
    """`times` calls fail so, or a `share` of all until the faults are taken away; `call` is a part of "POST /campaigns"."""

    kind: FaultKind
    times: int | None = Field(None, ge=1)
    share: float = Field(1.0, gt=0, le=1)
    call: str = ""
    retry_after_seconds: int | None = Field(None, ge=0)
    hang_seconds: float | None = Field(None, ge=0)
    drip_seconds: float | None = Field(None, ge=0)


class WebhookFaults(Body):
    silent: bool = False
    silent_types: list[str] = []
    duplicates: float = Field(0.0, ge=0, le=1)
    longest_delay_seconds: float = Field(0.0, ge=0)
    reorders: bool = False
    seed: int = 1


class Limit(Body):
    """None: as many as anybody likes."""

    calls_per_minute: int | None = Field(ge=1)


class NewAccount(Body):
    api_key: str = Field(min_length=6)
    seed: int | None = None


class Key(Body):
    api_key: str


class Reaction(Body):
    what: Literal["opens", "clicks", "replies", "bounces", "unsubscribes", "accepts"]
    campaign: str
    lead: str
    text: str = "Tell me more"
    api_key: str | None = None


class Json(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


Name = Annotated[str, Path(alias="provider")]
Account = Annotated[str | None, Query(alias="api_key", description="which account; the first without")]


def control_app(world: World) -> FastAPI:
    """Everything below /control. Errors are {"detail": sentence}."""
    app = FastAPI(title="Outrider's simulated providers", docs_url=None, redoc_url=None, openapi_url="/control/openapi.json",
                  default_response_class=Json)  # fmt: skip

    @app.exception_handler(RequestError)
    async def refused(_: Request, error: RequestError) -> Response:
        return Json({"detail": str(error)}, _STATUSES.get(type(error), 400))

    def named(provider: str) -> SimulatedProvider:
        if provider not in world.providers:
            raise NotFound(f"the providers are: {', '.join(world.providers)}")
        return world.providers[provider]

    def account(provider: str, key: str | None) -> Simulator:
        simulators = named(provider).simulators
        if key is not None and key not in simulators:
            raise NotFound(f"{provider} has no account with this key")
        return simulators[key] if key is not None else next(iter(simulators.values()))

    @app.get("/control")
    async def state() -> Any:
        """Where everything is, and what is set."""
        return Json(described(world))

    @app.post("/control/clock")
    async def advance(step: Step) -> Any:
        """Let time pass at all providers, and post what happened meanwhile (unless webhooks are held)."""
        world.advance(timedelta(seconds=step.seconds))
        posted = 0 if world.holds_webhooks else await world.send_due()
        return Json({"now": world.now, "posted": posted, "waiting": waiting(world)})

    @app.post("/control/webhooks")
    async def post_webhooks() -> Any:
        """Post what is due now. What is not heard is due again later, as its provider has it."""
        return Json({"posted": await world.send_due(), "waiting": waiting(world)})

    @app.post("/control/{provider}/faults")
    async def fail(provider: Name, fault: Fault) -> Any:
        """Next calls fail. Several faults are met in the order in which they were asked for."""
        faults = named(provider).api.faults
        for setting in ("retry_after_seconds", "hang_seconds", "drip_seconds"):
            told = getattr(fault, setting)
            if told is not None:
                setattr(faults, setting, told)
        if fault.times is not None:
            faults.next(fault.kind, fault.times, path=fault.call)
        else:
            faults.always(fault.kind, share=fault.share, path=fault.call)
        return Json(faults_of(named(provider)), 201)

    @app.get("/control/{provider}/faults")
    async def show_faults(provider: Name) -> Any:
        return Json(faults_of(named(provider)))

    @app.delete("/control/{provider}/faults")
    async def calm(provider: Name) -> Any:
        """No call fails any more, no webhook is kept back, and every key opens again."""
        found = named(provider)
        found.api.faults.calm()
        found.api.revoked.clear()
        for simulator in found.simulators.values():
            simulator.poster.faults = PostFaults()
        return Json(faults_of(found))

    @app.put("/control/{provider}/webhook-faults")
    async def spoil_webhooks(provider: Name, faults: WebhookFaults) -> Any:
        """What happens to the webhooks of changes from now on."""
        for simulator in named(provider).simulators.values():
            simulator.poster.faults = PostFaults(
                silent=faults.silent,
                silent_types=frozenset(faults.silent_types),
                duplicates=faults.duplicates,
                longest_delay=timedelta(seconds=faults.longest_delay_seconds),
                reorders=faults.reorders,
                seed=faults.seed,
            )
        return Json(faults.model_dump())

    @app.post("/control/{provider}/revocations")
    async def revoke(provider: Name, key: Key) -> Any:
        """The key opens nothing any more, until the faults are taken away."""
        account(provider, key.api_key)
        named(provider).api.revoked.add(key.api_key)
        return Json(faults_of(named(provider)), 201)

    @app.put("/control/{provider}/limit")
    async def limit(provider: Name, limit: Limit) -> Any:
        """How many calls a minute each key may make."""
        calls = limit.calls_per_minute
        named(provider).api.limit = SlidingWindow(calls, 60.0) if calls is not None else None
        return Json(limit.model_dump())

    @app.post("/control/{provider}/accounts")
    async def open_account(provider: Name, body: NewAccount) -> Any:
        """One more account, with campaigns and a history of its own."""
        found = named(provider)
        world.open_account(found, body.api_key, body.seed)
        return Json({"base_url": found.base_url, "api_key": body.api_key}, 201)

    @app.post("/control/{provider}/reactions")
    async def let_react(provider: Name, reaction: Reaction) -> Any:
        """A lead does something now."""
        react(provider, account(provider, reaction.api_key), reaction.what,
              campaign_id=reaction.campaign, lead=reaction.lead, text=reaction.text)  # fmt: skip
        world.changed()
        return Json({"waiting": waiting(world)}, 201)

    @app.get("/control/{provider}/calls")
    async def calls(provider: Name, api_key: Account = None) -> Any:
        """The call book: every call that was made, also those that were refused or got no answer."""
        book = named(provider).api.book
        return Json(
            {
                "total": len(book.of(api_key)),
                "most_in_a_minute": book.most_in(60, api_key),
                "by_endpoint": dict(book.by_endpoint(api_key)),
                "calls": [
                    {"method": one.method, "endpoint": one.endpoint, "status": one.status, "at_seconds": one.at}
                    for one in book.of(api_key)
                ],
            }
        )

    @app.get("/control/{provider}/journal")
    async def what_happened(provider: Name, api_key: Account = None, after: Annotated[int, Query(ge=0)] = 0) -> Any:
        """What happened, told or not; `after` leaves out so many of the first."""
        return Json({"notes": journal(account(provider, api_key), after)})

    @app.get("/control/{provider}/truth")
    async def what_is(provider: Name, api_key: Account = None) -> Any:
        """The figures and states that a correct receiver must arrive at."""
        return Json(truth(account(provider, api_key)))

    @app.get("/control/{provider}/webhooks")
    async def posts(provider: Name, api_key: Account = None) -> Any:
        """Every webhook that a change caused: its bytes, and how often it was posted and acknowledged."""
        poster = account(provider, api_key).poster
        return Json(
            {
                "waiting": poster.waiting,
                "posts": [
                    {
                        "number": post.number,
                        "event_type": post.event_type,
                        "is_withheld": post.kind is PostKind.WITHHELD,
                        "is_duplicate": post.kind is PostKind.DUPLICATE,
                        "attempts": poster.journal.attempts[post.number],
                        "acknowledged": poster.journal.acknowledged[post.number],
                        "body": post.body.decode(),
                    }
                    for post in poster.posts
                ],
            }
        )

    return app


def waiting(world: World) -> int:
    """Webhooks that are still to be posted, now or later."""
    return sum(simulator.poster.waiting for simulator in world.simulators())


def described(world: World) -> dict[str, Any]:
    """The state as one JSON document."""
    return {
        "now": world.now,
        "holds_webhooks": world.holds_webhooks,
        "providers": {
            name: {
                "base_url": provider.base_url,
                "api_key": provider.kind.key,
                "key_travels_as": provider.kind.how_to_log_in,
                "calls_per_minute": provider.api.limit.limit if provider.api.limit is not None else None,
                "accounts": [
                    {
                        "api_key": key,
                        "campaigns": simulator.campaign_ids,
                        "webhooks": [one.url for one in simulator.account.registrations],
                        "posts_waiting": simulator.poster.waiting,
                    }
                    for key, simulator in provider.simulators.items()
                ],
            }
            for name, provider in world.providers.items()
        },
    }


def faults_of(provider: SimulatedProvider) -> dict[str, Any]:
    faults = provider.api.faults
    return {
        "wanted": faults.wanted(),
        "met": [{"kind": kind, "call": call} for kind, call in faults.met],
        "revoked": sorted(provider.api.revoked),
        "kinds": list(FaultKind),
    }
