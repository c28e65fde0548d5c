-- What a run or the demo came to, in counts.

-- name: suppliers
SELECT count(*) FROM suppliers

-- name: levels
SELECT risk_level, count(*) FROM customer_health GROUP BY risk_level ORDER BY risk_level

-- name: counted_as
-- How many are counted as what at `now`: who is not healthy in the first 14 days is new.
SELECT success_counted_as(risk_level, %(now)s, (facts ->> 'signed_up_at')::timestamptz + success_new_for()) AS level, count(*)
FROM customer_health GROUP BY 1 ORDER BY 1

-- name: messages
-- By template, channel, status and reason; the most common first.
SELECT template_used, intervention_type, status, reason, count(*)
FROM success_interventions
GROUP BY template_used, intervention_type, status, reason
ORDER BY template_used, intervention_type, status, count(*) DESC

-- name: latest
-- What left last, newest first: to whom, what, by which way, on what.
SELECT i.sent_at AS at, coalesce(s.first_name, s.business_name, i.supplier_id::text) AS name, s.business_name,
    i.template_used, i.intervention_type, i.trigger_condition
FROM success_interventions i LEFT JOIN suppliers s ON s.id = i.supplier_id
WHERE i.status = 'sent'
ORDER BY i.sent_at DESC, i.priority DESC
LIMIT 7

-- name: reached
-- What one supplier came to, in order of time: messages that left and milestones.
SELECT sent_at AS at, template_used AS what, trigger_condition AS trigger FROM success_interventions
WHERE supplier_id = %(supplier)s AND status = 'sent'
UNION ALL
SELECT achieved_at, milestone_type, 'milestone' FROM success_milestones WHERE supplier_id = %(supplier)s
ORDER BY 1

-- name: held_back
-- Why messages were not sent, the most common reason first.
SELECT reason, count(*) FROM success_interventions WHERE status = 'suppressed' GROUP BY reason ORDER BY 2 DESC, 1

-- name: decided
-- Each message by itself, in the order of their times: to whom, for what, and what became of it. One that was not sent
-- stands at the time it was due.
SELECT coalesce(i.sent_at, i.due_at) AS at, coalesce(s.first_name, s.business_name, i.supplier_id::text) AS name,
    i.trigger_condition, i.intervention_type, i.template_used, i.status, i.reason, i.metadata ->> 'why' AS why
FROM success_interventions i LEFT JOIN suppliers s ON s.id = i.supplier_id
ORDER BY 1, i.priority DESC, i.id
LIMIT %(most)s
