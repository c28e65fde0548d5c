-- name: save
-- Once each per supplier, ever; the row has the signal's id.
INSERT INTO success_milestones (id, supplier_id, milestone_type, achieved_at, milestone_data, celebrated)
SELECT r.id, r.supplier_id, r.milestone, r.at, r.data, r.celebrated
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(
    id uuid, supplier_id uuid, milestone text, at timestamptz, data jsonb, celebrated bool)
ON CONFLICT DO NOTHING

-- name: of_supplier
-- What they have reached, oldest first; with a type only that one.
SELECT id::text, milestone_type, achieved_at, celebrated
FROM success_milestones
WHERE supplier_id = %(supplier)s AND milestone_type = coalesce(%(type)s, milestone_type)
ORDER BY achieved_at, milestone_type
