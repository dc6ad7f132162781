"""Every field of HeyReach's API that somebody has seen or that its documents agree on, by endpoint.

The simulator serves none besides: an adapter that learnt to use an invented one would find out in production.
"""

from __future__ import annotations

PERSON = """linkedin_id profileUrl firstName lastName headline imageUrl location companyName companyUrl position about connections
followers emailAddress"""
TOLD = "tags[] autoTags[].name enrichedEmailAddress customEmailAddress customFields[].name customFields[].value"
SENDER = "id emailAddress firstName lastName isActive activeCampaigns authIsValid isValidNavigator isValidRecruiter profileUrl"
PROGRESS = """totalUsers totalUsersInProgress totalUsersPending totalUsersFinished totalUsersFailed totalUsersManuallyStopped
totalUsersExcluded"""
WEBHOOK = "id webhookName webhookUrl eventType campaignIds[] isActive"
LIST = "id name totalItemsCount listType creationTime campaignIds[]"
COUNTS = "addedLeadsCount updatedLeadsCount failedLeadsCount"
STATS = """profileViews postLikes follows messagesSent totalMessageStarted totalMessageReplies
inmailMessagesSent totalInmailStarted totalInmailReplies connectionsSent connectionsAccepted
messageReplyRate inMailReplyRate connectionAcceptanceRate"""


def _below(prefix: str, names: str) -> str:
    return " ".join(f"{prefix}{name}" for name in names.split())


def _page(names: str) -> str:
    return f"totalCount {_below('items[].', names)}"


CAMPAIGN = f"""id name creationTime startedAt linkedInUserListName linkedInUserListId campaignAccountIds[] status
{_below("progressStats.", PROGRESS)} excludeInOtherCampaigns excludeHasOtherAccConversations
excludeContactedFromSenderInOtherCampaign excludeListId organizationUnitId excludeAlreadyMessagedGlobal
excludeAlreadyMessagedCampaignAccounts excludeFirstConnectionGlobal excludeFirstConnectionCampaignAccounts
excludeNoProfilePicture"""
ENROLMENT = f"""id linkedInUserProfileId {_below("linkedInUserProfile.", PERSON)} creationTime lastActionTime failedTime
leadCampaignStatus leadConnectionStatus leadMessageStatus errorCode leadCampaignStatusMessage linkedInSenderId
linkedInSenderFullName"""
CONVERSATION = f"""id read groupChat blockedByMe blockedByParticipant lastMessageAt lastMessageText lastMessageType
lastMessageSender totalMessages linkedInAccountId {_below("correspondentProfile.", f"{PERSON} {TOLD}")}
{_below("linkedInAccount.", SENDER)} {_below("messages[].", "createdAt body subject postLink isInMail sender")}"""
# No address and no variables there, by design.
CONVERSATION_V3 = " ".join(
    name
    for name in CONVERSATION.split()
    if not name.startswith("correspondentProfile.")
    or not any(word in name for word in ("emailAddress", "EmailAddress", "customFields"))
)
NODE = "nodeType actionDelay actionDelayUnit payload.* conditionalNode.* unconditionalNode.*"
NOTHING = ""

FIELDS = {
    "GET /auth/CheckApiKey": NOTHING,
    "POST /li_account/GetAll": _page(SENDER),
    "GET /li_account/GetById": SENDER,
    "POST /MyNetwork/IsConnection": "isConnection",
    "POST /stats/GetOverallStats": f"byDayStats.* {_below('overallStats.', STATS)}",
    "POST /stats/GetOverallStatsByCampaign": f"byDayStats.* {_below('overallStats.', STATS)}",
    "POST /campaign/GetAll": _page(CAMPAIGN),
    "GET /campaign/GetById": CAMPAIGN,
    "POST /campaign/StartCampaign": NOTHING,
    "POST /campaign/Pause": NOTHING,
    "POST /campaign/Resume": NOTHING,
    "GET /campaign/GetCampaignSequence": NODE,
    "POST /campaign/UpdateSequence": NOTHING,
    "POST /campaign/AddLeadsToCampaign": NOTHING,  # a bare number
    "POST /campaign/AddLeadsToCampaignV2": COUNTS,
    "POST /campaign/StopLeadInCampaign": NOTHING,
    "POST /campaign/GetLeadsFromCampaign": _page(ENROLMENT),
    "POST /campaign/GetCampaignsForLead": f"leadFullName {_page('campaignId campaignName campaignStatus leadStatus')}",
    "POST /list/GetAll": _page(LIST),
    "GET /list/GetById": LIST,
    "POST /list/GetLeadsFromList": _page(f"id {PERSON} {TOLD} autoTags[]"),
    "POST /list/CreateEmptyList": "id name count listType creationTime isDeleted campaigns[] search status",
    "POST /list/AddLeadsToList": "",
    "POST /list/AddLeadsToListV2": "addedLeadsCount updatedLeadsCount failedLeadsCount",
    "DELETE /list/DeleteLeadsFromList": "",
    "DELETE /list/DeleteLeadsFromListByProfileUrl": "notFoundInList[]",
    "POST /list/GetListsForLead": _page("listId listName"),
    "POST /lead/GetLead": f"{PERSON} username fullName experiences education emailEnrichments[]",
    "POST /lead/GetTags": "tags[]",
    "POST /lead/AddTags": "newAssignedTags[]",
    "POST /lead/ReplaceTags": "newAssignedTags[]",
    "POST /inbox/GetConversations": _page(CONVERSATION),
    "POST /inbox/GetConversationsV2": _page(CONVERSATION),
    "POST /inbox/GetConversationsV3": f"nextCursor hasNextPage {_page(CONVERSATION_V3)}",
    "GET /inbox/GetChatroom/{sender}/{conversation}": CONVERSATION,
    "POST /inbox/SendMessage": NOTHING,
    "POST /inbox/SetSeenStatus": NOTHING,
    "POST /webhooks/CreateWebhook": f"webhookId {WEBHOOK}",
    "POST /webhooks/GetAllWebhooks": _page(WEBHOOK),
    "GET /webhooks/GetWebhookById": WEBHOOK,
    "PATCH /webhooks/UpdateWebhook": NOTHING,
    "DELETE /webhooks/DeleteWebhook": NOTHING,
}

# A business rule's sentence, and ASP.NET's list of fields.
ERRORS = "errorMessage title status errors.*"
