-- The spells. An id is at most 2^53 - 1, by the sequence and by the check: beyond it a JSON number would name another
-- row than the database does, and there is no need for more. (bigserial, spelled out, because it has no such bound.)
create sequence spell_id_seq as bigint minvalue 1 maxvalue 9007199254740991;

create table spell (
  id bigint primary key default nextval('spell_id_seq') check (id between 1 and 9007199254740991),
  name varchar(255) not null check (name <> ''),
  damage integer not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

alter sequence spell_id_seq owned by spell.id;
