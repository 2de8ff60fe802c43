"""Remote speech servers: their protocols, what their answers are worth, and an engine on them."""
