"""Steady-state hypotheses as data: what healthy means, in numbers that say why and whence. Pure, apart from files."""
