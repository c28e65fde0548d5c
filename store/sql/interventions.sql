-- Interventions as the intervention agent writes them; what delivery does with them is in delivery.sql.

-- name: add
-- One row per (signal, trigger), whose id both make: a repeated signal adds nothing and returns nothing.
INSERT INTO success_interventions (
    id, supplier_id, trigger_condition, intervention_type, template_used, kind, priority, status, reason,
    due_at, not_before, signal_id, signal_at, seq, metadata, created_at)
SELECT
    r.id, r.supplier_id, r.trigger, r.channel, r.template, r.kind, r.priority, r.status, r.reason,
    r.due_at, r.due_at, r.signal_id, r.signal_at, r.seq, r.metadata, r.created_at
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(
    id uuid, supplier_id uuid, trigger text, channel text, template text, kind text, priority int, status text,
    reason text, due_at timestamptz, signal_id uuid, signal_at timestamptz, seq bigint, metadata jsonb,
    created_at timestamptz)
ON CONFLICT (id) DO NOTHING
RETURNING id::text

-- name: wake_delivery
-- Heard when the transaction commits.
SELECT pg_notify('success_delivery', '')
