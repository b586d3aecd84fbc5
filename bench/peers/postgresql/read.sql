\set subject random(1, :subjects)
SELECT position, event_id, recorded_at, body FROM history WHERE subject = 'bench-' || :subject ORDER BY position;
