-- The coach: all that it shows of one supplier in one look, and what it remembers.

-- name: look
-- One row, or none for a supplier whom nobody knows (or who is none of the token's business).
SELECT s.first_name, s.vendor_type, s.timezone, s.locale, s.all_opt_out, s.paused_until,
    h.health_score, h.risk_level, h.breakdown, h.facts,
    -- One that a change of rules found reached is no news.
    (SELECT coalesce(jsonb_agg(jsonb_build_object('type', m.milestone_type, 'at', m.achieved_at, 'celebrated', m.celebrated,
        'known_at', CASE WHEN m.milestone_data ->> 'cause_type' LIKE 'rules:%%' THEN 'epoch' ELSE m.created_at END)
        ORDER BY m.achieved_at), '[]')
     FROM success_milestones m WHERE m.supplier_id = s.id),
    (SELECT coalesce(jsonb_agg(jsonb_build_object('id', i.id, 'channel', i.intervention_type,
                                                  'template', i.template_used, 'at', i.sent_at)
                               ORDER BY i.sent_at DESC), '[]')
     FROM success_interventions i
     WHERE i.supplier_id = s.id AND i.status = 'sent' AND i.intervention_type <> 'email' AND NOT i.converted
         AND i.sent_at > %(messages_since)s),
    (SELECT jsonb_build_object('id', c.id, 'at', c.scheduled_at, 'until', c.ends_at)
     FROM support_interactions c
     WHERE c.supplier_id = s.id AND c.status = 'scheduled' AND c.scheduled_at IS NOT NULL
         AND coalesce(c.ends_at, c.scheduled_at) > %(now)s
     ORDER BY c.scheduled_at LIMIT 1),
    (SELECT count(*) FROM support_interactions c
     WHERE c.supplier_id = s.id AND c.status = 'scheduled' AND c.scheduled_at IS NULL
         AND c.interaction_type <> 'churn_prevention'),
    (SELECT coalesce(jsonb_agg(jsonb_build_object('item', r.item, 'what', r.what, 'at', r.at, 'times', r.times)), '[]')
     FROM coach_memory r WHERE r.supplier_id = s.id)
FROM suppliers s
LEFT JOIN customer_health h ON h.supplier_id = s.id
WHERE s.id = %(supplier)s

-- name: remember
-- What became of an item; comes back with how often, and when it was before. No more than `most` items a supplier:
-- ids come from outside.
INSERT INTO coach_memory AS m (supplier_id, item, what, at)
SELECT %(supplier)s, %(item)s, %(what)s, %(at)s
WHERE (SELECT count(*) FROM coach_memory WHERE supplier_id = %(supplier)s) < %(most)s
    OR EXISTS (SELECT FROM coach_memory
               WHERE supplier_id = %(supplier)s AND item = %(item)s AND what = %(what)s)
ON CONFLICT (supplier_id, item, what) DO UPDATE SET
    times = m.times + (excluded.at >= m.at + %(again_after)s::interval)::int,
    at = CASE WHEN excluded.at >= m.at + %(again_after)s::interval THEN excluded.at ELSE m.at END
RETURNING at = %(at)s

-- name: celebrate
-- The coach has shown a milestone; nothing comes back if they have not reached it.
UPDATE success_milestones
SET celebrated = true, celebration_sent_at = coalesce(celebration_sent_at, %(at)s)
WHERE supplier_id = %(supplier)s AND milestone_type = %(milestone)s
RETURNING id::text

-- name: find_message
-- A message that the coach can show; locked, so that it is opened once.
SELECT opened_at IS NULL, clicked_at IS NULL
FROM success_interventions
WHERE id = %(id)s AND supplier_id = %(supplier)s AND status = 'sent' AND intervention_type <> 'email'
FOR NO KEY UPDATE

-- name: mark_message
-- Its first opening and click; a click implies an opening.
UPDATE success_interventions
SET opened_at = coalesce(opened_at, %(at)s),
    clicked_at = CASE WHEN %(clicked)s::boolean THEN coalesce(clicked_at, %(at)s) ELSE clicked_at END
WHERE id = %(id)s
RETURNING supplier_id::text, id::text, trigger_condition, intervention_type, template_used, status, signal_id::text,
    %(at)s::timestamptz
