-- What a run or the demo came to, in counts.

-- name: suppliers
SELECT count(*) FROM suppliers

-- name: levels
SELECT risk_level, count(*) FROM customer_health GROUP BY risk_level ORDER BY risk_level

-- name: messages
-- By template, channel, status and reason; the most common first.
SELECT template_used, intervention_type, status, reason, count(*)
FROM success_interventions
GROUP BY template_used, intervention_type, status, reason
ORDER BY template_used, intervention_type, status, count(*) DESC

-- name: latest
-- What left or was held back last, newest first; a row held back counts from when it was written.
SELECT coalesce(sent_at, claimed_at, created_at) AS at, template_used, status, reason
FROM success_interventions
WHERE status <> 'scheduled'
ORDER BY 1 DESC
LIMIT 8
