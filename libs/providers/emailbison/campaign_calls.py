"""Running campaigns: looking, making, changing, starting, stopping; their sequences, schedules and mailboxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from libs.errors import ContractViolated, ProviderRefused, ProviderUnavailable, Unsupported
from libs.providers.calls import Answer, NotThere
from libs.providers.emailbison import campaigns
from libs.providers.emailbison import steps as sequence
from libs.providers.emailbison.transport import EmailBisonApi, as_number, data_of, in_path, is_route, required
from libs.providers.fields import Fields, JsonObject
from libs.providers.records import Campaign, CampaignChanges, EmailStep, Schedule


class CampaignCalls(EmailBisonApi):
    """Campaigns, CampaignEditing, CampaignControl, CampaignStopping and EmailSequences."""

    async def read_workspace_id(self) -> str | None:
        """The workspace that the token acts in now; None when the answer does not say.

        A super-admin's token follows its user from workspace to workspace; an api-user's stays.
        """
        user = data_of(await self._get("/users"), "user")
        return user.nested("team").identifier("id") or user.nested("workspace").identifier("id")

    async def list_campaigns(self) -> Sequence[Campaign]:
        return [campaigns.read_campaign(row) for row in await self._campaign_rows()]

    async def get_campaign(self, campaign_external_id: str) -> Campaign:
        """Three reads: the campaign names neither its schedule nor its mailboxes."""
        row, _ = await self._campaign(campaign_external_id)
        return replace(
            campaigns.read_campaign(row),
            schedule=await self._schedule(campaign_external_id),
            sender_external_ids=tuple(await self.list_senders(campaign_external_id)),
        )

    async def create_campaign(self, *, name: str, client_external_id: str | None = None) -> str:
        if client_external_id:
            raise Unsupported(
                "EmailBison has no sub-accounts: an account is one workspace, and a workspace one company's"
            )
        made = data_of((await self._write("POST", "/campaigns", {"name": name})).raw, "campaign")
        return required(made, "id", made.identifier("id"))

    async def update_campaign(self, campaign_external_id: str, changes: CampaignChanges) -> None:
        """Up to four writes: settings, schedule, mailboxes to add and to take away. Each sets what it sets whatever was
        there, so all of them may be made again. Mailboxes are taken away from drafts and paused campaigns only."""
        campaigns.refuse_what_cannot_change(changes)
        path = f"/campaigns/{in_path(campaign_external_id)}"
        row, _ = await self._campaign(campaign_external_id)
        settings = campaigns.settings_to_write(row, changes)
        if settings is not None:
            await self._write("PATCH", f"{path}/update", settings)
        if changes.schedule is not None:
            # A POST never replaces, a PUT never makes.
            verb = "POST" if await self._schedule_row(campaign_external_id) is None else "PUT"
            await self._write(verb, f"{path}/schedule", campaigns.schedule_to_write(changes.schedule))
        if changes.sender_external_ids is not None:
            wanted, present = set(changes.sender_external_ids), set(await self.list_senders(campaign_external_id))
            for verb, call, ids in (
                ("POST", "attach-sender-emails", wanted - present),
                ("DELETE", "remove-sender-emails", present - wanted),
            ):
                if ids:
                    body = {"sender_email_ids": sorted(as_number(one, "sender_external_ids") for one in ids)}
                    await self._write(verb, f"{path}/{call}", body)

    async def start_campaign(self, campaign_external_id: str) -> None:
        """A draft is launched by the call that resumes, and refused while it lacks steps, schedule, mailboxes or leads."""
        await self._set(campaign_external_id, "resume")

    async def pause_campaign(self, campaign_external_id: str) -> None:
        await self._set(campaign_external_id, "pause")

    async def resume_campaign(self, campaign_external_id: str) -> None:
        await self._set(campaign_external_id, "resume")

    async def stop_campaign(self, campaign_external_id: str) -> None:
        """By archiving: nobody can set the status "stopped"."""
        await self._set(campaign_external_id, "archive")

    async def list_steps(self, campaign_external_id: str) -> Sequence[EmailStep]:
        return sequence.as_steps(await self._steps(campaign_external_id))

    async def replace_steps(self, campaign_external_id: str, steps: Sequence[EmailStep]) -> None:
        """No call replaces a sequence. What is new is appended, what is not wished any more deleted, and then all that is
        there is put in its order and words. Each call is made once; after a lost answer the whole may be begun again, as
        what was appended meanwhile is not among what is wished, and goes."""
        sequence.check(steps)
        in_path(campaign_external_id)
        present = await self._text_ids(campaign_external_id)
        ids: dict[tuple[int, int], str | None] = {}
        for step in steps:
            for index, variant in enumerate(step.variants):
                # The first text of a step is the step itself.
                found = variant.external_id or (step.external_id if index == 0 else None)
                ids[step.number, index] = found if found in present else None
        kept = {found for found in ids.values() if found is not None}
        await self._append(campaign_external_id, steps, ids)
        for gone in sorted(present - kept, key=int, reverse=True):
            try:
                await self._write("DELETE", f"/campaigns/sequence-steps/{gone}")
            except NotThere as refusal:  # with its parent
                if is_route(refusal):
                    raise
        if present:
            await self._put(campaign_external_id, steps, ids)

    async def list_senders(self, campaign_external_id: str) -> Sequence[str]:
        """The ids of the mailboxes that the campaign sends from."""
        rows = await self._list(f"/campaigns/{in_path(campaign_external_id)}/sender-emails")
        return [required(row, "id", row.identifier("id")) for row in rows]

    async def _append(self, campaign: str, wished: Sequence[EmailStep], ids: dict[tuple[int, int], str | None]) -> None:
        """What has no id yet, in one call; `ids` then has them."""
        new: list[JsonObject] = []
        places: list[tuple[int, int]] = []
        for step in wished:
            parent = ids[step.number, 0]
            for index, text in enumerate(sequence.texts_to_write(wished, step.number)):
                if ids[step.number, index] is not None:
                    continue
                if index and parent is not None:
                    text["variant_from_step_id"] = int(parent)
                elif index:
                    text["variant_from_step"] = step.number
                new.append(text)
                places.append((step.number, index))
        if not new:
            return
        known = await self._text_ids(campaign)
        body = {"title": "Sequence", "sequence_steps": new}
        await self._write("POST", f"/campaigns/v1.1/{in_path(campaign)}/sequence-steps", body)
        made = await self._text_ids(campaign) - known
        if len(made) != len(new):
            raise ProviderUnavailable(f"campaign {campaign}: {len(made)} of {len(new)} new texts are there")
        # Ids count up in the order in which the texts were sent.
        in_order = sorted(made, key=int)
        ids |= dict(zip(places, in_order, strict=True))

    async def _text_ids(self, campaign: str) -> set[str]:
        return {required(row, "id", row.identifier("id")) for row in await self._steps(campaign)}

    async def _put(self, campaign: str, wished: Sequence[EmailStep], ids: dict[tuple[int, int], str | None]) -> None:
        row, _ = await self._campaign(campaign)
        sequence_id = required(row, "sequence_id", row.identifier("sequence_id"))
        texts: list[JsonObject] = []
        for step in wished:
            for index, text in enumerate(sequence.texts_to_write(wished, step.number)):
                found, parent = ids[step.number, index], ids[step.number, 0]
                if found is None or parent is None:
                    raise ContractViolated("sequence_steps has a text without an id")
                of_parent = {"variant_from_step_id": int(parent)} if index else {}
                texts.append({"id": int(found), **text, **of_parent})
        await self._write(
            "PUT", f"/campaigns/v1.1/sequence-steps/{sequence_id}", {"title": "Sequence", "sequence_steps": texts}
        )

    async def _set(self, campaign: str, verb: str) -> None:
        await self._write("PATCH", f"/campaigns/{in_path(campaign)}/{verb}")

    async def _campaign_rows(self) -> Sequence[Fields]:
        """Every campaign of the workspace; a super-admin's token could change the workspace meanwhile."""
        before = await self.read_workspace_id()
        rows = await self._list("/campaigns")
        if await self.read_workspace_id() != before:
            raise ProviderUnavailable("the token's workspace changed while its campaigns were listed")
        return rows

    async def _campaign(self, campaign: str) -> tuple[Fields, Answer]:
        value, answer = await self._call("GET", f"/campaigns/{in_path(campaign)}")
        found = data_of(value, "campaign")
        if not found.raw:  # a deleted campaign on its way out
            raise NotThere(f"there is no campaign {campaign}")
        if found.identifier("id") != campaign:
            raise ContractViolated("campaign.id is not the one asked for")
        return found, answer

    async def _schedule(self, campaign: str) -> Schedule | None:
        row = await self._schedule_row(campaign)
        return campaigns.read_schedule(row) if row is not None else None

    async def _schedule_row(self, campaign: str) -> Fields | None:
        """None for a campaign without one, which the provider calls an error, and says with a 200."""
        try:
            row = data_of(await self._get(f"/campaigns/{in_path(campaign)}/schedule"), "schedule")
        except ProviderRefused as refusal:
            if "does not exist" in str(refusal):
                return None
            raise
        return row if row.raw else None

    async def _steps(self, campaign: str) -> Sequence[Fields]:
        """Parents and variants; none for a campaign without a sequence, which the provider calls an error."""
        try:
            try:
                return sequence.rows_of(await self._get(f"/campaigns/v1.1/{in_path(campaign)}/sequence-steps"))
            except NotThere as refusal:
                if not is_route(refusal):
                    raise
            return sequence.rows_of(await self._get(f"/campaigns/{in_path(campaign)}/sequence-steps"))
        except ProviderRefused as refusal:
            if "do not exist" in str(refusal):
                return ()
            raise
