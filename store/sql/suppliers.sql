-- Suppliers: their rows, locks, profiles, consent and erasure.

-- name: ensure
-- A row for each supplier that has none yet, and whose they are; in order, so that two writers never wait for each other in a
-- circle.
INSERT INTO suppliers (id)
SELECT id FROM unnest(%(ids)s::uuid[]) AS id ORDER BY id
ON CONFLICT DO NOTHING
RETURNING id::text

-- name: lock
-- One writer at a time a supplier, until the transaction ends. Foreign keys may still be checked meanwhile.
SELECT id::text FROM suppliers WHERE id = ANY(%(ids)s::uuid[]) ORDER BY id FOR NO KEY UPDATE

-- name: find_erased
SELECT id_hash FROM erased_suppliers WHERE id_hash = ANY(%(hashes)s::bytea[])

-- name: remember_erased
INSERT INTO erased_suppliers (id_hash, erased_at)
SELECT hash, %(at)s::timestamptz FROM unnest(%(hashes)s::bytea[]) AS hash
ON CONFLICT DO NOTHING

-- name: delete
-- Takes everything that is theirs along (foreign keys cascade).
DELETE FROM suppliers WHERE id = ANY(%(ids)s::uuid[])

-- name: forget_events
-- What the outbox holds of them, told or not: nobody is to hear of them any more.
DELETE FROM outbox WHERE key = ANY(%(ids)s::text[])

-- name: save_profiles
-- A profile replaces the one before it wholly: what it doesn't say becomes null. Consent isn't the profile's.
-- One that is older in its log and by its time stays out: a process that was frozen may wake up and write late.
UPDATE suppliers AS s
SET email = p.email,
    phone = p.phone,
    first_name = p.first_name,
    business_name = p.business_name,
    vendor_type = p.vendor_type,
    timezone = p.timezone,
    locale = p.locale,
    plan = p.plan,
    signed_up_at = p.signed_up_at,
    profile_offset = p."offset",
    profile_stamp = p.stamp,
    updated_at = now()
FROM jsonb_to_recordset(%(rows)s::jsonb) AS p(
    id uuid, email text, phone text, first_name text, business_name text, vendor_type text,
    timezone text, locale text, plan text, signed_up_at timestamptz, "offset" bigint, stamp timestamptz)
WHERE s.id = p.id AND NOT coalesce(p."offset" < s.profile_offset AND p.stamp <= s.profile_stamp, false)

-- name: wake
-- Messages that waited for an address are due now, where there is one. (`not_before` tells those that are due already
-- apart.) A shadow takes no lock on suppliers: its rows are all touched, so that one that begins to wait at this moment
-- is not missed.
WITH there AS (
    SELECT id FROM suppliers WHERE id = ANY(%(ids)s::uuid[]) AND email <> ''
), shadows AS (
    UPDATE shadow_interventions i SET not_before = CASE
        WHEN i.metadata ->> 'waiting' = 'address' THEN least(i.due_at, i.not_before) ELSE i.not_before END
    FROM there WHERE i.supplier_id = there.id AND i.status = 'scheduled'
)
UPDATE success_interventions i SET not_before = i.due_at
FROM there
WHERE i.supplier_id = there.id AND i.status = 'scheduled' AND i.metadata ->> 'waiting' = 'address' AND i.not_before > i.due_at

-- name: save_consent
-- The newest word holds, whoever brings it; of two at the same instant the opt-out.
UPDATE suppliers AS s
SET email_opt_out = CASE WHEN said.email THEN c.email_opt_out ELSE s.email_opt_out END,
    email_opt_out_at = CASE WHEN said.email THEN c.email_at ELSE s.email_opt_out_at END,
    all_opt_out = CASE WHEN said.all THEN c.all_opt_out ELSE s.all_opt_out END,
    all_opt_out_at = CASE WHEN said.all THEN c.all_at ELSE s.all_opt_out_at END,
    updated_at = now()
FROM jsonb_to_recordset(%(rows)s::jsonb) AS c(
    supplier_id uuid, email_opt_out boolean, email_at timestamptz, all_opt_out boolean, all_at timestamptz)
JOIN suppliers AS was ON was.id = c.supplier_id
CROSS JOIN LATERAL (SELECT
    (coalesce(c.email_at > coalesce(was.email_opt_out_at, '-infinity'), false)
     OR coalesce(c.email_at = was.email_opt_out_at AND c.email_opt_out AND NOT was.email_opt_out, false)) AS email,
    (coalesce(c.all_at > coalesce(was.all_opt_out_at, '-infinity'), false)
     OR coalesce(c.all_at = was.all_opt_out_at AND c.all_opt_out AND NOT was.all_opt_out, false)) AS all
) AS said
WHERE s.id = c.supplier_id AND (said.email OR said.all)
