"""Every field of EmailBison's API that somebody has seen or that its documents agree on, by endpoint.

The simulator serves none besides: an adapter that learnt to use an invented one would find out in production.
"""

from __future__ import annotations

CAMPAIGN = """id uuid sequence_id name type status completion_percentage emails_sent opened unique_opens replied unique_replies
bounced unsubscribed interested total_leads total_leads_contacted max_emails_per_day max_new_leads_per_day
daily_max_sends_per_receiving_domain plain_text open_tracking can_unsubscribe unsubscribe_text include_auto_replies_in_stats
sequence_prioritization tags[].id tags[].name tags[].default created_at updated_at"""
SCHEDULE = "monday tuesday wednesday thursday friday saturday sunday start_time end_time timezone"
STEP = "id email_subject order email_body wait_in_days variant variant_from_step_id attachments thread_reply"
OLDER_STEP = """id email_subject order email_body wait_in_days variant variant_from_step attachments thread_reply active
created_at updated_at"""
LEAD = """id uuid first_name last_name email title company notes status custom_variables[].name custom_variables[].value
lead_campaign_data[].campaign_id lead_campaign_data[].status lead_campaign_data[].emails_sent lead_campaign_data[].replies
lead_campaign_data[].opens lead_campaign_data[].interested lead_campaign_data.campaign_id lead_campaign_data.status
lead_campaign_data.emails_sent lead_campaign_data.replies lead_campaign_data.opens lead_campaign_data.interested
overall_stats.emails_sent overall_stats.opens overall_stats.replies overall_stats.unique_replies overall_stats.unique_opens
tags[].id tags[].name tags[].default created_at updated_at"""
MAIL = """id campaign_id lead_id sender_email_id sequence_step_id thread_reply email_subject email_body status scheduled_date
scheduled_date_local sent_at opens unique_opens clicks replies unique_replies interested raw_message_id lead.* sender_email.*
campaign.*"""
REPLY = """id uuid folder subject read interested automated_reply html_body text_body raw_body headers date_received type
tracked_reply scheduled_email_id campaign_id lead_id sender_email_id raw_message_id from_name from_email_address
primary_to_email_address to[].name to[].address cc[].name cc[].address bcc[].name bcc[].address parent_id attachments[].id
attachments[].uuid attachments[].reply_id attachments[].file_name attachments[].download_url attachments[].created_at
attachments[].updated_at lead.* created_at updated_at"""
MAILBOX = """id name email email_signature imap_server imap_port smtp_server smtp_port daily_limit type status warmup_enabled
emails_sent_count total_replied_count total_opened_count unsubscribed_count bounced_count unique_replied_count
unique_opened_count total_leads_contacted_count interested_leads_count tags created_at updated_at"""
WORKSPACE = "id name personal_team main parent_id sender_email_limit warmup_limit has_access_to_warmup"
STATS = """emails_sent total_leads_contacted opened opened_percentage unique_opens_per_contact unique_opens_percentage
unique_opens_per_contact_percentage unique_replies_per_contact unique_replies_percentage
unique_replies_per_contact_percentage bounced bounced_percentage unsubscribed unsubscribed_percentage interested
interested_percentage sequence_step_stats[].sequence_step_id sequence_step_stats[].email_subject sequence_step_stats[].sent
sequence_step_stats[].leads_contacted sequence_step_stats[].unique_opens sequence_step_stats[].unique_replies
sequence_step_stats[].unsubscribed sequence_step_stats[].bounced sequence_step_stats[].interested"""
REGISTRATION = "id name url events[] created_at updated_at"
EVENT = "id uuid created_at updated_at webhook_deliveries payload.event.* payload.data.*"
PAGE = """links.first links.last links.prev links.next meta.current_page meta.from meta.last_page meta.path meta.per_page meta.to
meta.total meta.next_cursor meta.prev_cursor"""
WRAPPED = "data.success data.message"
BARE = "success message"
# In the wrapper, un-nested, as Laravel tells a field at fault, and bare.
ERRORS = f"{WRAPPED} data.record_not_found.* data.record_not_found {BARE} errors.*"


def _below(prefix: str, names: str) -> str:
    return " ".join(f"{prefix}{name}" for name in names.split())


def _one(names: str) -> str:
    return _below("data.", names)


def _page(names: str) -> str:
    return f"{_below('data[].', names)} {PAGE}"


_SEQUENCE = _one("id type title " + _below("sequence_steps[].", STEP))
_MEMBERS = "/campaigns/{id}/leads"

FIELDS = {
    "GET /users": _one("id name email profile_photo_url created_at updated_at " + _below("team.", WORKSPACE)),
    "GET /workspaces/v1.1": _below("data[].", WORKSPACE),
    "GET /campaigns": _page(CAMPAIGN),
    "POST /campaigns": _one(CAMPAIGN),
    "GET /campaigns/{id}": _one(CAMPAIGN),
    "DELETE /campaigns/{id}": WRAPPED,
    "PATCH /campaigns/{id}/update": _one(CAMPAIGN),
    "PATCH /campaigns/{id}/pause": _one(CAMPAIGN),
    "PATCH /campaigns/{id}/resume": _one(CAMPAIGN),
    "PATCH /campaigns/{id}/archive": _one(CAMPAIGN),
    "GET /campaigns/{id}/schedule": _one(SCHEDULE),
    "POST /campaigns/{id}/schedule": _one(SCHEDULE),
    "PUT /campaigns/{id}/schedule": _one(SCHEDULE),
    "GET /campaigns/{id}/sender-emails": _page(MAILBOX),
    "POST /campaigns/{id}/attach-sender-emails": BARE,
    "DELETE /campaigns/{id}/remove-sender-emails": BARE,
    "POST /campaigns/{id}/stats": _one(STATS),
    "GET /campaigns/v1.1/{id}/sequence-steps": _one("sequence_id " + _below("sequence_steps[].", STEP)),
    "POST /campaigns/v1.1/{id}/sequence-steps": _SEQUENCE,
    "PUT /campaigns/v1.1/sequence-steps/{id}": _SEQUENCE,
    "GET /campaigns/{id}/sequence-steps": _below("data[].", OLDER_STEP),
    "DELETE /campaigns/sequence-steps/{id}": BARE,
    "GET /campaigns/{id}/scheduled-emails": _page(MAIL),
    "GET /campaigns/{id}/replies": _page(REPLY),
    f"GET {_MEMBERS}": _page(LEAD),
    f"DELETE {_MEMBERS}": BARE,
    f"POST {_MEMBERS}/attach-leads": WRAPPED,
    f"POST {_MEMBERS}/stop-future-emails": WRAPPED,
    "GET /leads": _page(LEAD),
    "POST /leads": _one(LEAD),
    "POST /leads/create-or-update/multiple": _below("data[].", LEAD),
    "POST /leads/multiple": _below("data[].", LEAD),
    "GET /leads/{id}": _one(LEAD),
    "PATCH /leads/{id}": _one(LEAD),
    "PUT /leads/{id}": _one(LEAD),
    "DELETE /leads/{id}": WRAPPED,
    "PATCH /leads/{id}/unsubscribe": _one(LEAD),
    "GET /leads/{id}/scheduled-emails": _page(MAIL),
    "GET /leads/{id}/sent-emails": _page(MAIL),
    "GET /leads/{id}/replies": _page(REPLY),
    "GET /replies": _page(REPLY),
    "GET /replies/{id}": _one(REPLY),
    "GET /replies/{id}/conversation-thread": _one(
        " ".join(_below(f"{name}.", REPLY) for name in ("current_reply", "older_messages[]", "newer_messages[]"))
    ),
    "POST /replies/{id}/reply": f"{WRAPPED} {_one(_below('reply.', REPLY))}",
    "PATCH /replies/{id}/mark-as-interested": _one(REPLY),
    "PATCH /replies/{id}/mark-as-not-interested": _one(REPLY),
    "PATCH /replies/{id}/mark-as-read-or-unread": _one(REPLY),
    "GET /sender-emails": _page(MAILBOX),
    "GET /tags": _below("data[].", "id name default"),
    "GET /custom-variables": _page("id name"),
    "POST /custom-variables": _one("id name"),
    "GET /events": _page(EVENT),
    "GET /webhook-events/event-types": _below("data[].", "name id"),
    "GET /webhook-url": _below("data[].", REGISTRATION),
    "POST /webhook-url": _one(REGISTRATION),
    "GET /webhook-url/{id}": _one(REGISTRATION),
    "PUT /webhook-url/{id}": _one(REGISTRATION),
    "DELETE /webhook-url/{id}": WRAPPED,
}
