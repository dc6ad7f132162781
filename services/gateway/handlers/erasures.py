"""Erasures: what services tell of them."""

from __future__ import annotations

from collections.abc import Sequence

from libs.contracts.events import ErasureProgressedV1
from libs.errors import ContractViolated
from libs.ids import PLATFORM_ORG
from libs.messaging.work import UnitOfWork
from services.gateway.repository.erasures import Erasures


async def record_progress(events: Sequence[ErasureProgressedV1], work: UnitOfWork) -> None:
    """Keep how far services are with deleting organizations.

    Raises:
        ContractViolated: it is told in another org than the platform's, whose rows these are.
    """
    if work.org_id != PLATFORM_ORG:
        raise ContractViolated("the progress of an erasure is told in the platform's org")
    await Erasures(work.session).save_all(events)
