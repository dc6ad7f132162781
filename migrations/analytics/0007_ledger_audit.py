"""The auditor of the ledger goes from org to org."""

from libs.database.ddl import lookup_function_v1, run

revision = "analytics_0007"
down_revision = "analytics_0006"


def upgrade() -> None:
    # As for all look-ups: FORCE binds the owner too; where the administrator is no superuser, it would find nothing.
    run("CREATE POLICY lookup ON ledger_counts FOR SELECT TO CURRENT_USER USING (true);")
    # Hops over the key from org to org: an org's counts are not read to find the next one.
    lookup_function_v1(
        "orgs_with_counts_v1(past uuid, most integer)",
        "TABLE (org_id uuid)",
        "WITH RECURSIVE orgs AS ("
        "(SELECT l.org_id, 1 AS number FROM ledger_counts l WHERE past IS NULL OR l.org_id > past ORDER BY l.org_id LIMIT 1) "
        "UNION ALL SELECT (SELECT l.org_id FROM ledger_counts l WHERE l.org_id > o.org_id ORDER BY l.org_id LIMIT 1), "
        "o.number + 1 FROM orgs o WHERE o.org_id IS NOT NULL AND o.number < most) "
        "SELECT o.org_id FROM orgs o WHERE o.org_id IS NOT NULL",
    )
