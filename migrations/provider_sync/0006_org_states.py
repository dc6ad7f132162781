"""How each organization stands; what a company no longer takes; no work at providers for who is suspended."""

from libs.database.ddl import lookup_function_v1, run
from libs.messaging.schema import messaging_tables_v2

revision = "provider_sync_0006"
down_revision = "provider_sync_0005"


def upgrade() -> None:
    messaging_tables_v2()
    run("ALTER TABLE companies ADD COLUMN archived boolean NOT NULL DEFAULT false;")
    # FORCE binds the owner too; where the administrator is no superuser, the function below would take all for active.
    run("CREATE POLICY lookup ON org_states FOR SELECT TO CURRENT_USER USING (true);")
    lookup_function_v1(
        "orgs_with_due_jobs_v2(most integer)",
        "SETOF uuid",
        """
        WITH RECURSIVE orgs AS (
          (SELECT j.org_id FROM sync_jobs j WHERE j.state IN ('due', 'running') ORDER BY j.org_id LIMIT 1)
          UNION ALL
          SELECT (SELECT j.org_id FROM sync_jobs j WHERE j.state IN ('due', 'running') AND j.org_id > orgs.org_id
                  ORDER BY j.org_id LIMIT 1)
          FROM orgs WHERE orgs.org_id IS NOT NULL
        )
        SELECT orgs.org_id FROM orgs WHERE orgs.org_id IS NOT NULL
          AND NOT EXISTS (SELECT 1 FROM org_states s WHERE s.org_id = orgs.org_id AND s.state <> 'active')
          AND EXISTS (
            SELECT 1 FROM sync_jobs j WHERE j.org_id = orgs.org_id AND j.state IN ('due', 'running') AND j.due_at <= now()
              AND (j.state = 'due' OR j.lease_until < now())
          ) ORDER BY random() LIMIT most
        """,
    )
