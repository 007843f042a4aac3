"""`pgheadroom doctor`: what is set on servers and poolers, what is wrong with it, what to set."""
