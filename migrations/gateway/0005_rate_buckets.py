"""How much of its rate limit each org and key has used in the present minute."""

from libs.database.ddl import run, tenant_table_v1

revision = "gateway_0005"
down_revision = "gateway_0004"


def upgrade() -> None:
    # Unlogged: what was used in a minute is not worth a crash-safe write; after a crash all start at zero.
    run(
        """
        CREATE UNLOGGED TABLE rate_buckets (
          org_id uuid NOT NULL,
          bucket text NOT NULL,
          period bigint NOT NULL,
          most integer NOT NULL,
          used integer NOT NULL,
          granted integer NOT NULL,
          PRIMARY KEY (org_id, bucket)
        );
        """
    )
    tenant_table_v1("rate_buckets", company=False)
