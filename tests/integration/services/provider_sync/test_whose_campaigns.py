"""For which companies a caller may have campaigns made: those that they see, at accounts that they see."""

from __future__ import annotations

import pytest

from libs.errors import NotFound
from libs.ids import CompanyId, new_id, public_id
from libs.tenancy.context import CompanyScope
from services.provider_sync.operation_schemas import NewCampaignIn
from services.provider_sync.repository.accounts import CompanyRepository
from tests.integration.services.provider_sync.effects_house import EffectsHouse


@pytest.fixture
async def house(database, units):
    house = EffectsHouse(database("provider_sync"), units("provider_sync"))
    yield house
    await house.http.aclose()
    await house.over_wire.aclose()


@pytest.fixture
async def accounts(house, make_org):
    return [await house.open_account(make_org()) for _ in range(2)]


async def test_a_campaign_is_made_for_a_company_of_the_callers_only(house, accounts):
    account, other = accounts
    sub, unrelated = CompanyId(new_id()), CompanyId(new_id())
    async with house.units.begin(account.org_id) as work:
        await CompanyRepository(work.session).keep({sub: "Sub", unrelated: "Unrelated"})
        await work.session.execute(
            "INSERT INTO client_companies (org_id, account_id, client_external_id, company_id) VALUES ($1, $2, '7', $3)",
            account.org_id, account.id, sub,
        )  # fmt: skip

    async def create(companies, company=None, at=account):
        wanted = NewCampaignIn(
            account_id=public_id("acc", at.id), name="Autumn", company_id=company and public_id("cmp", company)
        )
        asking = house.asking(account, scope=CompanyScope.of(companies))
        return await house.operations.create_campaign(asking, "email", wanted)

    # The account's own company is not theirs, though the account is where their sub-account is; then it is not even that.
    for companies, company, at, missing in (
        ([sub], None, account, "cmp_"),
        ([sub], account.company_id, account, "cmp_"),
        ([unrelated], None, account, "acc_"),
        ([unrelated], sub, account, "acc_"),
        ([account.company_id, sub], None, other, "acc_"),
    ):
        with pytest.raises(NotFound, match=f"there is no {missing} object"):
            await create(companies, company, at)
    assert await house.rows(account, "operations") == []

    made = [await create([sub], sub), await create([account.company_id])]
    assert [one.operation.company_id for one in made] == [public_id("cmp", one) for one in (sub, account.company_id)]
    assert await house.rows(other, "operations") == []
