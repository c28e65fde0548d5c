-- The dashboard's page of one supplier: who they are, their score over time, and everything that happened in one column.
-- Sources of the timeline come newest first, `most` of each from before `before`.

-- name: supplier
SELECT s.id::text AS id, s.email, s.phone, s.first_name, s.business_name, s.vendor_type, s.timezone, s.locale, s.signed_up_at,
    coalesce(h.facts ->> 'plan', s.plan) AS plan, s.email_opt_out, s.all_opt_out, s.paused_until,
    h.health_score AS score, h.risk_level AS level,
    coalesce(st.level, h.risk_level) AS counted_as, h.breakdown, h.last_login, h.calculated_at, h.churn_probability,
    h.next_change_at, h.facts, h.seq, st.since,
    o.held_at, o.held_by, o.note AS held_note, o.until AS held_until
FROM suppliers s
LEFT JOIN customer_health h ON h.supplier_id = s.id
LEFT JOIN supplier_standings st ON st.supplier_id = s.id
LEFT JOIN supplier_holds o ON o.supplier_id = s.id
WHERE s.id = %(supplier)s

-- name: names
SELECT id::text AS id, business_name, first_name FROM suppliers WHERE id = ANY(%(suppliers)s::uuid[])

-- name: history
-- Changes of the score since `since` and the one before it, the newest first.
SELECT h.seq, h.at, h.score, h.causes, success_counted_as(h.risk_level, h.at, (
    SELECT new_until FROM supplier_standings WHERE supplier_id = %(supplier)s)) AS level
FROM (
    (SELECT seq, at, score, risk_level, causes FROM health_history
     WHERE supplier_id = %(supplier)s AND at >= %(since)s ORDER BY seq DESC LIMIT %(most)s)
    UNION ALL
    (SELECT seq, at, score, risk_level, causes FROM health_history
     WHERE supplier_id = %(supplier)s AND at < %(since)s ORDER BY seq DESC LIMIT 1)) h

-- name: changes
-- Of the score and of the level; the end of being new is a change of level alone.
SELECT coalesce(c.at, h.at) AS at, h.seq, h.score,
    coalesce(c.level, success_counted_as(h.risk_level, h.at, (
        SELECT new_until FROM supplier_standings WHERE supplier_id = %(supplier)s))) AS level,
    CASE WHEN c.at > h.at THEN '[]' ELSE h.causes END AS causes, c.previous, c.seq IS NOT NULL AS new_level
FROM health_history h
LEFT JOIN level_changes c ON c.supplier_id = h.supplier_id AND c.seq = h.seq
WHERE h.supplier_id = %(supplier)s AND h.at < %(before)s AND coalesce(c.at, h.at) < %(before)s
ORDER BY h.seq DESC, c.at DESC LIMIT %(most)s

-- name: milestones
SELECT achieved_at AS at, milestone_type AS milestone, celebrated
FROM success_milestones WHERE supplier_id = %(supplier)s AND achieved_at < %(before)s
ORDER BY achieved_at DESC LIMIT %(most)s

-- name: messages
SELECT id::text AS id, trigger_condition, intervention_type AS channel, template_used AS template, status, reason, due_at,
    not_before, signal_at, sent_at, opened_at, clicked_at, converted_at, unsubscribed_at, bounced_at, complained_at,
    metadata ->> 'why' AS why, metadata -> 'signal' ->> 'type' AS signal_type, metadata -> 'signal' ->> 'by' AS asked_by,
    last_error, variant, metadata ->> 'taken_back_by' AS taken_back_by
FROM success_interventions
WHERE supplier_id = %(supplier)s AND coalesce(sent_at, due_at) < %(before)s
ORDER BY coalesce(sent_at, due_at) DESC LIMIT %(most)s

-- name: written
-- Some of their messages as delivery reads them, and what it kept of their words.
SELECT i.id::text, i.trigger_condition, i.intervention_type, i.template_used, i.kind, i.priority, i.seq, i.attempts,
    i.signal_id::text, i.signal_at, i.due_at, i.metadata, i.status, i.experiment, i.variant, w.subject, w.body
FROM success_interventions i
LEFT JOIN message_words w ON w.intervention_id = i.id
WHERE i.supplier_id = %(supplier)s AND i.id = ANY(%(ids)s::uuid[])

-- name: calls
SELECT id::text AS id, interaction_type, status, scheduled_at, ends_at, completed_at, created_at, notes, outcome, urgency,
    satisfaction_score, preferred_times, coalesce(scheduled_at, created_at) AS at
FROM support_interactions
WHERE supplier_id = %(supplier)s AND coalesce(completed_at, created_at) < %(before)s
ORDER BY coalesce(completed_at, created_at) DESC LIMIT %(most)s

-- name: notes
SELECT id::text AS id, at, noted_by, note FROM supplier_notes
WHERE supplier_id = %(supplier)s AND at < %(before)s ORDER BY at DESC LIMIT %(most)s

-- name: acts
-- What agents did to them; notes, calls and messages have rows of their own.
SELECT at, actor, actor_role, action, details FROM audit_log
WHERE supplier_id = %(supplier)s AND at < %(before)s
    AND action NOT IN ('note.added', 'message.requested', 'message.taken_back') AND action NOT LIKE 'call\_%%'
ORDER BY at DESC LIMIT %(most)s

-- name: open_calls
-- Those with a time; the others are tasks (dashboard_tasks.sql).
SELECT id::text AS id, interaction_type, status, scheduled_at, ends_at, created_at, notes, urgency, preferred_times
FROM support_interactions WHERE supplier_id = %(supplier)s AND status = 'scheduled' AND scheduled_at IS NOT NULL
ORDER BY scheduled_at, created_at LIMIT %(most)s

-- name: lock
-- The lock under which delivery decides; nothing comes back for who is not known.
SELECT id FROM suppliers WHERE id = %(supplier)s FOR NO KEY UPDATE

-- name: add_note
INSERT INTO supplier_notes (id, supplier_id, at, noted_by, note)
SELECT %(id)s, s.id, %(at)s, %(by)s, %(note)s FROM suppliers s WHERE s.id = %(supplier)s
ON CONFLICT (id) DO NOTHING
RETURNING id
