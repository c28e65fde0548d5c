-- Health as the API tells it. Each is one statement a request; row-level security decides what the caller sees.

-- name: score
-- One row for a supplier who is known. `then` is the displayed score at `week_ago`, or the oldest known.
SELECT
    h.health_score, h.risk_level, h.breakdown, h.calculated_at,
    coalesce(
        (SELECT score FROM health_history
            WHERE supplier_id = s.id AND at <= %(week_ago)s ORDER BY seq DESC LIMIT 1),
        (SELECT score FROM health_history WHERE supplier_id = s.id ORDER BY seq LIMIT 1)
    ) AS then
FROM suppliers s
LEFT JOIN customer_health h ON h.supplier_id = s.id
WHERE s.id = %(supplier)s

-- name: is_known
SELECT EXISTS (SELECT FROM suppliers WHERE id = %(supplier)s)

-- name: history
-- Changes of a window, oldest first, after the one that a page ended with; one more than asked for says that there
-- are more.
SELECT id::text, seq, at, score, risk_level
FROM health_history
WHERE supplier_id = %(supplier)s AND at >= %(since)s AND seq > %(after)s
ORDER BY seq
LIMIT %(limit)s + 1

-- name: before
-- The last change before a window, or the one that the page before ended with: how they stood when it began.
SELECT id::text, seq, at, score, risk_level
FROM health_history
WHERE supplier_id = %(supplier)s AND (at < %(since)s OR seq <= %(after)s)
ORDER BY seq DESC
LIMIT 1

-- name: explained
-- Changes with their causes, and the unrounded score after each. That is the sum of all causes' differences so far:
-- the first change counts from no points at all, and each one's causes cover everything since the one before.
WITH changes AS (
    SELECT id, seq, at, score, risk_level, causes,
        lag(score) OVER ordered AS previous_score,
        lag(risk_level) OVER ordered AS previous_level,
        sum((SELECT coalesce(sum((c ->> 'after')::float8 - (c ->> 'before')::float8), 0)
            FROM jsonb_array_elements(causes) AS c)) OVER ordered AS total
    FROM health_history
    WHERE supplier_id = %(supplier)s
    WINDOW ordered AS (ORDER BY seq)
)
SELECT id::text, seq, at, score, risk_level, causes, previous_score, previous_level, total
FROM changes
WHERE at >= %(since)s AND seq > %(after)s
ORDER BY seq
LIMIT %(limit)s + 1

-- name: snapshot
-- One row for a supplier who is known; the second half is null before their first event.
SELECT
    s.vendor_type, s.timezone,
    h.seq, h.health_score, h.risk_level, h.breakdown, h.calculated_at, h.last_login, h.next_change_at,
    h.churn_probability, h.facts
FROM suppliers s
LEFT JOIN customer_health h ON h.supplier_id = s.id
WHERE s.id = %(supplier)s
