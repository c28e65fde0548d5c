-- What is past its period, in batches, with the owner's login.

-- name: hits
DELETE FROM message_hits WHERE id IN (SELECT id FROM message_hits WHERE at < %(before)s LIMIT %(most)s)

-- name: bounces
-- Reports only: the addresses that are not to be written to stay.
DELETE FROM mail_reports WHERE id IN (SELECT id FROM mail_reports WHERE at < %(before)s LIMIT %(most)s)

-- name: words
-- What messages said; their rows stay.
DELETE FROM message_words WHERE intervention_id IN (
    SELECT intervention_id FROM message_words WHERE at < %(before)s LIMIT %(most)s)

-- name: audit
DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_log WHERE at < %(before)s LIMIT %(most)s)

-- name: history
-- A supplier's newest change before the period stays: it says how they stood when it began.
DELETE FROM health_history WHERE (supplier_id, seq) IN (
    SELECT old.supplier_id, old.seq FROM health_history old
    WHERE old.at < %(before)s
        AND EXISTS (SELECT FROM health_history later
                    WHERE later.supplier_id = old.supplier_id AND later.seq > old.seq AND later.at < %(before)s)
    LIMIT %(most)s)

-- name: sessions
DELETE FROM dashboard_sessions WHERE id_hash IN (
    SELECT id_hash FROM dashboard_sessions WHERE started_at < %(before)s LIMIT %(most)s)
