-- What came of a version where it is in force, and meanwhile elsewhere.

-- name: in_force_there
-- From when to when a version was in force where it was the newest; until is null while it is.
SELECT v.in_force_at, (
    SELECT min(w.in_force_at) FROM config_versions w
    WHERE w.number > v.number AND w.in_force_at IS NOT NULL
        AND (w.partitions IS NULL OR v.partitions IS NULL OR w.partitions && v.partitions))
FROM config_versions v WHERE v.number = %(number)s

-- name: with_a_forecast
-- The version with a forecast that went into force last.
SELECT max(number) FROM config_versions WHERE forecast IS NOT NULL AND in_force_at IS NOT NULL

-- name: messages
-- Messages that were decided in a span of time: whether by this version, trigger, why not, how many. Rows wait for days at most,
-- so those that fell due long before need no look.
SELECT i.metadata ->> 'decided_version' = %(number)s::text AS by_it, i.trigger_condition,
    CASE WHEN i.status = 'suppressed' THEN i.reason END AS reason, count(*)
FROM success_interventions i
WHERE i.status IN ('sent', 'sending', 'failed', 'unknown', 'suppressed') AND i.metadata ? 'decided_version'
    AND i.due_at BETWEEN %(since)s::timestamptz - interval '10 days' AND %(until)s
    AND coalesce(i.claimed_at, greatest(i.not_before, i.created_at)) BETWEEN %(since)s AND %(until)s
GROUP BY 1, 2, 3

-- name: people
-- Some suppliers, in whatever order they lie: since when they count, and where they stand. A key says nothing of either, and the
-- partition is a hash of the key: a part of them is a part by chance.
SELECT s.id::text, greatest(coalesce(s.signed_up_at, s.created_at), %(since)s), h.risk_level
FROM suppliers s LEFT JOIN customer_health h ON h.supplier_id = s.id
LIMIT %(most)s

-- name: how_many
SELECT count(*) FROM suppliers
