-- Questions to the tables of a replay (DuckDB). {v} is the variant: base or what_if. $since and $until bound the
-- report; a spell is a stretch of time in which a supplier is not healthy.

-- name: distribution
-- Suppliers by displayed score, in bands of ten points.
SELECT least(score // 10, 9)::int * 10 AS band, count(*)::int AS suppliers
FROM {v}.suppliers GROUP BY band ORDER BY band

-- name: levels
SELECT level, count(*)::int AS suppliers FROM {v}.suppliers GROUP BY level ORDER BY level

-- name: scores
SELECT count(*)::int AS suppliers, avg(score) AS mean, median(score) AS median FROM {v}.suppliers

-- name: moved
-- Who ends at another level: (level in the base, level in the what-if) -> number.
SELECT b.level AS base, w.level AS what_if, count(*)::int AS suppliers
FROM base.suppliers b JOIN what_if.suppliers w USING (supplier_id)
GROUP BY ALL ORDER BY ALL

-- name: level_changes
-- Entries into each level: how many there are, how many only the what-if has (gained) or only the base (lost).
WITH entered AS (
    SELECT 'base' AS variant, supplier_id, time, level FROM base.signals
    WHERE type = 'success.risk.changed' AND time BETWEEN $since AND $until
    UNION ALL
    SELECT 'what_if', supplier_id, time, level FROM what_if.signals
    WHERE type = 'success.risk.changed' AND time BETWEEN $since AND $until),
each AS (
    SELECT supplier_id, time, level, bool_or(variant = 'base') AS in_base, bool_or(variant = 'what_if') AS in_what_if
    FROM entered GROUP BY supplier_id, time, level)
SELECT level, count(*) FILTER (in_base)::int AS base, count(*) FILTER (in_what_if)::int AS what_if,
    count(*) FILTER (in_what_if AND NOT in_base)::int AS gained,
    count(*) FILTER (in_base AND NOT in_what_if)::int AS lost
FROM each GROUP BY level ORDER BY level

-- name: interventions
-- Messages sent by trigger: how many, and which only one of the two sends (a row's id is the same in both).
WITH b AS (SELECT id, trigger FROM base.messages WHERE status = 'sent' AND time BETWEEN $since AND $until),
w AS (SELECT id, trigger FROM what_if.messages WHERE status = 'sent' AND time BETWEEN $since AND $until)
SELECT coalesce(b.trigger, w.trigger) AS trigger, count(b.id)::int AS base, count(w.id)::int AS what_if,
    count(*) FILTER (b.id IS NULL)::int AS added, count(*) FILTER (w.id IS NULL)::int AS removed
FROM b FULL JOIN w ON b.id = w.id GROUP BY 1 ORDER BY 1

-- name: never_sent
-- Messages of triggers that only the what-if has, and of which none was sent: why not.
SELECT w.trigger, coalesce(w.reason, w.status) AS reason, count(*)::int AS messages
FROM what_if.messages w
WHERE w.time BETWEEN $since AND $until AND w.trigger NOT IN (SELECT b.trigger FROM base.messages b)
    AND w.trigger NOT IN (SELECT s.trigger FROM what_if.messages s WHERE s.status = 'sent' AND s.time BETWEEN $since AND $until)
GROUP BY 1, 2 ORDER BY 1, 2

-- name: added_and_removed
-- Each of those messages.
WITH b AS (SELECT * FROM base.messages WHERE status = 'sent' AND time BETWEEN $since AND $until),
w AS (SELECT * FROM what_if.messages WHERE status = 'sent' AND time BETWEEN $since AND $until)
SELECT CASE WHEN b.id IS NULL THEN 'added' ELSE 'removed' END AS difference,
    coalesce(b.supplier_id, w.supplier_id) AS supplier_id, coalesce(b.time, w.time) AS time,
    coalesce(b.trigger, w.trigger) AS trigger, coalesce(b.channel, w.channel) AS channel,
    coalesce(b.template, w.template) AS template, coalesce(b.id, w.id) AS id
FROM b FULL JOIN w ON b.id = w.id
WHERE b.id IS NULL OR w.id IS NULL ORDER BY time, id

-- name: unsent
-- Rows that were written but not sent, by reason; what the end of the replay cut off is `scheduled`.
SELECT coalesce(reason, status) AS reason, count(*)::int AS messages
FROM {v}.messages WHERE status <> 'sent' AND time BETWEEN $since AND $until GROUP BY 1 ORDER BY 1

-- name: a_week
-- Messages a supplier a week, over the weeks since each first event (after a cancellation too).
WITH weeks AS (
    SELECT sum(epoch_ms($until) - epoch_ms(greatest(first_time, $since))) / (7 * 86400000.0) AS number
    FROM {v}.suppliers WHERE first_time <= $until)
SELECT count(*)::int AS sent, (SELECT number FROM weeks) AS supplier_weeks,
    count(*) / nullif((SELECT number FROM weeks), 0) AS a_supplier_a_week
FROM {v}.messages WHERE status = 'sent' AND time BETWEEN $since AND $until

-- name: most_a_week
-- The most messages that one supplier had within seven days.
SELECT coalesce(max(number), 0)::int AS messages FROM (
    SELECT count(*) OVER (PARTITION BY supplier_id ORDER BY time
        RANGE BETWEEN INTERVAL '604799999 milliseconds' PRECEDING AND CURRENT ROW) AS number
    FROM {v}.messages WHERE status = 'sent' AND time BETWEEN $since AND $until) weeks

-- name: spells
-- When each supplier stopped being healthy, when they were again, and from when on that counts as a warning: not before
-- their onboarding is over, as for messages.
CREATE OR REPLACE TEMP VIEW {v}_spells AS
WITH changes AS (
    SELECT supplier_id, time, seq, level <> 'healthy' AS unwell, coalesce(previous <> 'healthy', false) AS was_unwell
    FROM {v}.signals WHERE type = 'success.risk.changed'),
turns AS (
    SELECT supplier_id, time, unwell, lead(time) OVER (PARTITION BY supplier_id ORDER BY seq) AS next
    FROM changes WHERE unwell <> was_unwell)
SELECT t.supplier_id, t.time AS since, coalesce(t.next, 'infinity'::timestamptz) AS until,
    greatest(t.time, coalesce(s.signed_up_at, s.first_time) + INTERVAL 14 DAY) AS warned
FROM turns t JOIN {v}.suppliers s USING (supplier_id)
WHERE t.unwell

-- name: lead_time
-- How long before each cancellation its spell gave a warning.
SELECT c.supplier_id, c.time, (epoch_ms(c.time) - epoch_ms(s.warned)) / 86400000.0 AS days
FROM {v}.cancellations c
LEFT JOIN {v}_spells s ON s.supplier_id = c.supplier_id AND s.since <= c.time AND c.time < s.until AND s.warned <= c.time
WHERE c.time BETWEEN $since AND $until ORDER BY c.time, c.supplier_id

-- name: foresight
-- Every seventh day each customer past onboarding: not healthy (the warning), and cancelled within 30 days (what came
-- of it)? The last 30 days are left out: what came of them is not known yet.
WITH days AS (
    SELECT unnest(generate_series($since, $until - INTERVAL 30 DAY, INTERVAL 7 DAY)) AS day),
standing AS (
    SELECT d.day, s.supplier_id,
        EXISTS (SELECT 1 FROM {v}_spells p WHERE p.supplier_id = s.supplier_id AND p.since <= d.day AND d.day < p.until)
            AS warned,
        EXISTS (SELECT 1 FROM {v}.cancellations c WHERE c.supplier_id = s.supplier_id
            AND c.time > d.day AND c.time <= d.day + INTERVAL 30 DAY) AS cancelled
    FROM days d JOIN {v}.suppliers s ON d.day >= coalesce(s.signed_up_at, s.first_time) + INTERVAL 14 DAY
    WHERE NOT EXISTS (SELECT 1 FROM {v}.cancellations c WHERE c.supplier_id = s.supplier_id
        AND c.time <= d.day AND (c.reactivated IS NULL OR c.reactivated > d.day)))
SELECT count(*)::int AS looked_at, count(*) FILTER (warned AND cancelled)::int AS warned_and_cancelled,
    count(*) FILTER (warned)::int AS warned, count(*) FILTER (cancelled)::int AS cancelled
FROM standing
