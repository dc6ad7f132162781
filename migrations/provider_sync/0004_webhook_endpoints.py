"""Webhook endpoints that can be rotated, signed and restricted."""

from libs.database.ddl import run, tenant_table_v1

revision = "provider_sync_0004"
down_revision = "provider_sync_0003"


def upgrade() -> None:
    # The newest token stays where it was, so a replica of the version before goes on meanwhile.
    run(
        """
        ALTER TABLE endpoints
          ADD COLUMN token_id uuid,
          ADD COLUMN token_last4 text,
          ADD COLUMN token_made_at timestamptz,
          ADD COLUMN overlap_seconds integer,
          ADD COLUMN allowed_sources text[] NOT NULL DEFAULT '{}',
          ADD COLUMN source_mode text NOT NULL DEFAULT 'observe' CHECK (source_mode IN ('observe', 'enforce')),
          ADD COLUMN signature_mode text NOT NULL DEFAULT 'off' CHECK (signature_mode IN ('off', 'observe', 'require')),
          ADD COLUMN counted_since timestamptz,
          ADD COLUMN verified bigint NOT NULL DEFAULT 0,
          ADD COLUMN unsigned bigint NOT NULL DEFAULT 0,
          ADD COLUMN mismatched bigint NOT NULL DEFAULT 0,
          ADD COLUMN listed bigint NOT NULL DEFAULT 0,
          ADD COLUMN unlisted bigint NOT NULL DEFAULT 0;
        COMMENT ON COLUMN endpoints.token_id IS 'NULL: the first token, which has the endpoint''s id';
        COMMENT ON COLUMN endpoints.overlap_seconds IS 'how long the tokens before go on once this one is registered';
        COMMENT ON COLUMN endpoints.counted_since IS 'the five counts below begin here: whenever mode, secrets or sources change';

        CREATE TABLE earlier_tokens (
          org_id uuid NOT NULL,
          id uuid NOT NULL,
          endpoint_id uuid NOT NULL,
          token bytea NOT NULL,
          token_sha256 text NOT NULL,
          last4 text,
          provider_webhook_id text,
          made_at timestamptz,
          replaced_at timestamptz NOT NULL,
          overlap_ends_at timestamptz,
          ends_at timestamptz,
          ended_at timestamptz,
          last_used_at timestamptz,
          removed_at timestamptz,
          removal_error text,
          PRIMARY KEY (org_id, id),
          FOREIGN KEY (org_id, endpoint_id) REFERENCES endpoints
        );
        COMMENT ON COLUMN earlier_tokens.token IS 'sealed';
        COMMENT ON COLUMN earlier_tokens.overlap_ends_at IS 'NULL: its successor is not registered at the provider yet';
        COMMENT ON COLUMN earlier_tokens.ends_at IS 'at the latest; before that when the overlap is over and nobody uses it';
        COMMENT ON COLUMN earlier_tokens.removed_at IS 'when the provider was told to forget its URL';
        CREATE INDEX earlier_tokens_of_endpoint ON earlier_tokens (org_id, endpoint_id);

        CREATE TABLE signing_secrets (
          org_id uuid NOT NULL,
          id uuid NOT NULL,
          endpoint_id uuid NOT NULL,
          secret bytea NOT NULL,
          made_at timestamptz NOT NULL,
          PRIMARY KEY (org_id, id),
          FOREIGN KEY (org_id, endpoint_id) REFERENCES endpoints
        );
        COMMENT ON COLUMN signing_secrets.secret IS 'sealed';
        CREATE INDEX signing_secrets_of_endpoint ON signing_secrets (org_id, endpoint_id);

        ALTER TABLE sync_jobs DROP CONSTRAINT sync_jobs_kind_check;
        ALTER TABLE sync_jobs ADD CONSTRAINT sync_jobs_kind_check
          CHECK (kind IN ('register_webhook', 'remove_webhook', 'end_token', 'snapshot', 'repair', 'read_back'));
        """
    )
    for table in ("earlier_tokens", "signing_secrets"):
        tenant_table_v1(table, company=False)
