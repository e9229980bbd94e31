import pg from 'pg'
import { performance } from 'node:perf_hooks'
import { feedMigrationSql, postgresFeed } from '/work/main/cacheaside/src/postgres/index.ts'
import { systemClock } from '/work/main/cacheaside/src/base/clock.ts'
const url = `postgres://postgres@127.0.0.1:${process.argv[2] ?? 5618}/postgres`
const c = new pg.Client(url); await c.connect()
await c.query('drop schema if exists cacheaside cascade; drop table if exists spell, parted, plain, wide cascade')
for (const t of ['spell', 'plain']) await c.query(`create table ${t}(id bigint primary key, name text, damage int)`)
await c.query(feedMigrationSql({ tables: ['spell'], maxRows: 1000000 }))
const med = (a: number[]) => a.sort((x, y) => x - y)[Math.floor(a.length / 2)]!
const N = 20000
const time = async (sql: string) => { const t = performance.now(); await c.query(sql); return (performance.now() - t) * 1000 / N }
const r: Record<string, number[]> = {}
for (let round = 0; round < 7; round++) {
  for (const t of ['plain', 'spell']) {
    await c.query('truncate cacheaside.outbox'); await c.query(`truncate ${t}`)
    ;(r[`${t} bulk insert`] ??= []).push(await time(`insert into ${t} select g, 'Fireball', 30 from generate_series(1, ${N}) g`))
    ;(r[`${t} single update`] ??= []).push(await time(`do $$ begin for i in 1..${N} loop update ${t} set damage = damage + 1 where id = i; end loop; end $$`))
    ;(r[`${t} bulk delete`] ??= []).push(await time(`delete from ${t}`))
  }
}
for (const [k, v] of Object.entries(r)) console.log(k, med(v).toFixed(1), 'us/row, best', Math.min(...v).toFixed(1))
// statement latency over the wire
for (const t of ['plain', 'spell']) await c.query(`truncate ${t}; insert into ${t} values (1,'x',1)`)
await c.query('truncate cacheaside.outbox')
const lat: Record<string, number[]> = { plain: [], spell: [] }
for (let i = 0; i < 3000; i++) for (const t of ['plain', 'spell']) { const s = performance.now(); await c.query({ name: t, text: `update ${t} set damage = damage + 1 where id = $1`, values: [1] }); lat[t]!.push((performance.now() - s) * 1000) }
for (const t of ['plain', 'spell']) console.log('update over the wire', t, med(lat[t]!).toFixed(0), 'us p50')
// relay throughput & poll cost
const pool = new pg.Pool({ connectionString: url })
const feed = postgresFeed({ pool, tables: { spell: () => [] } })
const session = await feed.open({ clock: systemClock, guardMs: 10000, isPrivate: false, lost: console.log, warn: () => {} })
await c.query(`truncate cacheaside.outbox`)
const polls: number[] = []
for (let i = 0; i < 300; i++) { const s = performance.now(); await session.take(undefined); polls.push((performance.now() - s) * 1000) }
console.log('idle poll p50 us', med(polls).toFixed(0))
await c.query(`truncate spell; truncate cacheaside.outbox; insert into spell select g from generate_series(1, 50000) g`)
let t = performance.now(), n = 0
for (;;) { const b = await session.take(undefined); if (!b.changes.length) break; n += b.changes.length; await session.settle(b.changes) }
console.log('take+settle', n, 'changes', (n / (performance.now() - t)).toFixed(1), 'k/s')
// dead tuples under an old snapshot
const old = new pg.Client(url); await old.connect(); await old.query('begin isolation level repeatable read; select 1; select count(*) from spell')
for (const k of [100000, 400000]) {
  await c.query(`insert into cacheaside.outbox(source,new) select 'spell', '{"id":"1"}' from generate_series(1, ${k}) g; delete from cacheaside.outbox`)
  polls.length = 0
  for (let i = 0; i < 30; i++) { const s = performance.now(); await session.take(undefined); polls.push((performance.now() - s) * 1000) }
  console.log('idle poll with +', k, 'dead rows kept by an old snapshot: p50 us', med(polls).toFixed(0))
}
await old.end()
await session.close(); await pool.end()
// collapse
await c.query(`update cacheaside.feed set max_rows = 100000; truncate cacheaside.outbox; truncate spell`)
t = performance.now(); await c.query(`insert into spell select g from generate_series(1, 300000) g`); console.log('300k rows in one statement, with collapsing: us/row', ((performance.now() - t) * 1000 / 300000).toFixed(1), (await c.query('select count(*) from cacheaside.outbox')).rows[0])
await c.end()
