-- pgheadroom, when the real client behind a pooler is looked for, before and after the pooler is asked:
-- the client backends that have held a transaction for the longest.
--
-- The function, not the view, as in activity.sql. Starts are microseconds, exactly: one that agrees in
-- both readings is the same transaction. client_port is -1 on a unix socket. 13 to 18.
select a.pid,
       a.datid,
       a.usesysid,
       a.application_name,
       case when %(addresses)s then host(a.client_addr) end,
       a.client_port,
       a.state,
       round(extract(epoch from a.backend_start)::numeric * 1000000)::bigint,
       round(extract(epoch from a.xact_start)::numeric * 1000000)::bigint,
       date_part('epoch', clock_timestamp() - a.xact_start)
  from pg_stat_get_activity(null) as a
 where a.backend_type = 'client backend'
   and a.xact_start < clock_timestamp() - interval '1 second'
   and a.pid <> pg_backend_pid()
 order by a.xact_start, a.pid
 limit 50
