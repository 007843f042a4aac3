-- pgheadroom, every 60 s and on each new session: version, limits, start. No catalog is read, so
-- nothing here waits for a lock. reserved_connections came with 16. Of the rds settings each is on some
-- versions of RDS and Aurora; null where there is neither. 13 to 18.
select current_setting('server_version'),
       current_setting('server_version_num')::int,
       current_setting('max_connections')::int,
       current_setting('superuser_reserved_connections')::int,
       coalesce(current_setting('reserved_connections', true), '0')::int,
       current_setting('track_activities')::boolean,
       version(),
       date_part('epoch', pg_postmaster_start_time()),
       case when coalesce(nullif(current_setting('rds.rds_superuser_reserved_connections', true), ''),
                          nullif(current_setting('rds.rds_reserved_connections', true), '')) is not null
            then coalesce(nullif(current_setting('rds.rds_superuser_reserved_connections', true), ''), '0')::int
               + coalesce(nullif(current_setting('rds.rds_reserved_connections', true), ''), '0')::int
       end
