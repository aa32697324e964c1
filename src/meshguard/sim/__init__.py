"""The flight simulator: what a person practises on before the night that counts."""
