-- Consent as the supplier herself, an agent or a complaint changes it; what events say is in suppliers.sql.

-- name: lock
-- Locked until the transaction ends: one word at a time.
SELECT email_opt_out, email_opt_out_at, all_opt_out, all_opt_out_at, paused_until
FROM suppliers WHERE id = %(supplier)s
FOR NO KEY UPDATE

-- name: read
SELECT email_opt_out, email_opt_out_at, all_opt_out, all_opt_out_at, paused_until
FROM suppliers WHERE id = %(supplier)s

-- name: save
UPDATE suppliers
SET email_opt_out = %(email_opt_out)s, email_opt_out_at = %(email_at)s,
    all_opt_out = %(all_opt_out)s, all_opt_out_at = %(all_at)s,
    paused_until = %(paused_until)s, updated_at = now()
WHERE id = %(supplier)s

-- name: mark_unsubscribed
-- The message whose link she used; once.
UPDATE success_interventions SET unsubscribed_at = %(at)s
WHERE id = %(id)s AND supplier_id = %(supplier)s AND unsubscribed_at IS NULL
RETURNING supplier_id::text, id::text, trigger_condition, intervention_type, template_used, status, signal_id::text,
    unsubscribed_at
