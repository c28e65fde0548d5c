-- Bounces and complaints about emails on calls.

-- Where it was sent, as `metadata ->> 'address_hash'` of an intervention: her address may change before the report.
ALTER TABLE transactional_mails ADD COLUMN address_hash BYTEA;
ALTER TABLE mail_reports ADD COLUMN call_mail_id UUID REFERENCES transactional_mails(id) ON DELETE CASCADE;
CREATE INDEX idx_mail_reports_call_mail ON mail_reports(call_mail_id);
