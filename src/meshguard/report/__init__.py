"""Reports: what happened, in one page to read, print and pass on. The same for rehearsals and real runs."""
