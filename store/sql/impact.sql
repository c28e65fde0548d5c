-- Whether messages work: what a comparison of treated and held-out suppliers needs, read-only.

-- name: decided
-- When messages were decided under a holdout, by the group that was noted then; the first and the last of each supplier
-- and group, so that a change of the groups is seen.
SELECT supplier_id::text, metadata -> 'experiments' ->> 'holdout' AS variant,
    min((metadata ->> 'decided_at')::bigint) AS first_at, max((metadata ->> 'decided_at')::bigint) AS last_at
FROM success_interventions
WHERE metadata -> 'experiments' ? 'holdout'
GROUP BY 1, 2

-- name: people
-- Everybody who was there: from when they are counted (the beginning, or when they were first seen), when they cancelled, and
-- the trigger of the first message that left or was held out within the window.
SELECT s.supplier_id::text AS id, s.counted_from, h.facts ->> 'cancelled_at' AS cancelled_at,
    coalesce(f.trigger_condition, '') AS first
FROM (
    SELECT supplier_id, greatest(min(at), %(since)s) AS counted_from, min(at) AS first_seen
    FROM health_history GROUP BY supplier_id) AS s
JOIN customer_health h ON h.supplier_id = s.supplier_id
LEFT JOIN LATERAL (
    SELECT i.trigger_condition FROM success_interventions i
    WHERE i.supplier_id = s.supplier_id AND i.metadata -> 'experiments' ? 'holdout'
        AND (i.metadata ->> 'decided_at')::bigint >= extract(epoch FROM s.counted_from) * 1000
        AND (i.metadata ->> 'decided_at')::bigint < extract(epoch FROM s.counted_from + %(window)s) * 1000
    ORDER BY (i.metadata ->> 'decided_at')::bigint, i.priority DESC, i.id
    LIMIT 1) AS f ON true
WHERE s.counted_from + %(window)s <= %(until)s
    AND NOT coalesce((h.facts ->> 'cancelled_at')::timestamptz <= s.counted_from, false)
ORDER BY 1

-- name: intake
-- How many suppliers came in the last four weeks, and up to when there is news of anybody.
WITH seen AS (SELECT supplier_id, min(at) AS first_seen FROM health_history GROUP BY supplier_id),
ends AS (SELECT max(calculated_at) AS at FROM customer_health)
SELECT ends.at AS until, min(seen.first_seen) AS began,
    count(*) FILTER (WHERE seen.first_seen > ends.at - interval '28 days') AS came
FROM ends LEFT JOIN seen ON true
GROUP BY ends.at
