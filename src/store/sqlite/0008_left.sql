-- When the process was last known to live that had the call, set when a later one takes it up. That one may die too
-- before it has settled the call, and then its own last moment says nothing of this one.
ALTER TABLE live ADD COLUMN left_at INTEGER;
