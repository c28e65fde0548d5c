-- The dashboard's pages Today and Population. Every query reads a small table, or a page of an index: the tests look at
-- their plans. Pages go on by key (`before` and `id` are the last row's), never by counting rows.

-- name: population_moves
-- Moves between levels by UTC day; '' stands for not yet, or no longer, known.
SELECT day, previous, level, sum(suppliers)::bigint AS suppliers
FROM population_moves GROUP BY 1, 2, 3 HAVING sum(suppliers) <> 0 ORDER BY 1

-- name: population_now
-- Suppliers by week of sign-up (null: not known), level and band of five points.
SELECT nullif(cohort, '-infinity') AS cohort, level, band, sum(suppliers)::bigint AS suppliers
FROM population_now GROUP BY 1, 2, 3 HAVING sum(suppliers) <> 0

-- name: end_newness
SELECT success_end_newness(%(until)s) AS ended

-- name: fold_tallies
SELECT success_fold_tallies() AS folded

-- name: unfolded
-- Whether there is enough to fold that it is worth it.
SELECT count(*) > %(most)s AS enough FROM (SELECT 1 FROM message_tallies WHERE backend <> 0 LIMIT %(most)s + 1) some_rows

-- name: find
-- By id, address or name; the best match first. Place 4: like what was asked for, since nothing is just so.
SELECT supplier_id::text AS id, place FROM success_find_suppliers(%(term)s, %(most)s) ORDER BY place, supplier_id

-- name: describe
-- What lists show of suppliers. A hold holds until its end.
SELECT s.id::text AS id, s.business_name, s.first_name, s.email, s.phone, s.vendor_type, s.timezone,
    coalesce(h.facts ->> 'plan', s.plan) AS plan, h.health_score AS score, coalesce(st.level, h.risk_level) AS level,
    h.churn_probability, h.last_login, h.next_level_at, h.next_level, st.since, nullif(st.cohort, '-infinity') AS cohort,
    s.all_opt_out, s.email_opt_out, (h.facts ->> 'cancelled')::boolean AS cancelled,
    (SELECT o.until FROM supplier_holds o WHERE o.supplier_id = s.id) AS held_until
FROM suppliers s
LEFT JOIN supplier_standings st ON st.supplier_id = s.id
LEFT JOIN LATERAL (
    SELECT c.*, (c.facts ->> 'next_level_at')::timestamptz AS next_level_at,
        c.facts ->> 'next_level_if_silent' AS next_level
    FROM customer_health c WHERE c.supplier_id = s.id) h ON true
WHERE s.id = ANY(%(ids)s::uuid[])

-- name: call_candidates
-- Who is at risk or critical (newcomers set up first), by churn probability x plan value as last noted.
SELECT supplier_id::text AS id, weight FROM supplier_standings
WHERE level <> 'healthy' AND level <> 'new' AND weight > 0
    AND (weight, supplier_id) < (%(before)s, %(id)s::uuid)
ORDER BY weight DESC, supplier_id DESC LIMIT %(most)s

-- name: call_facts
-- What speaks for and against calling each of them now, and what to talk about. Of who has not done anything yet, little.
SELECT s.id::text AS id, s.business_name, s.first_name, s.email, s.phone, s.timezone, s.locale, s.all_opt_out, s.email_opt_out,
    s.paused_until, coalesce(h.facts ->> 'plan', s.plan) AS plan,
    success_plan_value(coalesce(h.facts ->> 'plan', s.plan)) AS value,
    h.health_score AS score, h.risk_level AS level, st.level AS counted_as, st.since, h.churn_probability, h.last_login,
    coalesce((h.facts ->> 'cancelled')::boolean, false) AS cancelled, h.facts, h.breakdown,
    (SELECT o.until FROM supplier_holds o WHERE o.supplier_id = s.id) AS held_until,
    (SELECT w.owner FROM supplier_owners w WHERE w.supplier_id = s.id) AS owner,
    c.booked, c.asked, c.last_done, c.last_missed, c.last_declined, c.tasks,
    (SELECT max(coalesce(i.clicked_at, i.opened_at)) FROM success_interventions i WHERE i.supplier_id = s.id) AS last_read
FROM suppliers s
LEFT JOIN supplier_standings st ON st.supplier_id = s.id
LEFT JOIN customer_health h ON h.supplier_id = s.id
LEFT JOIN LATERAL (
    SELECT min(k.scheduled_at) FILTER (WHERE k.status = 'scheduled') AS booked,
        min(k.created_at) FILTER (WHERE k.status = 'scheduled' AND k.scheduled_at IS NULL
                                  AND k.interaction_type <> 'churn_prevention') AS asked,
        max(k.completed_at) FILTER (WHERE k.interaction_type <> 'churn_prevention' OR k.done_by IS NOT NULL) AS last_done,
        max(k.scheduled_at) FILTER (WHERE k.status = 'no_show') AS last_missed,
        max(k.updated_at) FILTER (WHERE k.status = 'cancelled' AND k.done_by IS NOT NULL) AS last_declined,
        count(*) FILTER (WHERE k.status = 'scheduled' AND k.scheduled_at IS NULL) AS tasks
    FROM support_interactions k WHERE k.supplier_id = s.id) c ON true
WHERE s.id = ANY(%(ids)s::uuid[])

-- name: level_changes
-- Changes of level from `since` on, the newest first. The conditions are such as Postgres can estimate.
SELECT supplier_id::text AS id, seq, at, previous, level, score FROM level_changes
WHERE at >= %(since)s AND (at, supplier_id) < (%(before)s, %(id)s::uuid)
    AND level = ANY(%(levels)s) AND (previous = ANY(%(previous)s) OR (previous IS NULL AND %(first)s::boolean))
    AND (NOT %(worse)s::boolean OR (previous IN ('healthy', 'new') AND level IN ('at_risk', 'critical'))
        OR (previous = 'at_risk' AND level = 'critical'))
ORDER BY at DESC, supplier_id DESC LIMIT %(most)s

-- name: level_changes_of_move
-- The same of one move between two known levels.
SELECT supplier_id::text AS id, seq, at, previous, level, score FROM level_changes
WHERE previous = %(previous)s AND level = %(level)s
    AND at >= %(since)s AND (at, supplier_id) < (%(before)s, %(id)s::uuid)
ORDER BY at DESC, supplier_id DESC LIMIT %(most)s

-- name: causes
-- What caused the changes (supplier, seq).
SELECT h.supplier_id::text AS id, h.seq, h.causes
FROM unnest(%(ids)s::uuid[], %(seqs)s::bigint[]) AS wanted(id, seq)
JOIN health_history h ON h.supplier_id = wanted.id AND h.seq = wanted.seq

-- name: calls_booked
SELECT k.id::text AS id, k.supplier_id::text AS supplier_id, k.interaction_type, k.scheduled_at, k.ends_at, k.urgency
FROM support_interactions k
WHERE k.status = 'scheduled' AND k.scheduled_at >= %(since)s AND k.scheduled_at < %(until)s
ORDER BY k.scheduled_at LIMIT %(most)s
