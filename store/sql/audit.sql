-- Who did what to whom.

-- name: log
INSERT INTO audit_log (at, actor, actor_role, action, supplier_id, details)
VALUES (%(at)s, %(actor)s, %(actor_role)s, %(action)s, %(supplier)s, %(details)s::jsonb)
