"""The workspace's state as the API answers it: the names and shapes differ from those of the webhooks."""

from __future__ import annotations

from libs.providers.emailbison import events
from libs.providers.emailbison.simulator.model import (
    Account,
    Campaign,
    Enrolment,
    InboxRow,
    Lead,
    Mail,
    Mailbox,
    Registration,
    Step,
)
from libs.providers.emailbison.simulator.payloads import name_of, wall_clock, zulu
from libs.providers.emailbison.simulator.play import Occurrence

Resource = dict[str, object]


def user(account: Account, *, team: str = "team") -> Resource:
    """`team` is what the workspace is called: the documents write team, two tools have seen workspace."""
    return {
        "id": account.first_id,
        "name": "Ruth Stone",
        "email": "ruth@agency.example.com",
        team: workspace(account),
        "profile_photo_url": None,
        "created_at": zulu(account.created_at),
        "updated_at": zulu(account.created_at),
    }


def workspace(account: Account) -> Resource:
    return {
        "id": account.workspace_id,
        "name": account.workspace_name,
        "personal_team": False,
        "main": False,
        "parent_id": 1,
        "sender_email_limit": 100,
        "warmup_limit": 100,
        "has_access_to_warmup": True,
    }


def campaign(found: Campaign, *, title_case: bool) -> Resource:
    sent = [mail for enrolment in found.enrolments for mail in enrolment.sent]
    opens, replies = sum(mail.opens for mail in sent), sum(mail.replies for mail in sent)
    openers = sum(any(mail.opens for mail in enrolment.sent) for enrolment in found.enrolments)
    return {
        "id": found.id,
        "uuid": found.uuid,
        "sequence_id": found.sequence_id if found.steps else None,
        "name": found.name,
        "type": "outbound",
        "status": found.status.title() if title_case else found.status,
        "completion_percentage": 50,
        "emails_sent": len(sent),
        "opened": opens,
        "unique_opens": openers,  # per contact, as /stats calls the same number
        "replied": replies,
        "unique_replies": sum(enrolment.replies > 0 for enrolment in found.enrolments),
        "bounced": sum(mail.is_bounced for mail in sent),
        "unsubscribed": sum(enrolment.lead.status == "unsubscribed" for enrolment in found.enrolments),
        "interested": sum(enrolment.is_interested for enrolment in found.enrolments),
        "total_leads": len(found.enrolments),
        "total_leads_contacted": sum(bool(enrolment.sent) for enrolment in found.enrolments),
        "max_emails_per_day": found.settings.max_emails_per_day,
        "max_new_leads_per_day": found.settings.max_new_leads_per_day,
        "daily_max_sends_per_receiving_domain": None,
        "plain_text": found.settings.plain_text,
        "open_tracking": found.open_tracking,
        "can_unsubscribe": found.settings.can_unsubscribe,
        "unsubscribe_text": found.settings.unsubscribe_text,
        "include_auto_replies_in_stats": found.tells_automated,
        "sequence_prioritization": found.settings.sequence_prioritization,
        "tags": [],
        "created_at": zulu(found.created_at),
        "updated_at": zulu(found.updated_at),
    }


def schedule(found: Campaign) -> Resource:
    """Hours are written as 09:00 and read back as 09:00:00."""
    assert found.schedule is not None
    told = found.schedule
    return {**told, "start_time": f"{told['start_time']}:00", "end_time": f"{told['end_time']}:00"}


def stats(found: Campaign) -> Resource:
    """Totals are text, those of steps are numbers. `found` whole: whatever days are asked for."""
    whole = campaign(found, title_case=False)
    sent = int(str(whole["emails_sent"]))

    def share(count: object) -> str:
        return f"{100 * int(str(count)) / sent:.2f}".rstrip("0").rstrip(".") if sent else "0"

    told: Resource = {"emails_sent": str(sent), "total_leads_contacted": str(whole["total_leads_contacted"])}
    for name, of in (
        ("opened", "opened"),
        ("unique_opens_per_contact", "unique_opens"),
        ("unique_replies_per_contact", "unique_replies"),
        ("bounced", "bounced"),
        ("unsubscribed", "unsubscribed"),
        ("interested", "interested"),
    ):
        told |= {name: str(whole[of]), f"{name.removesuffix('_per_contact')}_percentage": share(whole[of])}
    return {**told, "sequence_step_stats": [_step_stats(found, choice) for choice in _choices(found)]}


def _step_stats(found: Campaign, choice: Step) -> Resource:
    mails = [(one, mail) for one in found.enrolments for mail in one.sent if mail.step.id == choice.id]
    return {
        "sequence_step_id": choice.id,
        "email_subject": choice.subject,
        "sent": len(mails),
        "leads_contacted": len({one.lead.id for one, _ in mails}),
        "unique_opens": sum(mail.opens > 0 for _, mail in mails),
        "unique_replies": sum(mail.replies > 0 for _, mail in mails),
        "unsubscribed": sum(one.lead.status == "unsubscribed" for one, mail in mails if mail is one.sent[-1]),
        "bounced": sum(mail.is_bounced for _, mail in mails),
        "interested": sum(mail.is_interested for _, mail in mails),
    }


def variable(number: int, name: str) -> Resource:
    return {"id": number, "name": name}


def tag(number: int, name: str) -> Resource:
    return {"id": number, "name": name, "default": name in ("Interested", "Google")}


def sequence_steps(found: Campaign) -> list[Resource]:
    """v1.1: every step and every variant; only steps carry an order."""
    return [
        {
            "id": choice.id,
            "email_subject": choice.subject,
            "order": choice.number if choice.parent_id is None else None,
            "email_body": choice.body,
            "wait_in_days": choice.wait_in_days,
            "variant": choice.parent_id is not None,
            "variant_from_step_id": choice.parent_id,
            "attachments": None,
            "thread_reply": choice.threads,
        }
        for choice in _choices(found)
    ]


def older_sequence_steps(found: Campaign) -> list[Resource]:
    """The deprecated route: another name for the parent, and times."""
    rows = []
    for row in sequence_steps(found):
        parent = row.pop("variant_from_step_id")
        at = zulu(found.created_at)
        rows.append({**row, "variant_from_step": parent, "active": True, "created_at": at, "updated_at": at})
    return rows


def _choices(found: Campaign) -> list[Step]:
    return [choice for step in found.steps for choice in step.choices]


def scheduled_email(found: Campaign, enrolment: Enrolment, mail: Mail, *, tells_bounce: bool) -> Resource:
    """`tells_bounce`: one integrator saw "bounced" here, another that the row stays "sent"."""
    status = "scheduled" if mail.sent_at is None else "bounced" if mail.is_bounced and tells_bounce else "sent"
    return {
        "id": mail.id,
        "campaign_id": found.id,
        "lead_id": enrolment.lead.id,
        "sender_email_id": mail.mailbox.id,
        "sequence_step_id": mail.step.id,
        "thread_reply": mail.step.threads,
        "email_subject": mail.subject,
        "email_body": mail.html,
        "status": status,
        "scheduled_date": zulu(mail.scheduled_at),
        "scheduled_date_local": wall_clock(mail.scheduled_at),
        "sent_at": zulu(mail.sent_at) if mail.sent_at is not None else None,
        "opens": mail.opens,
        "unique_opens": min(mail.opens, 1),
        "clicks": 0,
        "replies": mail.replies,
        "unique_replies": min(mail.replies, 1),
        "interested": True if mail.is_interested else None,
        "raw_message_id": mail.message_id if mail.sent_at is not None else None,
        "lead": {"id": enrolment.lead.id, "email": enrolment.lead.address, "first_name": enrolment.lead.first_name},
        "sender_email": {"id": mail.mailbox.id, "name": mail.mailbox.name, "email": mail.mailbox.address},
        "campaign": {"id": found.id, "name": found.name},
    }


def reply(row: InboxRow) -> Resource:
    """In lists: without the raw mail, with the lead (null for untracked mail)."""
    person = row.lead
    return {
        "id": row.id,
        "uuid": row.uuid,
        "folder": row.folder,
        "subject": row.subject,
        "read": row.is_read,
        "interested": row.is_interested,
        "automated_reply": row.is_automated,
        "html_body": row.html,
        "text_body": row.text,
        "raw_body": None,
        "headers": None,
        "date_received": zulu(row.received_at),
        "type": row.type,
        "tracked_reply": row.type == "Tracked Reply",
        "scheduled_email_id": row.mail.id if row.mail is not None else None,
        "campaign_id": row.campaign.id if row.campaign is not None else None,
        "lead_id": person.id if person is not None else None,
        "sender_email_id": row.mailbox.id,
        "raw_message_id": row.message_id,
        "from_name": row.from_name,
        "from_email_address": row.from_address,
        "primary_to_email_address": row.to_address,
        "to": [{"name": row.to_name, "address": row.to_address}],
        "cc": [{"name": one, "address": one} for one in row.cc] or None,
        "bcc": [{"name": one, "address": one} for one in row.bcc] or None,
        "parent_id": None,
        "attachments": [],
        "lead": {"id": person.id, "email": person.address} if person is not None else None,
        "created_at": zulu(row.created_at),
        "updated_at": zulu(row.updated_at),
    }


def lead(account: Account, person: Lead) -> Resource:
    pairs = [
        (found, enrolment)
        for found in account.campaigns
        for enrolment in found.enrolments
        if enrolment.lead.id == person.id
    ]
    stats: Resource = {
        "emails_sent": None,
        "opens": None,
        "replies": None,
        "unique_replies": None,
        "unique_opens": None,
    }
    if pairs:
        mails = [mail for _, enrolment in pairs for mail in enrolment.sent]
        stats = {
            "emails_sent": len(mails),
            "opens": sum(mail.opens for mail in mails),
            "replies": sum(enrolment.replies for _, enrolment in pairs),
            "unique_replies": sum(enrolment.replies > 0 for _, enrolment in pairs),
            "unique_opens": sum(mail.opens > 0 for mail in mails),
        }
    return {
        "id": person.id,
        "uuid": person.uuid,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "email": person.address,
        "title": person.title,
        "company": person.company,
        "notes": person.notes,
        "status": person.status,
        "custom_variables": person.custom_variables,
        "lead_campaign_data": [
            {
                "campaign_id": found.id,
                "status": enrolment.status,
                "emails_sent": len(enrolment.sent),
                "replies": enrolment.replies,
                "opens": sum(mail.opens for mail in enrolment.mails),
                "interested": enrolment.is_interested,
            }
            for found, enrolment in pairs
        ],
        "overall_stats": stats,
        "tags": [],
        "created_at": zulu(person.created_at),
        "updated_at": zulu(person.created_at),
    }


def sender_email(mailbox: Mailbox) -> Resource:
    counts = mailbox.counts
    return {
        "id": mailbox.id,
        "name": mailbox.name,
        "email": mailbox.address,
        "email_signature": None,
        "imap_server": "imap.example.com",
        "imap_port": 993,
        "smtp_server": "smtp.example.com",
        "smtp_port": 465,
        "daily_limit": 15,
        "type": "google_workspace_oauth",
        "status": "Connected" if mailbox.is_connected else "Not connected",
        "warmup_enabled": False,
        "emails_sent_count": counts["sent"],
        "total_replied_count": counts["replied"],
        "total_opened_count": counts["opened"],
        "unsubscribed_count": counts["unsubscribed"],
        "bounced_count": counts["bounced"],
        "unique_replied_count": counts["replied"],
        "unique_opened_count": counts["opened"],
        "total_leads_contacted_count": counts["sent"],
        "interested_leads_count": counts["interested"],
        "tags": [],
        "created_at": zulu(mailbox.created_at),
        "updated_at": zulu(mailbox.updated_at),
    }


def registration(found: Registration) -> Resource:
    return {
        "id": found.id,
        "name": found.name,
        "url": found.url,
        "events": list(found.event_ids),
        "created_at": zulu(found.created_at),
        "updated_at": zulu(found.updated_at),
    }


def event_types() -> list[Resource]:
    """The names are for people, and not those of the payloads."""
    return [
        {
            "name": "Contact Replied" if name == events.LEAD_REPLIED else name_of(name),
            "id": events.subscription_id(name),
        }
        for name in events.EVENT_TYPES
    ]


def event(number: int, told: Occurrence) -> Resource:
    return {
        "id": number,
        "uuid": f"00000000-0000-4000-8000-{number:012d}",
        "created_at": zulu(told.at),
        "updated_at": zulu(told.at),
        "webhook_deliveries": [],
        "payload": told.payload,
    }
