-- pgheadroom, every 60 s and on each new session: version, role, limits, start. No catalog is read, so
-- nothing here waits for a lock. reserved_connections came with 16. 13 to 18.
select current_setting('server_version'),
       current_setting('server_version_num')::int,
       pg_is_in_recovery(),
       current_setting('max_connections')::int,
       current_setting('superuser_reserved_connections')::int,
       coalesce(current_setting('reserved_connections', true), '0')::int,
       current_setting('track_activities')::boolean,
       version(),
       date_part('epoch', pg_postmaster_start_time())
