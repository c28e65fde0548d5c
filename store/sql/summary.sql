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
