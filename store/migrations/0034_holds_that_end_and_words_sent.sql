-- A hold ends at `until`; where nobody gave an end it lies at the end of time.
ALTER TABLE supplier_holds ADD COLUMN until TIMESTAMPTZ NOT NULL DEFAULT '9999-12-31T00:00:00Z';

-- What an email said when it was handed over, for agents; without the tokens of its links. Their own table: every opening and
-- click rewrites the row of a message, and decisions read it.
CREATE TABLE message_words (
    intervention_id UUID PRIMARY KEY REFERENCES success_interventions(id) ON DELETE CASCADE,
    at TIMESTAMPTZ NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX idx_message_words_at ON message_words USING brin (at);

ALTER TABLE message_words ENABLE ROW LEVEL SECURITY;
CREATE POLICY writer_all ON message_words TO success_writer USING (true) WITH CHECK (true);
CREATE POLICY reader_all ON message_words FOR SELECT TO success_reader USING (true);
CREATE POLICY api_agents ON message_words FOR SELECT TO success_api USING ((SELECT success_sees_all()));
GRANT SELECT, INSERT, UPDATE, DELETE ON message_words TO success_writer;
GRANT SELECT ON message_words TO success_reader, success_api;
