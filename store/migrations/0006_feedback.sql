-- Consent and feedback: pauses, what became of each message, hits on its links, bounces, addresses not to write to.

-- No message of any channel before this moment; she asked for it in the preference centre.
ALTER TABLE suppliers ADD COLUMN paused_until TIMESTAMPTZ;

-- The first of each; the specification's opened_at and clicked_at are those of people, not of machines.
ALTER TABLE success_interventions
    ADD COLUMN unsubscribed_at TIMESTAMPTZ,
    ADD COLUMN bounced_at TIMESTAMPTZ,
    ADD COLUMN complained_at TIMESTAMPTZ;
CREATE INDEX idx_interventions_unconverted ON success_interventions(supplier_id, sent_at)
    WHERE status = 'sent' AND NOT converted;

-- Every request for a message's pixel and links, with who we think it was. `address_hash` is a keyed hash of the
-- network part of the address: it tells that two hits came from one network, and nothing else.
CREATE TABLE message_hits (
    id BIGSERIAL PRIMARY KEY,
    intervention_id UUID NOT NULL REFERENCES success_interventions(id) ON DELETE CASCADE,
    supplier_id UUID NOT NULL REFERENCES suppliers(id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('open', 'click', 'view')),
    link TEXT NOT NULL DEFAULT '',
    at TIMESTAMPTZ NOT NULL,
    method TEXT NOT NULL DEFAULT 'GET',
    user_agent TEXT NOT NULL DEFAULT '',
    address_hash BYTEA,
    classification TEXT NOT NULL CHECK (classification IN ('human', 'machine', 'bot')),
    why TEXT NOT NULL
);
CREATE INDEX idx_message_hits_intervention ON message_hits(intervention_id, at);
CREATE INDEX idx_message_hits_supplier ON message_hits(supplier_id);

-- Opens and clicks that are told on success.interventions once it is sure that they are no part of a burst.
CREATE TABLE feedback_due (
    intervention_id UUID NOT NULL REFERENCES success_interventions(id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('opened', 'clicked')),
    at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (intervention_id, kind)
);
CREATE INDEX idx_feedback_due_at ON feedback_due(at);

-- What the mail server or provider said of a message later. `id` is the webhook's, so that each counts once.
CREATE TABLE mail_reports (
    id TEXT PRIMARY KEY,
    at TIMESTAMPTZ NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('bounced', 'complained', 'delivered')),
    bounce_class TEXT CHECK (bounce_class IN ('hard', 'soft')),
    supplier_id UUID REFERENCES suppliers(id) ON DELETE CASCADE,
    intervention_id UUID REFERENCES success_interventions(id) ON DELETE CASCADE,
    address_hash BYTEA,
    code TEXT,
    diagnostic TEXT,
    -- a refusal because of us or our content: it doesn't count against the address
    about_us BOOLEAN NOT NULL DEFAULT false,
    CONSTRAINT mail_reports_bounce_has_a_class CHECK ((kind = 'bounced') = (bounce_class IS NOT NULL))
);
CREATE INDEX idx_mail_reports_address ON mail_reports(address_hash, at);
CREATE INDEX idx_mail_reports_supplier ON mail_reports(supplier_id);
CREATE INDEX idx_mail_reports_intervention ON mail_reports(intervention_id);

-- A report that names an address only finds its supplier by it.
CREATE INDEX idx_suppliers_email ON suppliers(lower(email));

-- Addresses not to write to: a keyed hash, which names nobody, so it outlives profiles and erasure.
CREATE TABLE suppressed_addresses (
    address_hash BYTEA NOT NULL,
    reason TEXT NOT NULL CHECK (reason IN ('bounced', 'complained')),
    since TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (address_hash, reason)
);

DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['message_hits', 'mail_reports'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', owned);
        EXECUTE format('CREATE POLICY writer_all ON %I TO success_writer USING (true) WITH CHECK (true)', owned);
        EXECUTE format('CREATE POLICY reader_all ON %I FOR SELECT TO success_reader USING (true)', owned);
        EXECUTE format('CREATE POLICY api_all ON %I TO success_api '
                       'USING ((SELECT success_sees_all()) OR supplier_id = (SELECT success_token_supplier())) '
                       'WITH CHECK ((SELECT success_sees_all()) OR supplier_id = (SELECT success_token_supplier()))',
                       owned);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO success_writer', owned);
        EXECUTE format('GRANT SELECT ON %I TO success_reader', owned);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO success_api', owned);
    END LOOP;
    FOREACH owned IN ARRAY ARRAY['feedback_due', 'suppressed_addresses'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', owned);
        EXECUTE format('CREATE POLICY writer_all ON %I TO success_writer USING (true) WITH CHECK (true)', owned);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO success_writer', owned);
    END LOOP;
END
$$;
GRANT USAGE ON SEQUENCE message_hits_id_seq TO success_writer, success_api;

-- The queue of a message belongs to whom the message belongs to; suppressed addresses are the services' business.
CREATE POLICY api_all ON feedback_due TO success_api
    USING (EXISTS (SELECT FROM success_interventions i WHERE i.id = intervention_id))
    WITH CHECK (EXISTS (SELECT FROM success_interventions i WHERE i.id = intervention_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON feedback_due TO success_api;
CREATE POLICY api_services ON suppressed_addresses TO success_api
    USING ((SELECT success_sees_all())) WITH CHECK ((SELECT success_sees_all()));
GRANT SELECT, INSERT, UPDATE ON suppressed_addresses TO success_api;

-- Through the API a supplier changes her consent, and hits on her messages are noted: these columns and no others.
GRANT UPDATE (email_opt_out, email_opt_out_at, all_opt_out, all_opt_out_at, paused_until, updated_at)
    ON suppliers TO success_api;
CREATE POLICY api_consent ON suppliers FOR UPDATE TO success_api
    USING ((SELECT success_sees_all()) OR id = (SELECT success_token_supplier()))
    WITH CHECK ((SELECT success_sees_all()) OR id = (SELECT success_token_supplier()));
GRANT UPDATE (opened_at, clicked_at, unsubscribed_at, bounced_at, complained_at)
    ON success_interventions TO success_api;
CREATE POLICY api_feedback ON success_interventions FOR UPDATE TO success_api
    USING ((SELECT success_sees_all()) OR supplier_id = (SELECT success_token_supplier()))
    WITH CHECK ((SELECT success_sees_all()) OR supplier_id = (SELECT success_token_supplier()));
