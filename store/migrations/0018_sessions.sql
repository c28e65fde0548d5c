-- Sessions of agents at the dashboard: ended here, they are ended everywhere. The cookie's value is kept hashed.
CREATE TABLE dashboard_sessions (
    id_hash BYTEA PRIMARY KEY,
    agent TEXT NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL,
    ended_at TIMESTAMPTZ
);
CREATE INDEX idx_dashboard_sessions_agent ON dashboard_sessions(agent) WHERE ended_at IS NULL;
CREATE INDEX idx_dashboard_sessions_started ON dashboard_sessions(started_at);

ALTER TABLE dashboard_sessions ENABLE ROW LEVEL SECURITY;
CREATE POLICY writer_all ON dashboard_sessions TO success_writer USING (true) WITH CHECK (true);
-- Never under a supplier's claims. Whose session a cookie is, is asked for under a service's.
CREATE POLICY api_agents ON dashboard_sessions TO success_api
    USING ((SELECT success_sees_all())) WITH CHECK ((SELECT success_sees_all()));
GRANT SELECT, INSERT, UPDATE, DELETE ON dashboard_sessions TO success_writer;
GRANT SELECT, INSERT, UPDATE ON dashboard_sessions TO success_api;
