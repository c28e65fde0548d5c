-- Consent of an address: who said no to emails there, and who took it back. Keyed hashes only: they name nobody, and
-- outlive profiles and erasure. `said_by` is the hash of a supplier's id; empty: the address itself, on a page that only
-- an email to it leads to.
CREATE TABLE address_consent (
    address_hash BYTEA NOT NULL,
    said_by BYTEA NOT NULL,
    opt_out BOOLEAN NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (address_hash, said_by)
);
CREATE INDEX idx_address_consent_said_by ON address_consent(said_by);

ALTER TABLE address_consent ENABLE ROW LEVEL SECURITY;
CREATE POLICY writer_all ON address_consent TO success_writer USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON address_consent TO success_writer;

-- Whoever says a word through the API acts under their own claims, which show no rows of others. These functions do what
-- a word means for an address; without the key nobody knows which hash is whose. `addresses` and `speakers` are one
-- address and one supplier under every key in force, the newest first: that one is written.

-- A supplier says no, having this address. Where it is known only by an older key's hash, that row stands for it.
CREATE FUNCTION success_address_no(addresses BYTEA[], speakers BYTEA[], said_at TIMESTAMPTZ) RETURNS VOID
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    INSERT INTO address_consent (address_hash, said_by, opt_out, at)
    VALUES (addresses[1], speakers[1], true, said_at)
    ON CONFLICT (address_hash, said_by) DO UPDATE SET opt_out = true, at = excluded.at
    WHERE excluded.at >= address_consent.at
$$;

-- The same of a supplier who said no when no address was known, or by the log: the first address they have from then on
-- is it, and no later one.
CREATE FUNCTION success_first_address_no(addresses BYTEA[], speakers BYTEA[], said_at TIMESTAMPTZ) RETURNS VOID
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT success_address_no(addresses, speakers, said_at)
    WHERE NOT EXISTS (SELECT FROM address_consent c WHERE c.said_by = ANY(speakers) AND c.at >= said_at)
$$;

-- A supplier takes back what they said, wherever they said it.
CREATE FUNCTION success_addresses_yes(speakers BYTEA[], said_at TIMESTAMPTZ) RETURNS VOID
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    UPDATE address_consent SET opt_out = false, at = said_at
    WHERE said_by = ANY(speakers) AND opt_out AND at < said_at
$$;

-- The address itself says yes: after all that was said before, also by somebody whose clock ran ahead.
CREATE FUNCTION success_address_yes(addresses BYTEA[], said_at TIMESTAMPTZ) RETURNS VOID
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    INSERT INTO address_consent (address_hash, said_by, opt_out, at)
    SELECT addresses[1], '', false, greatest(said_at, (
        SELECT max(c.at) + interval '1 millisecond' FROM address_consent c
        WHERE c.address_hash = ANY(addresses) AND c.opt_out), (
        SELECT max(s.since) + interval '1 millisecond' FROM suppressed_addresses s
        WHERE s.address_hash = ANY(addresses) AND s.reason = 'complained'))
    ON CONFLICT (address_hash, said_by) DO UPDATE SET at = greatest(address_consent.at, excluded.at)
$$;

-- Why an address must not be written to, and since when. A complaint ends as an opt-out does: by a later yes. (That of one
-- hash stays for services of the version before, until 0028.)
CREATE FUNCTION success_suppressed(addresses BYTEA[]) RETURNS TABLE (reason TEXT, since TIMESTAMPTZ)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    WITH said AS (SELECT c.said_by, c.opt_out, c.at FROM address_consent c WHERE c.address_hash = ANY(addresses))
    SELECT s.reason, max(s.since) FROM suppressed_addresses s
    WHERE s.address_hash = ANY(addresses)
        AND NOT (s.reason = 'complained' AND EXISTS (SELECT FROM said WHERE NOT said.opt_out AND said.at > s.since))
    GROUP BY s.reason
    UNION ALL
    SELECT 'opted_out', max(said.at) FROM said
    WHERE said.opt_out AND said.at >= coalesce(
        (SELECT own.at FROM said AS own WHERE own.said_by = '' ORDER BY own.at DESC LIMIT 1), '-infinity')
    HAVING count(*) > 0
$$;

REVOKE ALL ON FUNCTION success_address_no(BYTEA[], BYTEA[], TIMESTAMPTZ),
    success_first_address_no(BYTEA[], BYTEA[], TIMESTAMPTZ), success_addresses_yes(BYTEA[], TIMESTAMPTZ),
    success_address_yes(BYTEA[], TIMESTAMPTZ), success_suppressed(BYTEA[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION success_address_no(BYTEA[], BYTEA[], TIMESTAMPTZ),
    success_first_address_no(BYTEA[], BYTEA[], TIMESTAMPTZ), success_addresses_yes(BYTEA[], TIMESTAMPTZ),
    success_address_yes(BYTEA[], TIMESTAMPTZ) TO success_writer, success_api;
GRANT EXECUTE ON FUNCTION success_suppressed(BYTEA[]) TO success_writer, success_api, success_reader;
