-- Calls: booked times that can't overlap, and the emails that people asked for, which wait here until they are sent.

-- `ends_at` is set with `scheduled_at` by a booking. `sequence` is iCalendar's: it rises with every change of the time.
-- `intervention_id` is the offer that the call came of; no foreign key: it is history, and may go before the call.
ALTER TABLE support_interactions
    ADD COLUMN ends_at TIMESTAMPTZ,
    ADD COLUMN sequence INT NOT NULL DEFAULT 0,
    ADD COLUMN intervention_id UUID,
    ADD COLUMN updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    ADD CONSTRAINT calls_end_after_their_start CHECK (ends_at > scheduled_at),
    -- Two people can't have the same time, whoever books first.
    ADD CONSTRAINT calls_do_not_overlap EXCLUDE USING gist (tstzrange(scheduled_at, ends_at) WITH &&)
        WHERE (status = 'scheduled' AND scheduled_at IS NOT NULL AND ends_at IS NOT NULL);

-- A supplier sees only her own calls, but must not book a time that another has: this tells times and nothing else.
CREATE FUNCTION success_taken_times(since TIMESTAMPTZ) RETURNS TABLE (starts_at TIMESTAMPTZ, ends_at TIMESTAMPTZ)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT c.scheduled_at, coalesce(c.ends_at, c.scheduled_at + interval '15 minutes')
    FROM support_interactions c
    WHERE c.status = 'scheduled' AND coalesce(c.ends_at, c.scheduled_at + interval '15 minutes') > since
    ORDER BY 1
$$;
REVOKE ALL ON FUNCTION success_taken_times(TIMESTAMPTZ) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION success_taken_times(TIMESTAMPTZ) TO success_writer, success_api, success_reader;

-- Emails that someone asked for (no caps, hours or consent), written in the transaction that they tell of. The address
-- is looked up when one is sent. Of a call's emails that still wait only the newest is sent.
CREATE TABLE transactional_mails (
    id UUID PRIMARY KEY,
    supplier_id UUID NOT NULL REFERENCES suppliers(id) ON DELETE CASCADE,
    call_id UUID NOT NULL REFERENCES support_interactions(id) ON DELETE CASCADE,
    method TEXT NOT NULL CHECK (method IN ('REQUEST', 'CANCEL')),
    sequence INT NOT NULL,
    starts_at TIMESTAMPTZ NOT NULL,
    ends_at TIMESTAMPTZ NOT NULL,
    status TEXT NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'sending', 'sent', 'superseded', 'failed', 'unknown')),
    not_before TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    claimed_at TIMESTAMPTZ,
    claim INT,
    attempts INT NOT NULL DEFAULT 0,
    last_error TEXT,
    sent_at TIMESTAMPTZ,
    UNIQUE (call_id, sequence),
    CONSTRAINT transactional_mails_sent_has_its_time CHECK ((status = 'sent') = (sent_at IS NOT NULL))
);
CREATE INDEX idx_transactional_mails_queued ON transactional_mails(not_before) WHERE status = 'queued';
CREATE INDEX idx_transactional_mails_sending ON transactional_mails(id) WHERE status = 'sending';
CREATE INDEX idx_transactional_mails_supplier ON transactional_mails(supplier_id);

ALTER TABLE transactional_mails ENABLE ROW LEVEL SECURITY;
CREATE POLICY writer_all ON transactional_mails TO success_writer USING (true) WITH CHECK (true);
CREATE POLICY reader_all ON transactional_mails FOR SELECT TO success_reader USING (true);
CREATE POLICY api_read ON transactional_mails FOR SELECT TO success_api
    USING ((SELECT success_sees_all()) OR supplier_id = (SELECT success_token_supplier()));
CREATE POLICY api_queue ON transactional_mails FOR INSERT TO success_api
    WITH CHECK ((SELECT success_sees_all()) OR supplier_id = (SELECT success_token_supplier()));
CREATE POLICY api_supersede ON transactional_mails FOR UPDATE TO success_api
    USING ((SELECT success_sees_all()) OR supplier_id = (SELECT success_token_supplier()))
    WITH CHECK ((SELECT success_sees_all()) OR supplier_id = (SELECT success_token_supplier()));
GRANT SELECT, INSERT, UPDATE, DELETE ON transactional_mails TO success_writer;
GRANT SELECT ON transactional_mails TO success_reader, success_api;
GRANT INSERT, UPDATE (status) ON transactional_mails TO success_api;

-- An erasure takes what the outbox holds of her along.
CREATE INDEX idx_outbox_key ON outbox(key);
