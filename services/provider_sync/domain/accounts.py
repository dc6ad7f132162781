"""An account at a provider, and which company a campaign of it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from libs.ids import AccountId, CompanyId


@dataclass(frozen=True, slots=True)
class Account:
    """`company_id` is the default company, `clients` the companies of the provider's sub-accounts.

    `workspace_external_id` is the provider's tenant that the credentials act in; None while it has not told one.
    `chosen_sync_mode`: None where nobody chose, see strategy. No secrets.
    """

    id: AccountId
    provider: str
    channel: str
    company_id: CompanyId
    base_url: str | None = None
    workspace_external_id: str | None = None
    clients: Mapping[str, CompanyId] = field(default_factory=dict)
    chosen_sync_mode: str | None = None

    def company_of(self, client_external_id: str | None) -> CompanyId:
        """The company of a campaign; one whose sub-account is not stated, none or not mapped has the default."""
        return self.clients.get(client_external_id or "", self.company_id)
