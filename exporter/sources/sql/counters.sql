-- pgheadroom, every 10 s: backends and sessions per database since the statistics were reset.
-- Sessions are counted since 14. The row without a name is that of shared objects.
select datid, datname, numbackends, sessions, sessions_abandoned, sessions_fatal, sessions_killed,
       tup_fetched
  from pg_catalog.pg_stat_database
 where datname is not null
