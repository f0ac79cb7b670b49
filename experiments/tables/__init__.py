"""Tables: the main job's defaults beside what else one could run, on tables of one's own and over several seeds."""
