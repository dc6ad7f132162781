"""Who of a batch of leads was added is looked for, where the provider only counted."""

from libs.database.ddl import run

revision = "provider_sync_0018"
down_revision = "provider_sync_0017"


def upgrade() -> None:
    run(
        """
        ALTER TABLE sync_jobs DROP CONSTRAINT sync_jobs_kind_check;
        ALTER TABLE sync_jobs ADD CONSTRAINT sync_jobs_kind_check
          CHECK (kind IN ('register_webhook', 'remove_webhook', 'end_token', 'snapshot', 'repair', 'read_back',
                          'test_account', 'read_figures', 'verify_webhook', 'read_sequence', 'look_for_leads'));
        """
    )
