"""What replicas have taken out of an org's rate limits in the present window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from libs.database.engine import TenantSession


@dataclass(frozen=True, slots=True)
class Lease:
    """`granted` requests may pass until the window is over; `used` is what all replicas have taken, these included."""

    granted: int
    used: int
    seconds_left: float


class Rates:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def take(self, wanted: Sequence[tuple[str, int, int]], window_seconds: int) -> dict[str, Lease]:
        """For each (bucket, most in a window, how many are wanted): what may be had, down to 0.

        The database's clock tells the window, so replicas agree; buckets are locked in one order, so they never wait in a ring.
        """
        ordered = sorted(wanted)
        rows = await self._session.fetch(
            """
            WITH clock AS (SELECT extract(epoch FROM clock_timestamp()) AS epoch)
            INSERT INTO rate_buckets AS b (org_id, bucket, period, most, used, granted)
            SELECT $1, w.bucket, floor(clock.epoch / $5), w.most, least(w.wanted, w.most), least(w.wanted, w.most)
            FROM clock, unnest($2::text[], $3::int[], $4::int[]) AS w(bucket, most, wanted)
            ON CONFLICT (org_id, bucket) DO UPDATE SET
              period = greatest(b.period, excluded.period),
              most = excluded.most,
              used = CASE WHEN b.period >= excluded.period
                THEN b.used + greatest(0, least(excluded.granted, excluded.most - b.used)) ELSE excluded.used END,
              granted = CASE WHEN b.period >= excluded.period
                THEN greatest(0, least(excluded.granted, excluded.most - b.used)) ELSE excluded.granted END
            RETURNING bucket, used, granted,
              ((period + 1) * $5 - extract(epoch FROM clock_timestamp()))::float8 AS seconds_left
            """,
            self._session.org_id,
            [bucket for bucket, _, _ in ordered],
            [most for _, most, _ in ordered],
            [count for _, _, count in ordered],
            window_seconds,
        )
        return {row["bucket"]: Lease(row["granted"], row["used"], max(0.0, row["seconds_left"])) for row in rows}
