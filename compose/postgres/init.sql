-- Run once, when the server is made. The first part is what `pgheadroom grants` prints.
-- Set the password afterwards, so that it is in no log: \password "pgheadroom"
CREATE ROLE "pgheadroom" LOGIN CONNECTION LIMIT 8;

-- Without it the sessions of other roles show neither their state nor what they wait for.
-- Where a provider does not offer it, pg_monitor contains it.
GRANT pg_read_all_stats TO "pgheadroom";

-- PostgreSQL 16 and later: lets pgheadroom log in when applications have taken all of their slots.
-- It takes effect where reserved_connections is above 0 (a change of it needs a restart).
DO $grant$ BEGIN
  IF current_setting('server_version_num')::int >= 160000 THEN
    GRANT pg_use_reserved_connections TO "pgheadroom";
  END IF;
END $grant$;

-- An application of its own, for the connect probe and the load.
CREATE ROLE shop LOGIN CONNECTION LIMIT 60;
CREATE DATABASE shop OWNER shop;
