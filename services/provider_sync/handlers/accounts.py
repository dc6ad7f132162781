"""Accounts at providers: opening one, showing them. Secrets go in and never come out."""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg
import httpx
import orjson
from pydantic import SecretStr

from libs.clock import now
from libs.contracts.events import ProviderAccountChangedV1, WebhookEndpointChangedV1
from libs.errors import Invalid, NotFound
from libs.ids import AccountId, CompanyId, new_id, parse_public_id, public_id
from libs.messaging.work import UnitOfWork
from libs.outbound.addresses import AddressRefused, check_url, is_loopback
from libs.providers.registry import Provider
from libs.web.cursors import Cursors, page
from services.provider_sync.domain.accounts import Account
from services.provider_sync.handlers.rotations import mint
from services.provider_sync.repository.accounts import (
    AccountRepository,
    CompanyRepository,
    Endpoint,
    EndpointRepository,
)
from services.provider_sync.schemas import AccountOut, NewAccount, Page, WebhookEndpointOut
from services.provider_sync.sealing import Sealer

_LONGEST_CREDENTIAL = 1000


async def open_account(
    body: NewAccount,
    work: UnitOfWork,
    *,
    providers: Mapping[str, Provider],
    sealer: Sealer,
    allow_loopback: bool,
) -> AccountOut:
    """Keep a new account and mint the address to which its provider will post.

    Publishes ProviderAccountChangedV1, WebhookEndpointChangedV1 and ActionPerformedV1. Once the door has opened the
    endpoint, its URL is registered at the provider. The URL's token is kept sealed, and the door gets its hash only.

    Raises:
        Invalid: an unknown provider or company, credentials other than the provider wants, a base URL that is forbidden
            or missing, sub-accounts at a provider that has none.
        KeysUnavailable: there is no key to seal with.
    """
    provider = providers.get(body.provider)
    if provider is None:
        known = ", ".join(sorted(providers))
        raise Invalid(f"provider is not one of this build: {known}", pointer="/provider")
    if body.client_companies and not provider.has_clients:
        raise Invalid(
            f"{provider.name} accounts have no sub-accounts: each is one company's, so open one account per company",
            pointer="/client_companies",
        )
    account = Account(
        id=AccountId(new_id()),
        provider=provider.name,
        channel=provider.channel.value,
        company_id=_company(body.company_id, "/company_id"),
        base_url=_checked_base_url(body.base_url, provider, allow_loopback=allow_loopback),
        clients={
            client: _company(company, f"/client_companies/{client}")
            for client, company in body.client_companies.items()
        },
    )
    credentials = checked_credentials(body.credentials, provider)
    await _check_companies(account, work)
    accounts = AccountRepository(work.session)
    sealed = await sealer.seal(credentials, work.session, table="accounts", row_id=account.id)
    await accounts.insert(account, name=body.name, credentials=sealed)
    endpoint_id = new_id()
    token, token_sha256 = mint(endpoint_id)
    sealed = await sealer.seal(token, work.session, table="endpoints", row_id=endpoint_id)
    endpoint = Endpoint(endpoint_id, account.id, "pending", sealed, endpoint_id)
    await EndpointRepository(work.session).insert(endpoint, token_sha256=token_sha256, last4=token[-4:])
    work.publish(
        ProviderAccountChangedV1.model_validate(
            {
                "account_id": account.id,
                "revision": 1,
                "provider": account.provider,
                "channel": account.channel,
                "name": body.name,
                "status": "active",
            }
        ),
        company_id=account.company_id,
    )
    work.publish(
        WebhookEndpointChangedV1(
            endpoint_id=endpoint_id,
            account_id=account.id,
            revision=1,
            provider=account.provider,
            token_sha256=token_sha256,
        ),
        company_id=account.company_id,
    )
    opened = {"provider": account.provider, "company_id": public_id("cmp", account.company_id)}
    work.audit("account.opened", public_id("acc", account.id), opened, company_id=account.company_id)
    row = await accounts.find_shown(account.id)
    assert row is not None
    return _shown(row)


async def list_accounts(work: UnitOfWork, cursors: Cursors, *, after: str | None, limit: int) -> Page[AccountOut]:
    """Newest first."""
    position = cursors.read(after, org_id=work.org_id, query="provider-accounts")
    rows, more = page(await AccountRepository(work.session).page(position, limit), limit)
    heard = [row["last_webhook_at"] for row in rows if row["last_webhook_at"] is not None]
    return Page(
        data=[_shown(row) for row in rows],
        has_more=more,
        next_cursor=cursors.write([rows[-1]["id"]], org_id=work.org_id, query="provider-accounts") if more else None,
        as_of=now(),
        last_webhook_at=max(heard, default=None),
    )


async def show_account(work: UnitOfWork, account_id: str) -> AccountOut:
    row = await AccountRepository(work.session).find_shown(parse_public_id("acc", account_id))
    if row is None:
        raise NotFound("there is no acc_ object with this id")
    return _shown(row)


def _company(text: str, pointer: str) -> CompanyId:
    try:
        return CompanyId(parse_public_id("cmp", text))
    except NotFound:
        raise Invalid("this is no company id (cmp_…)", pointer=pointer) from None


async def _check_companies(account: Account, work: UnitOfWork) -> None:
    wanted = {"/company_id": account.company_id}
    wanted |= {f"/client_companies/{client}": company for client, company in account.clients.items()}
    usable = await CompanyRepository(work.session).open(wanted.values())
    for pointer, company in wanted.items():
        if company not in usable:
            raise Invalid(
                f"{public_id('cmp', company)} is no company of this organization, or is archived, or so new that word of "
                "it is still on its way: then try again",
                pointer=pointer,
            )


def checked_credentials(credentials: Mapping[str, SecretStr], provider: Provider) -> str:
    """The credentials as JSON. Raises Invalid: other than the provider wants."""
    given = {name: secret.get_secret_value() for name, secret in credentials.items()}
    if set(given) != set(provider.credential_fields):
        wanted = ", ".join(provider.credential_fields)
        raise Invalid(f"credentials of {provider.name} are exactly: {wanted}", pointer="/credentials")
    for name, value in given.items():
        if not value or len(value) > _LONGEST_CREDENTIAL or not value.isprintable():
            raise Invalid("a credential is visible text without line breaks", pointer=f"/credentials/{name}")
    return orjson.dumps(given).decode()


def _checked_base_url(given: str | None, provider: Provider, *, allow_loopback: bool) -> str | None:
    """What it resolves to is judged at every call, see libs.outbound."""
    if given is None:
        if provider.needs_base_url:
            raise Invalid(
                f"base_url is needed: {provider.name} has no address of its own, each customer has one",
                pointer="/base_url",
            )
        return None
    try:
        check_url(given, allow_loopback=allow_loopback)
    except AddressRefused as refusal:
        raise Invalid(f"base_url: {refusal}", pointer="/base_url") from None
    host, own = httpx.URL(given).host, httpx.URL(provider.default_base_url).host
    if not provider.needs_base_url and host != own and not (allow_loopback and is_loopback(host)):
        raise Invalid(f"base_url: {provider.name} answers at {own} only, so leave it out", pointer="/base_url")
    return given


def _shown(row: asyncpg.Record) -> AccountOut:
    return AccountOut(
        id=public_id("acc", row["id"]),
        provider=row["provider"],
        channel=row["channel"],
        name=row["name"],
        base_url=row["base_url"],
        company_id=public_id("cmp", row["company_id"]),
        client_companies={
            client: public_id("cmp", company) for client, company in zip(row["clients"], row["companies"], strict=True)
        },
        workspace_external_id=row["workspace_external_id"],
        status=row["status"],
        status_reason=row["status_reason"],
        paused_until=row["paused_until"],
        pause_reason=row["pause_reason"] if row["paused_until"] else None,
        revision=row["revision"],
        webhook_endpoint=WebhookEndpointOut(
            id=None if row["endpoint_id"] is None else public_id("whe", row["endpoint_id"]),
            status=row["endpoint_status"],
            error=row["endpoint_error"],
            last_webhook_at=row["last_webhook_at"],
        ),
        created_at=row["created_at"],
    )
