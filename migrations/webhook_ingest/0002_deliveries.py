"""Endpoints, deliveries, and what tells a first delivery from a repeated one."""

from libs.database.ddl import lookup_function_v1, run, tenant_table_v1

revision = "webhook_ingest_0002"
down_revision = "webhook_ingest_0001"


def upgrade() -> None:
    # No foreign keys from deliveries: each insert would lock its endpoint's row, which all deliveries of an account share.
    run(
        """
        CREATE TABLE endpoints (
          org_id uuid NOT NULL,
          id uuid NOT NULL,
          account_id uuid NOT NULL,
          provider text NOT NULL,
          token_sha256 bytea NOT NULL CHECK (length(token_sha256) = 32),
          status text NOT NULL CHECK (status IN ('open', 'closed')),
          revision bigint NOT NULL,
          changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
          PRIMARY KEY (org_id, id)
        );
        CREATE INDEX endpoints_changed ON endpoints (changed_at);

        CREATE TABLE deliveries (
          org_id uuid NOT NULL,
          id uuid NOT NULL,
          endpoint_id uuid NOT NULL,
          account_id uuid NOT NULL,
          provider text NOT NULL,
          received_at timestamptz NOT NULL,
          dedupe_key bytea,
          body_sha256 bytea NOT NULL,
          body bytea NOT NULL,
          event_type text NOT NULL,
          verdict text NOT NULL CHECK (verdict IN ('accepted', 'duplicate', 'conflict', 'quarantined')),
          duplicate_of uuid,
          quarantine_reason text,
          headers jsonb NOT NULL,
          PRIMARY KEY (org_id, id),
          CHECK ((verdict = 'duplicate') = (duplicate_of IS NOT NULL)),
          CHECK ((verdict = 'quarantined') = (quarantine_reason IS NOT NULL))
        );
        CREATE INDEX deliveries_flagged ON deliveries (org_id, verdict, id) WHERE verdict <> 'accepted';

        CREATE TABLE occurrences (
          org_id uuid NOT NULL,
          endpoint_id uuid NOT NULL,
          dedupe_key bytea NOT NULL,
          body_sha256 bytea NOT NULL,
          delivery_id uuid NOT NULL,
          PRIMARY KEY (org_id, endpoint_id, dedupe_key)
        );
        COMMENT ON TABLE occurrences IS 'the first delivery of each dedupe key';

        CREATE TABLE occurrence_variants (
          org_id uuid NOT NULL,
          endpoint_id uuid NOT NULL,
          dedupe_key bytea NOT NULL,
          body_sha256 bytea NOT NULL,
          delivery_id uuid NOT NULL,
          PRIMARY KEY (org_id, endpoint_id, dedupe_key, body_sha256)
        );
        COMMENT ON TABLE occurrence_variants IS 'the first delivery of each other body of a dedupe key';
        """
    )
    for table in ("endpoints", "deliveries", "occurrences", "occurrence_variants"):
        tenant_table_v1(table, company=False)
    # The door judges a token before it knows a tenant.
    lookup_function_v1(
        "door_endpoints(changed_after timestamptz)",
        "TABLE (endpoint_id uuid, org_id uuid, account_id uuid, provider text, token_sha256 bytea, status text, "
        "revision bigint)",
        "SELECT e.id, e.org_id, e.account_id, e.provider, e.token_sha256, e.status, e.revision "
        "FROM endpoints e WHERE e.changed_at > changed_after",
    )
