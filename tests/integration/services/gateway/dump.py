"""All that a database holds, as text."""

from __future__ import annotations

import asyncpg


async def everything_in(admin_url: str) -> str:
    connection = await asyncpg.connect(admin_url)
    try:
        tables = await connection.fetch(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        parts = []
        for table in tables:
            for row in await connection.fetch(f'SELECT * FROM "{table["schemaname"]}"."{table["tablename"]}"'):
                parts += [value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in row.values()]
        return "\n".join(parts)
    finally:
        await connection.close()
