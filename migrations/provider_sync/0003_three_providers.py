"""What LinkedIn and EmailBison need: whose hand wrote a message, the channel of a lead, the workspace of an account."""

from libs.database.ddl import run

revision = "provider_sync_0003"
down_revision = "provider_sync_0002"


def upgrade() -> None:
    run(
        """
        ALTER TABLE accounts ADD COLUMN workspace_external_id text;
        COMMENT ON COLUMN accounts.workspace_external_id IS
          'the tenant that the provider says the credentials act in; learnt once, NULL: not told yet, or it has none';

        ALTER TABLE messages ADD COLUMN manual boolean, ADD COLUMN inmail boolean;
        COMMENT ON COLUMN messages.manual IS 'a person wrote it, no sequence; NULL: nothing says';

        ALTER TABLE leads ADD COLUMN channel text NOT NULL DEFAULT 'email' CHECK (channel IN ('email', 'linkedin')),
          ADD COLUMN profile text;
        COMMENT ON COLUMN leads.channel IS 'of its account; the default is for writers of before this migration';
        COMMENT ON COLUMN leads.profile IS 'the LinkedIn profile in profile_url in its one spelling; empty: it is none';
        """
    )
    # FORCE binds the owner too, and no policy gives it rows: where it is no superuser, the updates would find none.
    run(
        """
        ALTER TABLE accounts NO FORCE ROW LEVEL SECURITY;
        ALTER TABLE leads NO FORCE ROW LEVEL SECURITY;
        UPDATE leads l SET channel = a.channel FROM accounts a
          WHERE a.org_id = l.org_id AND a.id = l.account_id AND a.channel <> l.channel;
        UPDATE leads SET profile = coalesce((regexp_match(lower(btrim(profile_url)),
          '^(https?://)?([^/?#]+[.])?linkedin[.]com/+([^?# ]*[^?#/ ])/*([?#].*)?$'))[3], '')
          WHERE profile_url IS NOT NULL;
        ALTER TABLE leads FORCE ROW LEVEL SECURITY;
        ALTER TABLE accounts FORCE ROW LEVEL SECURITY;
        """
    )
    # By hash like leads_by_email: neither address nor profile has a length that a B-tree must bear.
    run(
        """
        CREATE INDEX leads_by_profile ON leads USING hash (profile) WHERE profile <> '';
        CREATE INDEX leads_newest_of_channel ON leads (org_id, channel, created_at DESC, id DESC);
        CREATE INDEX conversations_newest_of_channel
          ON conversations (org_id, channel, coalesce(last_activity_at, '-infinity') DESC, id DESC);
        CREATE INDEX engagements_of_lead ON engagements (org_id, lead_id);
        """
    )
    # On LinkedIn most leads are looked at and asked, and never write: what happened to them shows them as well.
    run(
        """
        ALTER POLICY company ON leads
          USING ((SELECT app_all_companies())
            OR EXISTS (SELECT 1 FROM conversations c WHERE c.org_id = leads.org_id AND c.lead_id = leads.id)
            OR EXISTS (SELECT 1 FROM engagements e WHERE e.org_id = leads.org_id AND e.lead_id = leads.id));
        """
    )
