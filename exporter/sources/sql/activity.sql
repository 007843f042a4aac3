-- pgheadroom, every poll: all backends in groups, the server's clock, our privilege, and its role: a
-- promotion is seen at once.
--
-- The function, not the view: the view joins pg_database and pg_authid, and waits when one of them
-- is locked. No query text. All backend types: which of them hold a slot is decided in
-- exporter/snapshot/activity.py. 13 to 18.
--
-- oldest packs the longest time in the state (ms) and its pid (below 2^22 on Linux) into one number,
-- so that one aggregate finds both. A negative age (a backend that changed its state after our
-- statement began) survives the packing. Our own pid is asked for once, not compared with each row's.
select g.datid,
       g.usesysid,
       g.application_name,
       host(g.client_addr),
       g.state,
       g.wait_event_type,
       g.wait_event,
       g.backend_type,
       g.backends,
       g.oldest,
       date_part('epoch', now() - g.xact_start),
       case when g.state = 'active' then date_part('epoch', now() - g.query_start) end,
       case when g.state = 'idle' then g.stale else 0 end,
       date_part('epoch', now()),
       (select pg_has_role('pg_read_all_stats', 'USAGE')),
       (select pg_backend_pid()),
       (select pg_is_in_recovery())
  from (select a.datid,
               a.usesysid,
               a.application_name,
               case when %(addresses)s then a.client_addr end as client_addr,
               a.state,
               a.wait_event_type,
               a.wait_event,
               a.backend_type,
               count(*) as backends,
               max((date_part('epoch', now() - a.state_change) * 1000)::bigint << 22 | a.pid::bigint)
                 as oldest,
               min(a.xact_start) as xact_start,
               min(a.query_start) as query_start,
               count(*) filter (where a.state_change < now() - make_interval(secs => %(stale_after)s))
                 as stale
          from pg_stat_get_activity(null) as a
         group by 1, 2, 3, 4, 5, 6, 7, 8) as g
