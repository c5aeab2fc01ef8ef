"""How a generation is bought: checked, priced, sent once, found again, paid once."""
