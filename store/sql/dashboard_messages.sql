-- The dashboard's messages: tallies by day, and lists by index.

-- name: funnel
-- By template and channel, from `since` to before `until` (UTC days).
SELECT template, channel,
    coalesce(sum(messages) FILTER (WHERE status = 'sent'), 0)::bigint AS sent,
    coalesce(sum(messages) FILTER (WHERE status = 'sent' AND opened), 0)::bigint AS opened,
    coalesce(sum(messages) FILTER (WHERE status = 'sent' AND clicked), 0)::bigint AS clicked,
    coalesce(sum(messages) FILTER (WHERE status = 'sent' AND converted), 0)::bigint AS converted,
    coalesce(sum(messages) FILTER (WHERE status = 'sent' AND unsubscribed), 0)::bigint AS unsubscribed,
    coalesce(sum(messages) FILTER (WHERE bounced), 0)::bigint AS bounced,
    coalesce(sum(messages) FILTER (WHERE complained), 0)::bigint AS complained,
    coalesce(sum(messages) FILTER (WHERE status IN ('scheduled', 'sending')), 0)::bigint AS waiting,
    coalesce(sum(messages) FILTER (WHERE status = 'suppressed'), 0)::bigint AS suppressed,
    coalesce(sum(messages) FILTER (WHERE status = 'failed'), 0)::bigint AS failed,
    coalesce(sum(messages) FILTER (WHERE status = 'unknown'), 0)::bigint AS unknown
FROM message_tallies WHERE day >= %(since)s AND day < %(until)s
GROUP BY 1, 2 HAVING sum(messages) <> 0 ORDER BY sent DESC, template

-- name: reasons
-- Why messages were not sent, by template.
SELECT template, reason, sum(messages)::bigint AS messages
FROM message_tallies WHERE day >= %(since)s AND day < %(until)s AND status = 'suppressed'
GROUP BY 1, 2 HAVING sum(messages) <> 0 ORDER BY 3 DESC, 1, 2

-- name: variants
-- The variants of templates that are compared, by experiment (the trigger's name).
SELECT experiment, variant, template,
    coalesce(sum(messages), 0)::bigint AS sent,
    coalesce(sum(messages) FILTER (WHERE opened), 0)::bigint AS opened,
    coalesce(sum(messages) FILTER (WHERE clicked), 0)::bigint AS clicked,
    coalesce(sum(messages) FILTER (WHERE converted), 0)::bigint AS converted,
    coalesce(sum(messages) FILTER (WHERE unsubscribed), 0)::bigint AS unsubscribed
FROM message_tallies
WHERE day >= %(since)s AND day < %(until)s AND status = 'sent' AND experiment NOT IN ('', 'holdout')
GROUP BY 1, 2, 3 HAVING sum(messages) <> 0 ORDER BY 1, 2

-- name: holdout
-- The holdout against those who got their message, both measured alike: has the trigger's goal been reached since?
-- (`converted` is not noted of what was never sent.) Of the newest `most` of each group, so that it stays quick.
WITH newest AS (
    (SELECT i.supplier_id, i.trigger_condition, i.variant, i.due_at FROM success_interventions i
     WHERE i.experiment = 'holdout' AND i.due_at >= %(since)s::timestamptz AND i.due_at < %(until)s::timestamptz
     ORDER BY i.due_at DESC LIMIT %(most)s))
SELECT n.variant, count(*) AS messages,
    count(*) FILTER (WHERE EXISTS (
        SELECT FROM jsonb_to_recordset(%(goals)s::jsonb) AS rule(trigger text, goal text)
        WHERE rule.trigger = n.trigger_condition
            AND (h.facts -> 'last_goals' ->> rule.goal)::timestamptz > n.due_at)) AS reached
FROM newest n
CROSS JOIN LATERAL (SELECT c.facts FROM customer_health c WHERE c.supplier_id = n.supplier_id LIMIT 1) h
GROUP BY 1 ORDER BY 1

-- name: today
-- What became of what is due or was sent on one day.
SELECT template, status, reason, sum(messages)::bigint AS messages
FROM message_tallies WHERE day = %(day)s
GROUP BY 1, 2, 3 HAVING sum(messages) <> 0 ORDER BY 4 DESC, 1

-- name: outgoing
-- What is to leave before `until`, soonest first.
SELECT i.id::text AS id, i.supplier_id::text AS supplier_id, i.trigger_condition, i.intervention_type, i.template_used,
    i.not_before, i.due_at, i.priority, i.metadata ->> 'waiting' AS waiting, i.metadata ->> 'why' AS why
FROM success_interventions i
WHERE i.status = 'scheduled' AND i.not_before < %(until)s
ORDER BY i.not_before LIMIT %(most)s

-- name: messages_of_status
-- Days are those of the tallies (sent, else due): what was sent on the first of them may have been due before, `since`.
SELECT i.id::text AS id, i.supplier_id::text AS supplier_id, i.trigger_condition, i.intervention_type, i.template_used,
    i.status, i.reason, i.due_at, i.not_before, i.sent_at, i.opened_at, i.clicked_at, i.converted_at, i.unsubscribed_at,
    i.experiment, i.variant, i.metadata ->> 'why' AS why, i.last_error
FROM success_interventions i
WHERE i.status = %(status)s AND i.due_at >= %(since)s AND i.due_at < %(until)s
    AND coalesce(i.sent_at, i.due_at) >= %(from)s AND (i.due_at, i.id) < (%(before)s, %(id)s::uuid)
    AND (%(outcome)s <> 'opened' OR i.opened_at IS NOT NULL) AND (%(outcome)s <> 'clicked' OR i.clicked_at IS NOT NULL)
    AND (%(outcome)s <> 'converted' OR i.converted) AND (%(outcome)s <> 'unsubscribed' OR i.unsubscribed_at IS NOT NULL)
ORDER BY i.due_at DESC, i.id DESC LIMIT %(most)s

-- name: messages_of_reason
SELECT i.id::text AS id, i.supplier_id::text AS supplier_id, i.trigger_condition, i.intervention_type, i.template_used,
    i.status, i.reason, i.due_at, i.not_before, i.sent_at, i.opened_at, i.clicked_at, i.converted_at, i.unsubscribed_at,
    i.experiment, i.variant, i.metadata ->> 'why' AS why, i.last_error
FROM success_interventions i
WHERE i.reason = %(reason)s AND i.due_at >= %(since)s AND i.due_at < %(until)s
    AND coalesce(i.sent_at, i.due_at) >= %(from)s AND (i.due_at, i.id) < (%(before)s, %(id)s::uuid)
    AND (%(template)s = '' OR i.template_used = %(template)s)
ORDER BY i.due_at DESC, i.id DESC LIMIT %(most)s

-- name: messages_of_template
SELECT i.id::text AS id, i.supplier_id::text AS supplier_id, i.trigger_condition, i.intervention_type, i.template_used,
    i.status, i.reason, i.due_at, i.not_before, i.sent_at, i.opened_at, i.clicked_at, i.converted_at, i.unsubscribed_at,
    i.experiment, i.variant, i.metadata ->> 'why' AS why, i.last_error
FROM success_interventions i
WHERE i.template_used = %(template)s AND i.due_at >= %(since)s AND i.due_at < %(until)s
    AND coalesce(i.sent_at, i.due_at) >= %(from)s AND (i.due_at, i.id) < (%(before)s, %(id)s::uuid)
    AND (%(status)s = '' OR i.status = %(status)s)
    AND (%(variant)s = '' OR i.variant = %(variant)s)
    AND (%(outcome)s <> 'opened' OR i.opened_at IS NOT NULL) AND (%(outcome)s <> 'clicked' OR i.clicked_at IS NOT NULL)
    AND (%(outcome)s <> 'converted' OR i.converted) AND (%(outcome)s <> 'unsubscribed' OR i.unsubscribed_at IS NOT NULL)
ORDER BY i.due_at DESC, i.id DESC LIMIT %(most)s
