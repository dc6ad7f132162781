"""People: who the identity provider says they are, and what they may do in an org."""

from libs.database.ddl import lookup_function_v1, run, tenant_table_v1

revision = "gateway_0004"
down_revision = "gateway_0003"


def upgrade() -> None:
    # A person in two orgs is two users: what one org writes about somebody is none of the other's business.
    run(
        """
        CREATE TABLE users (
          org_id uuid NOT NULL,
          id uuid NOT NULL,
          subject text NOT NULL,
          email text NOT NULL,
          name text NOT NULL,
          status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
          created_at timestamptz NOT NULL,
          PRIMARY KEY (org_id, id),
          UNIQUE (org_id, subject)
        );
        CREATE INDEX users_by_subject ON users (subject);

        CREATE TABLE memberships (
          org_id uuid NOT NULL,
          user_id uuid NOT NULL,
          role text NOT NULL,
          company_ids uuid[] NOT NULL DEFAULT '{}',
          changed_at timestamptz NOT NULL,
          PRIMARY KEY (org_id, user_id),
          FOREIGN KEY (org_id, user_id) REFERENCES users (org_id, id)
        );
        """
    )
    tenant_table_v1("users", company=False)
    tenant_table_v1("memberships", company=False)
    run(
        """
        CREATE POLICY lookup ON users FOR SELECT TO CURRENT_USER USING (true);
        CREATE POLICY lookup ON memberships FOR SELECT TO CURRENT_USER USING (true);
        """
    )
    lookup_function_v1(
        "memberships_v1(wanted text)",
        "TABLE (org_id uuid, user_id uuid, role text, company_ids uuid[], active boolean, suspended boolean)",
        """
        SELECT u.org_id, u.id, m.role, m.company_ids, u.status = 'active',
          coalesce((SELECT o.status = 'suspended' FROM organizations o WHERE o.org_id = u.org_id), false)
        FROM users u JOIN memberships m ON (m.org_id, m.user_id) = (u.org_id, u.id) WHERE u.subject = wanted
        """,
    )
