-- Who did what to whom.

-- name: log
INSERT INTO audit_log (at, actor, actor_role, action, supplier_id, details)
VALUES (%(at)s, %(actor)s, %(actor_role)s, %(action)s, %(supplier)s, %(details)s::jsonb)

-- name: lock_link
-- Two logins with one link take turns.
SELECT pg_advisory_xact_lock(hashtextextended(%(link)s::text, 0))

-- name: link_was_used
-- A login names no supplier, which is how the index finds it.
SELECT EXISTS (
    SELECT FROM audit_log
    WHERE supplier_id IS NULL AND at >= %(since)s AND action = %(action)s AND details ->> 'link' = %(link)s::text)
