"""What a file holds, how long it plays and whether it is whole, by its bytes alone. Pure but for reading them."""
