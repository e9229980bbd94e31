-- The eight spells that every spellbook begins with. A migration runs once, so a spell that was deleted stays deleted;
-- the ids come from the sequence, so the next spell gets the next id.
insert into spell (name, damage) values
  ('Fireball', 30),
  ('Ice Shard', 25),
  ('Thunderbolt', 35),
  ('Earthquake', 40),
  ('Healing Light', -25),
  ('Arcane Missile', 20),
  ('Poison Cloud', 15),
  ('Chain Lightning', 45);
