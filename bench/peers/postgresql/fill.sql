-- Fills a separate table with ten events for each subject, as in the other systems.
CREATE TABLE IF NOT EXISTS history (LIKE event INCLUDING ALL);
TRUNCATE history;
INSERT INTO history (subject, body)
SELECT 'bench-' || subject, repeat('p', 450) FROM generate_series(1, 10) AS pass, generate_series(1, 1000) AS subject;
VACUUM ANALYZE history;
