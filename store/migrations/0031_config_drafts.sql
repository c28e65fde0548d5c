-- What an editor of the rules works on in the dashboard, until they put it into force or drop it.
CREATE TABLE config_drafts (
    author TEXT PRIMARY KEY,
    files JSON NOT NULL,    -- name in the folder -> text, and was: what was in force when its change was begun
    settings JSON NOT NULL,    -- numbers of the policy, NAME=VALUE
    changed_at TIMESTAMPTZ NOT NULL
);

ALTER TABLE config_drafts ENABLE ROW LEVEL SECURITY;
CREATE POLICY api_read ON config_drafts FOR SELECT TO success_api
    USING ((SELECT success_claims() ->> 'role') = 'agent');
CREATE POLICY api_own ON config_drafts TO success_api
    USING ((SELECT success_claims() ->> 'role') = 'agent' AND author = (SELECT success_claims() ->> 'sub'))
    WITH CHECK ((SELECT success_claims() ->> 'role') = 'agent' AND author = (SELECT success_claims() ->> 'sub'));
GRANT SELECT, INSERT, UPDATE, DELETE ON config_drafts TO success_api;
