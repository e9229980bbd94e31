-- The wizards, and which spells are in whose book. Ids as those of the spells.
create sequence wizard_id_seq as bigint minvalue 1 maxvalue 9007199254740991;

create table wizard (
  id bigint primary key default nextval('wizard_id_seq') check (id between 1 and 9007199254740991),
  name varchar(255) not null check (name <> ''),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

alter sequence wizard_id_seq owned by wizard.id;

-- The spell is no foreign key, because then `truncate spell` would be refused. A spell that is gone is in no book,
-- because books are read by a join; and no other spell gets its id.
create table wizard_spell (
  wizard_id bigint references wizard on delete cascade,
  spell_id bigint,
  primary key (wizard_id, spell_id)
);
