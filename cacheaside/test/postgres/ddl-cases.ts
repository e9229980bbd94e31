/** A row of a table as it was recorded, or `'all'`: any row of it; or `undefined`: nothing was recorded. */
export type Recorded = Readonly<Record<string, string | null>> | 'all' | undefined

/** Something that is done to a watched table, and what its writers then leave in the outbox. */
export interface DdlCase {
  readonly what: string
  /** The oldest version that can do it. */
  readonly since?: number
  /** Makes the table. Left out: `id int PRIMARY KEY, name text, v int`. */
  readonly make?: (t: string) => string
  readonly ddl: (t: string) => string
  /** What a session writes, and what of it is recorded. Left out: a row is inserted, updated and deleted. */
  readonly writes?: (t: string, n: number) => readonly (readonly [script: string, recorded: Recorded])[]
  /** What of it is recorded after a relay has looked, where that differs. */
  readonly later?: (n: number) => readonly Recorded[]
  /** Whether a relay that looks counts the whole table as changed. */
  readonly countsAsChange: boolean
  /** What the relay warns of. */
  readonly code?: string
}

const threeWrites = (t: string, n: number, key = 'id'): [string, Recorded][] => [
  [`INSERT INTO ${t} (${key}, v) VALUES ('${n}', 1)`, { id: `${n}` }],
  [`UPDATE ${t} SET v = 2 WHERE ${key} = '${n}'`, { id: `${n}` }],
  [`DELETE FROM ${t} WHERE ${key} = '${n}'`, { id: `${n}` }],
]
const recordedAs = (recorded: Recorded) => (t: string, n: number) =>
  threeWrites(t, n).map(([script]) => [script, recorded] as const)
const threeOf = (recorded: Recorded) => (): Recorded[] => [recorded, recorded, recorded]

/** What is written where a case does not say it. */
export const defaultWrites = threeWrites

const alter = (change: string) => (t: string) => `ALTER TABLE ${t} ${change}`
const made = (key: string) => (t: string) => `CREATE TABLE ${t} (id ${key}, name text, v int DEFAULT 0)`

const types: DdlCase[] = [
  { what: 'its key gets a wider type', ddl: alter('ALTER id TYPE bigint'), countsAsChange: true },
  { what: 'its key becomes a text', ddl: alter('ALTER id TYPE text'), countsAsChange: true },
  {
    what: 'its key becomes a domain, an array, and a text again, one after the other',
    ddl: t => `CREATE DOMAIN ${t}_number AS bigint CHECK (VALUE > 0); ALTER TABLE ${t} ALTER id TYPE ${t}_number;
      ALTER TABLE ${t} ALTER id TYPE int[] USING ARRAY[id]; ALTER TABLE ${t} ALTER id TYPE text USING id[1]::text`,
    countsAsChange: true,
  },
  {
    what: 'its key becomes a composite type',
    ddl: t => `CREATE TYPE ${t}_pair AS (a int, b text);
      ALTER TABLE ${t} DROP CONSTRAINT ${t}_pkey, ALTER id TYPE ${t}_pair USING row(id, 'x')::${t}_pair`,
    writes: (t, n) => [[`INSERT INTO ${t} (id) VALUES (row(${n}, 'x'))`, { id: `(${n},x)` }]],
    countsAsChange: true,
  },
  {
    what: 'its key becomes a moment, which sessions show in different ways',
    ddl: alter(
      `DROP CONSTRAINT $pkey, ALTER id TYPE timestamptz USING '2030-01-01Z'::timestamptz + id * interval '1 s'`,
    ),
    writes: (t, n) => [
      [
        `SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Tokyo'; INSERT INTO ${t} (id) VALUES ('2030-02-01 00:00:0${n % 10}Z');
        RESET DateStyle; RESET TimeZone`,
        { id: `2030-02-01 00:00:0${n % 10}+00` },
      ],
    ],
    countsAsChange: true,
  },
  {
    what: 'the type of a column that is not recorded changes',
    ddl: alter('ALTER v TYPE numeric(20, 2)'),
    countsAsChange: true,
  },
  {
    what: 'the values of a column are made others by ALTER TYPE, and its type stays',
    ddl: alter('ALTER name TYPE text USING upper(name)'),
    countsAsChange: true,
  },
  {
    what: 'the labels of an enum are renamed',
    make: t => `CREATE TYPE ${t}_mood AS ENUM ('sad', 'glad');
      CREATE TABLE ${t} (id int PRIMARY KEY, v int, mood ${t}_mood DEFAULT 'sad')`,
    ddl: t => `ALTER TYPE ${t}_mood RENAME VALUE 'sad' TO 'blue'`,
    countsAsChange: true,
  },
]

const columns: DdlCase[] = [
  { what: 'a column is added', ddl: alter('ADD extra text DEFAULT $$x$$'), countsAsChange: true },
  { what: 'a column that is not recorded is dropped', ddl: alter('DROP name'), countsAsChange: true },
  {
    what: 'a recorded column is renamed',
    ddl: alter('RENAME id TO number'),
    writes: (t, n) => threeWrites(t, n, 'number').map(([script]) => [script, 'all']),
    countsAsChange: true,
    code: 'COLUMN_GONE',
  },
  {
    what: 'a recorded column is dropped',
    ddl: alter('DROP id'),
    writes: t => [
      [`INSERT INTO ${t} (v) VALUES (1)`, 'all'],
      [`DELETE FROM ${t} WHERE v = 1`, 'all'],
    ],
    countsAsChange: true,
    code: 'COLUMN_GONE',
  },
  {
    what: 'a recorded column is changed for another one under its name, as a key is made wider without an outage',
    make: t => `CREATE TABLE ${t} (id int PRIMARY KEY, wide text, v int)`,
    ddl: t => `ALTER TABLE ${t} DROP CONSTRAINT ${t}_pkey; ALTER TABLE ${t} RENAME id TO old_id; ALTER TABLE ${t} RENAME wide TO id;
      ALTER TABLE ${t} ALTER old_id DROP NOT NULL; UPDATE ${t} SET id = old_id::text; ALTER TABLE ${t} ADD PRIMARY KEY (id)`,
    countsAsChange: true,
  },
  {
    what: 'a recorded column is dropped and made again as a generated one',
    ddl: t => `ALTER TABLE ${t} DROP id; ALTER TABLE ${t} ADD id int GENERATED ALWAYS AS (v * 2) STORED`,
    writes: (t, n) => [
      [`INSERT INTO ${t} (v) VALUES (${n})`, { id: `${2 * n}` }],
      [`DELETE FROM ${t} WHERE v = ${n}`, { id: `${2 * n}` }],
    ],
    countsAsChange: true,
  },
  {
    what: 'a recorded column is made again as a generated one that is not stored, which triggers do not see',
    since: 18,
    ddl: t => `ALTER TABLE ${t} DROP id; ALTER TABLE ${t} ADD id int GENERATED ALWAYS AS (v * 2) VIRTUAL`,
    writes: (t, n) => [
      [`INSERT INTO ${t} (v) VALUES (${n})`, 'all'],
      [`UPDATE ${t} SET v = -v WHERE v = ${n}`, 'all'],
    ],
    countsAsChange: true,
    code: 'COLUMN_GONE',
  },
  {
    what: 'a generated column that is not stored gets another expression',
    since: 18,
    make: t => `CREATE TABLE ${t} (id int PRIMARY KEY, v int, twice int GENERATED ALWAYS AS (v * 2) VIRTUAL)`,
    ddl: alter('ALTER twice SET EXPRESSION AS (v * 3)'),
    countsAsChange: true,
  },
  {
    what: 'the primary key is made of other columns',
    ddl: alter('DROP CONSTRAINT $pkey, ADD UNIQUE (v, id)'),
    countsAsChange: false,
  },
]

const names: DdlCase[] = [
  {
    what: 'it is renamed',
    ddl: alter('RENAME TO $t_new'),
    writes: (t, n) => threeWrites(`${t}_new`, n),
    countsAsChange: true,
    code: 'TABLE_RENAMED',
  },
  {
    what: 'a view takes its name, which shows other rows',
    ddl: t =>
      `ALTER TABLE ${t} RENAME TO ${t}_all; CREATE VIEW ${t} AS SELECT * FROM ${t}_all WHERE id <> 50`,
    countsAsChange: true,
    code: 'TABLE_RENAMED',
  },
  {
    what: 'it is moved to another schema',
    ddl: t => `CREATE SCHEMA s_${t}; ALTER TABLE ${t} SET SCHEMA s_${t}`,
    writes: (t, n) => threeWrites(`s_${t}.${t}`, n),
    countsAsChange: true,
    code: 'TABLE_RENAMED',
  },
  {
    what: 'it is dropped and made again with another type of key',
    ddl: t => `DROP TABLE ${t}; ${made('text PRIMARY KEY')(t)}`,
    writes: recordedAs(undefined),
    later: n => threeOf({ id: `${n}` })(),
    countsAsChange: true,
    code: 'TABLE_REPLACED',
  },
  {
    what: 'another table is put in its place by two renamings',
    ddl: t =>
      `${made('bigint PRIMARY KEY')(`${t}_next`)}; ALTER TABLE ${t} RENAME TO ${t}_old; ALTER TABLE ${t}_next RENAME TO ${t}`,
    writes: recordedAs(undefined),
    later: n => threeOf({ id: `${n}` })(),
    countsAsChange: true,
    code: 'TABLE_REPLACED',
  },
  {
    what: 'it is made into the first partition of a table of its name',
    ddl: t => `ALTER TABLE ${t} RENAME TO ${t}_old; CREATE TABLE ${t} (LIKE ${t}_old INCLUDING ALL) PARTITION BY RANGE (id);
      ALTER TABLE ${t} ATTACH PARTITION ${t}_old FOR VALUES FROM (0) TO (1000);
      CREATE TABLE ${t}_2 PARTITION OF ${t} FOR VALUES FROM (1000) TO (2000)`,
    countsAsChange: true,
    code: 'TABLE_REPLACED',
  },
  {
    what: 'it is dropped and made again without the recorded column',
    ddl: t => `DROP TABLE ${t}; CREATE TABLE ${t} (number int PRIMARY KEY, v int)`,
    writes: (t, n) => [[`INSERT INTO ${t} VALUES (${n})`, undefined]],
    countsAsChange: true,
    code: 'NOT_WATCHED',
  },
  {
    what: 'it is dropped',
    ddl: t => `DROP TABLE ${t}`,
    writes: () => [],
    countsAsChange: true,
    code: 'NOT_WATCHED',
  },
]

const partitioned = (
  t: string,
) => `CREATE TABLE ${t} (id int, name text, v int, PRIMARY KEY (id, v)) PARTITION BY RANGE (v);
  CREATE TABLE ${t}_0 PARTITION OF ${t} FOR VALUES FROM (0) TO (10)`

/** One row in the partition of 20 to 30, and one in that of 0 to 10. */
const writesAcross = (t: string, n: number): [string, Recorded][] => [
  [`INSERT INTO ${t} (id, v) VALUES (${n}, 25)`, { id: `${n}`, v: '25' }],
  [`UPDATE ${t} SET name = 'x' WHERE id = ${n}`, { id: `${n}`, v: '25' }],
  [`DELETE FROM ${t} WHERE id = ${n}`, { id: `${n}`, v: '25' }],
  [`INSERT INTO ${t} (id, v) VALUES (${n}, 5)`, { id: `${n}`, v: '5' }],
  [`DELETE FROM ${t} WHERE id = ${n}`, { id: `${n}`, v: '5' }],
]

const parts: DdlCase[] = [
  {
    what: 'a partition is attached that holds rows, and whose columns stand in another order',
    make: partitioned,
    ddl: t => `CREATE TABLE ${t}_2 (gone int, v int NOT NULL, name text, id int NOT NULL); ALTER TABLE ${t}_2 DROP gone;
      INSERT INTO ${t}_2 VALUES (20, 'there already', 1); ALTER TABLE ${t} ATTACH PARTITION ${t}_2 FOR VALUES FROM (20) TO (30)`,
    writes: writesAcross,
    countsAsChange: true,
  },
  {
    what: 'a partition that is partitioned itself is made',
    make: partitioned,
    ddl: t => `CREATE TABLE ${t}_2 PARTITION OF ${t} FOR VALUES FROM (20) TO (30) PARTITION BY RANGE (id);
      CREATE TABLE ${t}_21 PARTITION OF ${t}_2 DEFAULT`,
    writes: writesAcross,
    countsAsChange: true,
  },
  {
    what: 'a partition is detached',
    make: partitioned,
    ddl: t => `ALTER TABLE ${t} DETACH PARTITION ${t}_0`,
    writes: (t, n) => [
      [`INSERT INTO ${t}_0 (id, v) VALUES (${n}, 5)`, undefined],
      [`DELETE FROM ${t}_0`, undefined],
      [`TRUNCATE ${t}_0`, undefined],
    ],
    countsAsChange: true,
  },
  {
    what: 'a partition is detached, changed, and attached again',
    make: partitioned,
    ddl: t => `ALTER TABLE ${t} DETACH PARTITION ${t}_0; INSERT INTO ${t}_0 VALUES (1, 'unseen', 1);
      ALTER TABLE ${t} ATTACH PARTITION ${t}_0 FOR VALUES FROM (0) TO (30)`,
    writes: writesAcross,
    countsAsChange: true,
  },
  {
    what: 'the type of a key of its partitions changes',
    make: partitioned,
    ddl: t =>
      `CREATE TABLE ${t}_2 PARTITION OF ${t} FOR VALUES FROM (20) TO (30); ALTER TABLE ${t} ALTER id TYPE text`,
    writes: (t, n) =>
      writesAcross(t, n).map(([script, recorded]) => [
        script.replaceAll(/id = (\d+)/g, `id = '$1'`),
        recorded,
      ]),
    countsAsChange: true,
  },
  {
    what: 'the type of a key of a table with child tables changes',
    make: t => `${made('int PRIMARY KEY')(t)}; CREATE TABLE ${t}_heir () INHERITS (${t})`,
    ddl: alter('ALTER id TYPE bigint'),
    writes: (t, n) => [...threeWrites(t, n), ...threeWrites(`${t}_heir`, n)],
    countsAsChange: true,
  },
  {
    what: 'it gets a child table',
    ddl: t => `CREATE TABLE ${t}_heir () INHERITS (${t}); INSERT INTO ${t}_heir VALUES (1)`,
    writes: (t, n) => threeWrites(`${t}_heir`, n).map(([script]) => [script, undefined]),
    later: n => threeOf({ id: `${n}` })(),
    countsAsChange: true,
  },
  {
    what: 'it gets a child table that lies on another server',
    ddl: t => `CREATE FOREIGN DATA WRAPPER ${t}_wrapper; CREATE SERVER ${t}_server FOREIGN DATA WRAPPER ${t}_wrapper;
      CREATE FOREIGN TABLE "${t} far" () INHERITS (${t}) SERVER ${t}_server`,
    writes: (t, n) => threeWrites(t, n).slice(0, 1),
    countsAsChange: true,
  },
  {
    what: 'a session makes a temporary child table',
    ddl: t => `CREATE TEMPORARY TABLE ${t}_heir () INHERITS (${t})`,
    countsAsChange: false,
  },
  {
    what: 'a child table is let go',
    make: t => `${made('int PRIMARY KEY')(t)}; CREATE TABLE ${t}_heir () INHERITS (${t})`,
    ddl: t => `ALTER TABLE ${t}_heir NO INHERIT ${t}`,
    writes: (t, n) => threeWrites(`${t}_heir`, n).map(([script]) => [script, undefined]),
    countsAsChange: true,
  },
]

const others: DdlCase[] = [
  {
    what: 'it becomes unlogged, and logged again',
    ddl: t => `ALTER TABLE ${t} SET UNLOGGED; ALTER TABLE ${t} SET LOGGED`,
    countsAsChange: false,
  },
  {
    what: 'its replica identity and row security change',
    ddl: alter('REPLICA IDENTITY FULL, ENABLE ROW LEVEL SECURITY'),
    countsAsChange: false,
  },
  {
    what: 'its triggers are dropped',
    ddl: t => `DO $$ DECLARE name text; BEGIN
      FOR name IN SELECT tgname FROM pg_trigger WHERE tgrelid = '${t}'::regclass AND NOT tgisinternal LOOP
        EXECUTE format('DROP TRIGGER %I ON ${t}', name);
      END LOOP; END $$`,
    writes: recordedAs(undefined),
    later: n => threeOf({ id: `${n}` })(),
    countsAsChange: true,
    code: 'TRIGGERS_MENDED',
  },
  {
    what: 'its triggers do not fire always any more',
    ddl: alter('DISABLE TRIGGER USER'),
    writes: recordedAs(undefined),
    later: n => threeOf({ id: `${n}` })(),
    countsAsChange: true,
    code: 'TRIGGERS_MENDED',
  },
]

const filled = (ddl: string, t: string): string =>
  ddl.replaceAll('$pkey', `${t}_pkey`).replaceAll('$t_', `${t}_`)

/** All of it. */
export const DDL_CASES: readonly DdlCase[] = [...types, ...columns, ...names, ...parts, ...others].map(
  one => ({
    ...one,
    ddl: t => filled(one.ddl(t), t),
  }),
)

/** The table of a case that says nothing else. */
export const defaultTable = made('int PRIMARY KEY')
