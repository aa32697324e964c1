"""The command line: commands, tables, progress. No rule lives here, and importing it loads next to nothing."""
