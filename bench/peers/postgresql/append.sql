\set subject random(1, :subjects)
INSERT INTO event (subject, body) VALUES ('bench-' || :subject, :payload) RETURNING position;
