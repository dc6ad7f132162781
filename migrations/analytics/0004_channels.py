"""Messages and engagements know their channel, messages also who and what kind; what was heard so far is e-mail's."""

from libs.database.ddl import run

revision = "analytics_0004"
down_revision = "analytics_0003"


def upgrade() -> None:
    # The defaults stay: a service of the version before goes on writing while this one starts.
    run(
        """
        ALTER TABLE messages ADD COLUMN channel text NOT NULL DEFAULT 'email',
          ADD COLUMN manual boolean,
          ADD COLUMN inmail boolean;
        ALTER TABLE engagements ADD COLUMN channel text NOT NULL DEFAULT 'email';
        """
    )
