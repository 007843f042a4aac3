-- pgheadroom, every 10 s, PostgreSQL 13: as counters.sql, before sessions were counted.
select datid, datname, numbackends, null::bigint, null::bigint, null::bigint, null::bigint,
       tup_fetched
  from pg_catalog.pg_stat_database
 where datname is not null
