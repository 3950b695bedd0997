"""How representations of two inputs approach or separate while a network learns: theory, fits and recordings."""
