-- Waiting rows cost delivery nothing: whoever stores what a row waits for makes it due, and a claim reads due rows only.

-- Rows whose wait was over before the writer knew of this.
UPDATE success_interventions i SET not_before = i.due_at
FROM suppliers s
LEFT JOIN customer_health h ON h.supplier_id = s.id
WHERE i.supplier_id = s.id AND i.status = 'scheduled' AND i.not_before > i.due_at
    AND (i.metadata ->> 'waiting' = 'health' AND h.seq >= i.seq
        OR i.metadata ->> 'waiting' = 'address' AND s.email <> '');
DROP INDEX idx_interventions_waiting;

-- Scheduled rows of suppliers to whom no email is on its way at the moment. (OFFSET 0: a supplier's rows are looked at
-- by supplier, and never all that were being sent lately.)
CREATE VIEW claimable_interventions WITH (security_invoker = true) AS
SELECT i.supplier_id, i.not_before
FROM success_interventions i
WHERE i.status = 'scheduled'
    AND NOT EXISTS (
        SELECT FROM (SELECT o.status FROM success_interventions o
                     WHERE o.supplier_id = i.supplier_id AND o.status IN ('scheduled', 'sending') OFFSET 0) AS open
        WHERE open.status = 'sending');
GRANT SELECT ON claimable_interventions TO success_writer;

-- Services compare the schema with their code when they start.
GRANT SELECT ON schema_migrations TO success_writer, success_api, success_reader;
