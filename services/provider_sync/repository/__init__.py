"""All SQL of the service. RLS alone keeps tenants apart; `org_id = $1` stands in every WHERE for the index, not for safety."""
