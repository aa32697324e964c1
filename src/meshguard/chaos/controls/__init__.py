"""Controls that keep an experiment a rehearsal; each module is one control of Chaos Toolkit."""
