"""Reports: what happened, in one page that a person can read, print and pass on. The same for rehearsals and real runs."""
