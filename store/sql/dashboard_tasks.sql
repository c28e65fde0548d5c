-- Calls to make: rows of support_interactions that are open and have no time yet, and whose book a supplier is in.

-- name: team
-- A page of what is not put off, the heaviest first; what people asked for weighs most.
SELECT k.id::text AS id, k.supplier_id::text AS supplier_id, k.interaction_type, k.created_at, k.notes, k.snoozed_until, k.tries,
    k.added_by, k.weight
FROM support_interactions k
WHERE k.status = 'scheduled' AND k.scheduled_at IS NULL AND (k.weight, k.id) < (%(before)s, %(id)s::uuid)
    AND (k.snoozed_until > %(now)s) IS NOT TRUE
ORDER BY k.weight DESC, k.id DESC LIMIT %(most)s

-- name: of_owner
-- Of an agent's own suppliers, also what is put off. (OFFSET 0: by supplier, and never all tasks that there are.)
SELECT k.* FROM supplier_owners o
CROSS JOIN LATERAL (
    SELECT k.id::text AS id, k.supplier_id::text AS supplier_id, k.interaction_type, k.created_at, k.notes, k.snoozed_until,
        k.tries, k.added_by, k.weight
    FROM support_interactions k
    WHERE k.supplier_id = o.supplier_id AND k.status = 'scheduled' AND k.scheduled_at IS NULL OFFSET 0) k
WHERE o.owner = %(owner)s
ORDER BY k.weight DESC, k.id DESC LIMIT %(most)s

-- name: of_supplier
SELECT k.id::text AS id, k.supplier_id::text AS supplier_id, k.interaction_type, k.created_at, k.notes, k.snoozed_until, k.tries,
    k.added_by, k.weight
FROM support_interactions k
WHERE k.supplier_id = %(supplier)s AND k.status = 'scheduled' AND k.scheduled_at IS NULL
ORDER BY k.created_at LIMIT %(most)s

-- name: owner
SELECT owner FROM supplier_owners WHERE supplier_id = %(supplier)s

-- name: candidates_of_owner
-- As `call_candidates`, of an agent's own suppliers.
SELECT s.supplier_id::text AS id, s.weight FROM supplier_owners o
JOIN supplier_standings s ON s.supplier_id = o.supplier_id
WHERE o.owner = %(owner)s AND s.level <> 'healthy' AND s.level <> 'new' AND s.weight > 0
    AND (s.weight, s.supplier_id) < (%(before)s, %(id)s::uuid)
ORDER BY s.weight DESC, s.supplier_id DESC LIMIT %(most)s

-- name: add
-- One at a time a supplier (under their lock): nothing comes back where a call is to be made already, or they are not known.
INSERT INTO support_interactions (id, supplier_id, interaction_type, status, notes, urgency, added_by, snoozed_until, created_at,
    updated_at)
SELECT %(id)s, s.id, 'churn_prevention', 'scheduled', %(notes)s, 'medium', %(by)s, %(until)s, %(now)s, %(now)s
FROM suppliers s
WHERE s.id = %(supplier)s AND NOT EXISTS (
    SELECT FROM support_interactions k WHERE k.supplier_id = s.id AND k.interaction_type = 'churn_prevention'
        AND k.status = 'scheduled' AND k.scheduled_at IS NULL)
ON CONFLICT (id) DO NOTHING
RETURNING id::text

-- name: put_off
-- A call that nobody picked up counts once for the day that it is put off to.
UPDATE support_interactions
SET snoozed_until = %(until)s, tries = tries + %(tries)s, updated_at = %(now)s
WHERE id = %(id)s AND status = 'scheduled' AND scheduled_at IS NULL AND snoozed_until IS DISTINCT FROM %(until)s
RETURNING tries

-- name: done_by
UPDATE support_interactions SET done_by = %(by)s WHERE id = %(id)s

-- name: take
INSERT INTO supplier_owners AS o (supplier_id, owner, since, by)
SELECT s.id, %(owner)s, %(now)s, %(owner)s FROM suppliers s WHERE s.id = %(supplier)s
ON CONFLICT (supplier_id) DO UPDATE SET owner = excluded.owner, since = excluded.since, by = excluded.by
WHERE o.owner <> excluded.owner
RETURNING owner

-- name: give_back
DELETE FROM supplier_owners WHERE supplier_id = %(supplier)s RETURNING owner
