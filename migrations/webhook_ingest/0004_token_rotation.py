"""Several tokens per endpoint while one is being replaced, where posts may come from, and what was released later."""

from libs.database.ddl import lookup_function_v1, run

revision = "webhook_ingest_0004"
down_revision = "webhook_ingest_0003"


def upgrade() -> None:
    # The newest token stays where it was, so a replica of the version before goes on meanwhile.
    run(
        """
        ALTER TABLE endpoints
          ADD COLUMN token_id uuid,
          ADD COLUMN earlier_tokens jsonb NOT NULL DEFAULT '[]',
          ADD COLUMN allowed_sources cidr[] NOT NULL DEFAULT '{}',
          ADD COLUMN source_mode text NOT NULL DEFAULT 'observe' CHECK (source_mode IN ('observe', 'enforce'));
        COMMENT ON COLUMN endpoints.token_id IS 'NULL: the first token, which has the endpoint''s id';
        COMMENT ON COLUMN endpoints.earlier_tokens IS '[{id, sha256, ends_at, dead_at}]; sha256 in hex, times may be null';

        ALTER TABLE deliveries
          ADD COLUMN token_id uuid,
          ADD COLUMN source_address inet,
          ADD COLUMN source_listed boolean,
          ADD COLUMN released_at timestamptz,
          ADD COLUMN released_from text;
        COMMENT ON COLUMN deliveries.source_listed IS 'NULL: the endpoint listed no sources then';
        COMMENT ON COLUMN deliveries.released_from IS 'why it had been quarantined';
        """
    )
    lookup_function_v1(
        "door_endpoints_v2(changed_after timestamptz)",
        "TABLE (endpoint_id uuid, org_id uuid, account_id uuid, provider text, token_id uuid, token_sha256 bytea, "
        "earlier_tokens jsonb, allowed_sources cidr[], source_mode text, status text, revision bigint)",
        "SELECT e.id, e.org_id, e.account_id, e.provider, coalesce(e.token_id, e.id), e.token_sha256, e.earlier_tokens, "
        "e.allowed_sources, e.source_mode, e.status, e.revision FROM endpoints e WHERE e.changed_at > changed_after",
    )
