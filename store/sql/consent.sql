-- Consent as the supplier themselves, an agent or a complaint changes it; what events say is in suppliers.sql.

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
-- The message whose link they used; once.
UPDATE success_interventions SET unsubscribed_at = %(at)s
WHERE id = %(id)s AND supplier_id = %(supplier)s AND unsubscribed_at IS NULL
RETURNING supplier_id::text, id::text, trigger_condition, intervention_type, template_used, status, signal_id::text,
    unsubscribed_at

-- name: said
-- Who of these has said a word on emails; locked.
SELECT id::text, email, email_opt_out, email_opt_out_at FROM suppliers
WHERE id = ANY(%(ids)s::uuid[]) AND email_opt_out_at IS NOT NULL
ORDER BY id

-- name: addresses
-- The supplier's address, and the keyed hash of the one that a message went to.
SELECT s.email, (
    SELECT i.metadata ->> 'address_hash' FROM success_interventions i
    WHERE i.id = %(message)s::uuid AND i.supplier_id = s.id
    UNION ALL
    SELECT encode(m.address_hash, 'hex') FROM transactional_mails m
    WHERE m.id = %(message)s::uuid AND m.supplier_id = s.id
    LIMIT 1)
FROM suppliers s WHERE s.id = %(supplier)s

-- name: address_no
SELECT success_address_no(%(addresses)s::bytea[], %(speakers)s::bytea[], %(at)s)

-- name: first_address_no
SELECT success_first_address_no(%(addresses)s::bytea[], %(speakers)s::bytea[], %(at)s)

-- name: addresses_yes
SELECT success_addresses_yes(%(speakers)s::bytea[], %(at)s)

-- name: address_yes
SELECT success_address_yes(%(addresses)s::bytea[], %(at)s)

-- name: held
SELECT reason FROM success_suppressed(%(addresses)s::bytea[]) WHERE reason IN ('opted_out', 'complained')
