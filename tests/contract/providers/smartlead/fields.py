"""Every field of Smartlead's API that somebody has seen or that its documents agree on, by endpoint.

The simulator serves none besides: an adapter that learnt to use an invented one would find out in production.
"""

from __future__ import annotations

PERSON = """first_name last_name email phone_number company_name website location custom_fields.* linkedin_profile company_url
is_unsubscribed unsubscribed_client_id_map.*"""
CAMPAIGN = """id user_id created_at updated_at status name track_settings[] scheduler_cron_value scheduler_cron_value.tz
scheduler_cron_value.days[] scheduler_cron_value.startHour scheduler_cron_value.endHour min_time_btwn_emails max_leads_per_day
stop_lead_settings schedule_start_time enable_ai_esp_matching send_as_plain_text follow_up_percentage unsubscribe_text
parent_campaign_id client_id tags[].tag_id tags[].tag_name tags[].tag_color"""
MAILBOX = """id from_name from_email username password imap_password type smtp_host smtp_port imap_host imap_port
is_smtp_success is_imap_success smtp_failure_error imap_failure_error message_per_day daily_sent_count campaign_count signature
custom_tracking_domain bcc_email different_reply_to_address client_id is_suspended warmup_details.status
warmup_details.warmup_reputation warmup_details.total_sent_count warmup_details.total_spam_count tags created_at updated_at"""
MAIL = """stats_id type message_id time email_body subject email_seq_number open_count click_count click_details.* from to cc[]
bcc[] attachments"""
ROW = """email_lead_map_id email_lead_id lead_first_name lead_last_name lead_email lead_status lead_category_id
current_sequence_number last_sent_time last_reply_time has_new_unread_email email_account_id revenue email_campaign_id
email_campaign_name email_campaign_seq_id client_id sub_sequence_id belongs_to_sub_sequence is_important is_archived is_snoozed
team_member_id campaign_sending_schedule.tz campaign_sending_schedule.days[] campaign_sending_schedule.startHour
campaign_sending_schedule.endHour"""
COUNTERS = """id user_id created_at status name sent_count unique_sent_count open_count unique_open_count click_count
unique_click_count reply_count block_count bounce_count unsubscribed_count total_count drafted_count sequence_count tags
client_id client_name client_email client_company_name parent_campaign_id send_as_plain_text"""
REGISTRATION = "id name created_at updated_at webhook_url email_campaign_id event_types[] categories[]"
DONE = "ok data"


def _below(prefix: str, names: str) -> str:
    return " ".join(f"{prefix}{name}" for name in names.split())


FIELDS = {
    "GET /campaigns": _below("[].", CAMPAIGN),
    "GET /campaigns/{id}": CAMPAIGN,
    "POST /campaigns/create": "ok id name created_at",
    "DELETE /campaigns/{id}": DONE,
    "POST /campaigns/{id}/status": DONE,
    "POST /campaigns/{id}/schedule": DONE,
    "POST /campaigns/{id}/settings": DONE,
    "GET /campaigns/{id}/sequences": _below(
        "[].",
        """id created_at updated_at email_campaign_id seq_number seq_delay_details.delayInDays subject email_body
        sequence_variants sequence_variants[].id sequence_variants[].created_at sequence_variants[].updated_at
        sequence_variants[].is_deleted sequence_variants[].subject sequence_variants[].email_body
        sequence_variants[].email_campaign_seq_id sequence_variants[].variant_label
        sequence_variants[].variant_distribution_percentage""",
    ),
    "POST /campaigns/{id}/sequences": "ok data data.sequences[].id data.sequences[].seqNumber",
    "GET /campaigns/{id}/email-accounts": _below("[].", MAILBOX),
    "POST /campaigns/{id}/email-accounts": "ok result",
    "DELETE /campaigns/{id}/email-accounts": "ok result",
    "GET /campaigns/{id}/leads-export": "",
    "GET /campaigns/{id}/leads": "total_leads offset limit "
    + _below("data[].", "campaign_lead_map_id lead_category_id status created_at lead.id")
    + " "
    + _below("data[].lead.", PERSON),
    "POST /campaigns/{id}/leads": """ok upload_count total_leads block_count duplicate_count invalid_email_count
        invalid_emails[] already_added_to_campaign unsubscribed_leads unsubscribed_leads[] is_lead_limit_exhausted
        lead_import_stopped_count bounce_count""",
    "POST /campaigns/{id}/leads/{id}": DONE,
    "DELETE /campaigns/{id}/leads/{id}": DONE,
    "POST /campaigns/{id}/leads/{id}/pause": DONE,
    "POST /campaigns/{id}/leads/{id}/resume": DONE,
    "POST /campaigns/{id}/leads/{id}/unsubscribe": DONE,
    "POST /campaigns/{id}/leads/{id}/category": DONE,
    "POST /campaigns/{id}/leads/{id}/manual-complete": """ok status.isLastSequence status.nextSequence
        status.nextSequence.id status.nextSequence.delayInDays""",
    "GET /leads": f"id created_at {PERSON} "
    + _below(
        "lead_campaign_data[].",
        """campaign_lead_map_id campaign_id campaign_name client_id client_email lead_category_id last_sent_at last_reply_at
        last_activity_at""",
    ),
    "GET /leads/{id}": f"ok message data[].id data[].created_at {_below('data[].', PERSON)}",
    "GET /leads/{id}/campaigns": "[].id [].status [].name",
    "POST /leads/{id}/unsubscribe": DONE,
    "GET /leads/fetch-categories": "[].id [].name [].sentiment_type [].created_at",
    "POST /leads/add-domain-block-list": DONE,
    "DELETE /leads/delete-domain-block-list": DONE,
    "GET /campaigns/{id}/statistics": "total_stats offset limit "
    + _below(
        "data[].",
        """stats_id lead_name lead_email lead_category sequence_number email_campaign_seq_id seq_variant_id email_subject
        email_message sent_time open_time click_time reply_time open_count click_count is_unsubscribed is_bounced ignore_reply""",
    ),
    "GET /campaigns/{id}/leads/{id}/message-history": f"{_below('history[].', MAIL)} from to",
    "POST /campaigns/{id}/reply-email-thread": "",
    "GET /campaigns/{id}/analytics": f"{COUNTERS} "
    + _below("campaign_lead_stats.", "total notStarted inprogress completed paused stopped blocked interested revenue"),
    "GET /campaigns/{id}/analytics-by-date": f"{COUNTERS} start_date end_date",
    "GET /campaigns/{id}/sequence-analytics": "ok "
    + _below(
        "data[].",
        """email_campaign_seq_id sent_count skipped_count open_count click_count reply_count bounce_count unsubscribed_count
        failed_count stopped_count ln_connection_req_pending_count ln_connection_req_accepted_count
        ln_connection_req_skipped_sent_msg_count positive_reply_count""",
    ),
    "POST /master-inbox/inbox-replies": f"ok offset limit {_below('data[].', ROW)} {_below('data[].email_history[].', MAIL)}",
    "GET /master-inbox/{id}": f"ok {_below('data.', ROW)} {_below('data.email_history[].', MAIL)}",
    "POST /webhook/create": "ok id webhook_url",
    "GET /webhook/{id}": "ok data.id data.name data.webhook_url data.event_type_map.*",
    "DELETE /webhook/delete/{id}": DONE,
    "GET /campaigns/{id}/webhooks": _below("[].", REGISTRATION),
    "POST /campaigns/{id}/webhooks": f"ok event_type_map.* category_id_map.* {REGISTRATION}",
    "DELETE /campaigns/{id}/webhooks": DONE,
    "GET /client": """[].id [].name [].email [].uuid [].created_at [].user_id [].logo [].logo_url
        [].client_permision.permission[] [].client_permision.retricted_category[]""",
    "POST /client/save": "ok clientId name email password",
    "GET /email-accounts": _below("[].", MAILBOX),
    "GET /email-accounts/{id}": MAILBOX,
    "POST /email-accounts/save": "ok message emailAccountId warmupKey",
}

# All shapes of a no: Joi's, a sentence under `error` or `message`, and the newest documents'.
ERRORS = """statusCode error message validation.source validation.keys[] ok errorCode emailAccountId error.code error.message
error.retry_after error.details"""
