-- pgheadroom, every 60 s and on each new session: the settings that bound connections, and their units;
-- track_activity_query_size is what polls have to copy of each backend.
-- pg_settings is a function, no catalog. What our session has SET for itself is shown as it was before.
-- Those that a version does not have are not there: idle_session_timeout and
-- client_connection_check_interval came with 14, reserved_connections with 16, transaction_timeout with 17.
select name, case when source = 'session' then reset_val else setting end, unit
  from pg_catalog.pg_settings
 where name in ('authentication_timeout',
                'autovacuum_max_workers',
                'client_connection_check_interval',
                'idle_in_transaction_session_timeout',
                'idle_session_timeout',
                'lock_timeout',
                'max_connections',
                'max_wal_senders',
                'max_worker_processes',
                'reserved_connections',
                'statement_timeout',
                'superuser_reserved_connections',
                'tcp_keepalives_count',
                'tcp_keepalives_idle',
                'tcp_keepalives_interval',
                'tcp_user_timeout',
                'track_activity_query_size',
                'transaction_timeout')
